"""What the API shows of a task: a pure function of its facts."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Any, Final

from grace_gateway.domain.fact import Fact
from grace_gateway.domain.progress import Progress, progress, step_of

View = dict[str, Any]

# Facts of little news to a reader: their content stands elsewhere in the view.
_PART_OF_DETAILS: Final = ("code", "report", "probes", "rows", "specification", "task_id")
_SUMMARY_CHARS: Final = 300


def in_order(facts: Iterable[Fact]) -> list[Fact]:
    """Return each fact once, oldest first; ties go by id so that every reader agrees."""
    return sorted({fact.id: fact for fact in facts}.values(), key=lambda fact: (fact.time, fact.id))


def progress_of(facts: Iterable[Fact]) -> Progress:
    return progress(step_of(fact.name, fact.data) for fact in facts)


def task_view(facts: Iterable[Fact]) -> View:
    """Return the task as JSON values. `facts` must contain the task's `TaskSubmitted`."""
    ordered = in_order(facts)
    by_name: dict[str, list[Fact]] = {}
    for fact in ordered:
        by_name.setdefault(fact.name, []).append(fact)
    submitted = by_name["task-submitted"][0]
    now = progress_of(ordered)
    data = submitted.data
    task_id = data["task_id"]
    return {
        "id": task_id,
        "kind": "task",
        "state": now.state,
        "waiting_for": now.waiting_for,
        "requester": data["requester"],
        "mode": data["mode"],
        "via": data["via"],
        "specification": data["specification"],
        "candidates_wanted": data["candidates"],
        "submitted_at": submitted.time.isoformat(),
        "updated_at": ordered[-1].time.isoformat(),
        "deadline_at": (submitted.time + timedelta(seconds=data["deadline_s"])).isoformat(),
        "approach": _newest(by_name, "approach-proposed", "proposed_at"),
        "guidance": [_dated(fact, "given_at") for fact in by_name.get("guidance-given", ())],
        "rounds": _rounds(by_name),
        "candidates": _candidates(by_name),
        "decision": _newest(by_name, "decision-reached", "decided_at"),
        "approval": _approval(by_name),
        "change_requests": [_dated(fact, "requested_at") for fact in by_name.get("changes-requested", ())],
        "ignored": [_dated(fact, "at") for fact in by_name.get("request-ignored", ())],
        "artifact": _artifact(by_name),
        "failure": _newest(by_name, "task-failed", "failed_at"),
        "cancellation": _newest(by_name, "task-cancelled", "cancelled_at"),
        "learned": _newest(by_name, "outcome-learned", "stated_at"),
        "timeline": timeline(ordered),
        "links": {
            "self": f"/api/tasks/{task_id}",
            "artifact": f"/api/tasks/{task_id}/artifact",
            "receipt": f"/api/tasks/{task_id}/receipt",
            "ledger": f"/api/ledger?task={task_id}",
        },
    }


def timeline(ordered: Sequence[Fact]) -> list[View]:
    """Return one line per fact, oldest first: when, what, who, and by which operation."""
    return [
        {
            "id": str(fact.id),
            "at": fact.time.isoformat(),
            "type": fact.type,
            "service": fact.service,
            "actor": fact.actor,
            "operation_id": str(fact.operation),
            "summary": summary(fact),
        }
        for fact in ordered
    ]


def summary(fact: Fact) -> View:
    """Return the small fields of a fact; what is long stands elsewhere in the view."""
    return {
        name: value[:_SUMMARY_CHARS] if isinstance(value, str) else value
        for name, value in fact.data.items()
        if name not in _PART_OF_DETAILS and (isinstance(value, str | int | float) or value is None)
    }


def _dated(fact: Fact, when: str) -> View:
    return {**{name: value for name, value in fact.data.items() if name != "task_id"}, when: fact.time.isoformat()}


def _newest(by_name: Mapping[str, Sequence[Fact]], name: str, when: str) -> View | None:
    facts = by_name.get(name)
    return _dated(facts[-1], when) if facts else None


def _rounds(by_name: Mapping[str, Sequence[Fact]]) -> list[View]:
    complete = {fact.data["round_id"]: fact for fact in by_name.get("candidates-generated", ())}
    rounds = []
    for fact in by_name.get("round-opened", ()):
        done = complete.get(fact.data["round_id"])
        rounds.append(
            {
                "round_id": fact.data["round_id"],
                "number": fact.data["number"],
                "approach": fact.data["approach"],
                "guidance": fact.data["guidance"],
                "opened_at": fact.time.isoformat(),
                "completed_at": done.time.isoformat() if done else None,
                "probes": done.data["probes"] if done else [],
                "rows": done.data["rows"] if done else [],
                "notes": done.data["notes"] if done else [],
                "generation_s": done.data["generation_s"] if done else None,
                "evaluation_s": done.data["evaluation_s"] if done else None,
            }
        )
    return sorted(rounds, key=lambda round_: round_["number"])


def _candidates(by_name: Mapping[str, Sequence[Fact]]) -> list[View]:
    """Return every candidate with its evidence, in the order of rounds and ordinals."""
    numbers = {fact.data["round_id"]: fact.data["number"] for fact in by_name.get("round-opened", ())}
    reports = {fact.data["candidate_id"]: fact for fact in by_name.get("candidate-evaluated", ())}
    candidates = []
    for fact in by_name.get("candidate-generated", ()):
        evaluated = reports.get(fact.data["candidate_id"])
        candidates.append(
            {
                **{name: value for name, value in fact.data.items() if name != "task_id"},
                "round": numbers.get(fact.data["round_id"]),
                "quality_score": evaluated.data["quality_score"] if evaluated else None,
                "passed": evaluated.data["passed"] if evaluated else None,
                "failed": evaluated.data["failed"] if evaluated else None,
                "report_sha256": evaluated.data["report_sha256"] if evaluated else None,
                "report": evaluated.data["report"] if evaluated else None,
            }
        )
    return sorted(candidates, key=lambda candidate: (candidate["round"] or 0, candidate["ordinal"]))


def _approval(by_name: Mapping[str, Sequence[Fact]]) -> View | None:
    """Return the newest request for approval, and who has approved that digest since."""
    view = _newest(by_name, "approval-requested", "requested_at")
    if view is None:
        return None
    recorded = [fact for fact in by_name.get("approval-recorded", ()) if fact.data["digest"] == view["digest"]]
    view["approved_by"] = sorted({fact.data["by"] for fact in recorded})
    view["missing"] = min((fact.data["missing"] for fact in recorded), default=view["required_approvals"])
    return view


def _artifact(by_name: Mapping[str, Sequence[Fact]]) -> View | None:
    return _newest(by_name, "task-completed", "completed_at")
