"""A task as somebody follows it: folded from its view and from the facts of the stream, in whatever order they come."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

ENDED: Final = ("completed", "failed", "cancelled")

_STAGE: Final[Mapping[str, tuple[int, str]]] = {  # as the gateway ranks them: order across topics says nothing
    "approach-proposed": (1, "approach-proposed"),
    "round-opened": (2, "generating"),
    "candidate-generated": (2, "generating"),
    "candidate-evaluated": (3, "evaluating"),
    "candidates-generated": (4, "deciding"),
    "decision-reached": (5, "deciding"),
    "approval-requested": (6, "awaiting-approval"),
}


@dataclass(slots=True)
class Candidate:
    """One candidate and its evidence; quality, counts and report are None until it is evaluated."""

    id: str
    round_id: str
    ordinal: int
    generator: str
    code: str
    quality: float | None = None
    passed: int | None = None
    failed: int | None = None
    report: dict[str, Any] = field(default_factory=dict)

    @property
    def failed_checks(self) -> list[str]:
        """The names of the checks that it did not pass."""
        return [str(check["name"]) for check in self.report.get("checks", []) if check.get("verdict") == "failed"]


@dataclass(slots=True)
class Story:
    """What is known of a task. The fields from `approach` on hold the facts' own data, None until they are known."""

    task_id: str
    specification: dict[str, Any]
    mode: str = "collaborative"
    state: str = "submitted"
    round: int = 0
    candidates: dict[str, Candidate] = field(default_factory=dict)
    probes: int = 0
    notes: list[str] = field(default_factory=list)
    guided: bool = False
    approach: dict[str, Any] | None = None
    decision: dict[str, Any] | None = None
    approval: dict[str, Any] | None = None
    artifact: dict[str, Any] | None = None
    ended: dict[str, Any] | None = None
    _place: tuple[int, int] = (0, 0)
    _rounds: dict[str, int] = field(default_factory=dict)
    _answered: set[str] = field(default_factory=set)
    _seen: set[str] = field(default_factory=set)
    _newest: str = ""

    @classmethod
    def of_view(cls, view: Mapping[str, Any]) -> "Story":
        """Return the story up to the view that `GET /api/tasks/{id}` gives."""
        story = cls(view["id"], view["specification"], view["mode"])
        story._seen = {line["id"] for line in view["timeline"]}
        story._newest = view["timeline"][-1]["id"]
        for name, facts in (
            ("approach-proposed", [view["approach"]]),
            ("guidance-given", view["guidance"]),
            ("round-opened", view["rounds"]),
            ("candidate-generated", view["candidates"]),
            ("candidate-evaluated", [one for one in view["candidates"] if one["report"] is not None]),
            ("candidates-generated", [one for one in view["rounds"] if one["completed_at"] is not None]),
            ("decision-reached", [view["decision"]]),
            ("approval-requested", [view["approval"]]),
            ("changes-requested", view["change_requests"]),
            ("task-completed", [view["artifact"]]),
            ("task-failed", [view["failure"]]),
            ("task-cancelled", [view["cancellation"]]),
        ):
            for fact in facts:
                if fact is not None:
                    story._fold(name, fact)
        if view["approval"] is not None and view["waiting_for"] != "approval":
            story._answered.add(view["approval"]["digest"])
        story.state = view["state"]
        return story

    @property
    def newest(self) -> str:
        """The id of a fact behind which everything unknown comes; the task's own id is that of its submission."""
        return self._newest or self.task_id

    @property
    def waiting_for(self) -> str | None:
        """`guidance` or `approval` when nothing happens without a person, else None."""
        if self.state == "approach-proposed" and self.mode == "collaborative" and not self.guided:
            return "guidance"
        if self.state == "awaiting-approval" and self.approval and self.approval["digest"] not in self._answered:
            return "approval"
        return None

    @property
    def has_ended(self) -> bool:
        """Whether the task is completed, failed or cancelled."""
        return self.state in ENDED

    @property
    def winner(self) -> Candidate | None:
        """The candidate that is up for approval, or that the consensus chose."""
        chosen = (self.approval or {}).get("candidate_id") or (self.decision or {}).get("winner_id")
        return self.candidates.get(chosen) if chosen else None

    def apply(self, fact: Mapping[str, Any]) -> str | None:
        """Take in a fact of the stream; return its name, such as `round-opened`, None when it is known already."""
        if fact["id"] in self._seen:
            return None
        self._seen.add(fact["id"])
        self._newest = fact["id"]
        name = str(fact["type"]).split(".")[1]
        self._fold(name, fact["data"])
        return name

    def _fold(self, name: str, data: Mapping[str, Any]) -> None:
        match name:
            case "approach-proposed":
                self.approach = dict(data)
            case "guidance-given":
                self.guided = True
            case "round-opened":
                self._rounds[data["round_id"]] = data["number"]
                self.round = max(self.round, data["number"])
            case "candidate-generated":
                candidate = self._candidate(data)
                candidate.ordinal, candidate.code = data["ordinal"], data["code"]
            case "candidate-evaluated":
                candidate = self._candidate(data)
                candidate.quality, candidate.report = data["quality_score"], data["report"]
                candidate.passed, candidate.failed = data["passed"], data["failed"]
            case "candidates-generated":
                self.probes = len(data["probes"])
                self.notes += [note for note in data["notes"] if note not in self.notes]
            case "generation-failed":
                self.notes.append(data["reason"])
            case "decision-reached":
                self.decision = dict(data)
            case "approval-requested":
                self.approval = dict(data)
            case "approval-recorded" if data["missing"] == 0:
                self._answered.add(data["digest"])
            case "changes-requested" | "approval-denied":
                self._answered.add(data["digest"])
            case "task-completed":
                self.state, self.artifact, self.ended = "completed", dict(data), dict(data)
            case "task-failed":
                self.state, self.ended = "failed", dict(data)
            case "task-cancelled":
                self.state, self.ended = "cancelled", dict(data)
        self._advance(name, data)

    def _advance(self, name: str, data: Mapping[str, Any]) -> None:
        if name not in _STAGE or self.has_ended:
            return
        stage, state = _STAGE[name]
        # A round whose opening has not arrived yet is newer than every round that has.
        number = self._rounds.get(data.get("round_id", ""), self.round + 1) if stage > 1 else 0
        if (number, stage) >= self._place:
            self._place, self.state = (number, stage), state

    def _candidate(self, data: Mapping[str, Any]) -> Candidate:
        known = self.candidates.get(data["candidate_id"])
        if known is None:
            known = Candidate(data["candidate_id"], data["round_id"], len(self.candidates), data["generator"], "")
            self.candidates[known.id] = known
        return known
