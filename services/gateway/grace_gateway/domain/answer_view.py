"""What the API shows of an evaluation or a decision: one request, and its answer once there is one."""

from collections.abc import Iterable
from typing import Final

from grace_gateway.domain.fact import Fact
from grace_gateway.domain.progress import Kind
from grace_gateway.domain.task_view import View, in_order, progress_of, task_view, timeline

_REQUESTS: Final = {"evaluation": "evaluation-requested", "decision": "decision-requested"}
_ANSWERS: Final = {"evaluation": "evaluation-completed", "decision": "options-decided"}
_FAILURES: Final = {"evaluation": "evaluation-failed"}  # a decision is always answered, be it by an abstention
_PATHS: Final = {"evaluation": "evaluations", "decision": "decisions"}


def view_of(kind: Kind, facts: Iterable[Fact]) -> View:
    """Return the view of a submission of any kind; `facts` must contain the one that submitted it."""
    return task_view(facts) if kind == "task" else answer_view(kind, facts)


def answer_view(kind: Kind, facts: Iterable[Fact]) -> View:
    """Return an evaluation or a decision as JSON values.

    `result` is None until it is answered; `failure` says why it never will be.
    """
    ordered = in_order(facts)
    requested = next(fact for fact in ordered if fact.name == _REQUESTS[kind])
    answered = next((fact for fact in ordered if fact.name == _ANSWERS[kind]), None)
    failed = next((fact for fact in ordered if fact.name == _FAILURES.get(kind)), None)
    id_field = f"{kind}_id"
    own = {name: value for name, value in requested.data.items() if name not in (id_field, "requester")}
    return {
        "id": requested.data[id_field],
        "kind": kind,
        "state": progress_of(ordered).state,
        "waiting_for": None,
        "requester": requested.data["requester"],
        "submitted_at": requested.time.isoformat(),
        "updated_at": ordered[-1].time.isoformat(),
        "request": own,
        "result": {name: value for name, value in answered.data.items() if name != id_field} if answered else None,
        "failure": {"reason": failed.data["reason"], "failed_at": failed.time.isoformat()} if failed else None,
        "timeline": timeline(ordered),
        "links": {"self": f"/api/{_PATHS[kind]}/{requested.data[id_field]}"},
    }
