"""Taking a task through its life as two people would."""

from typing import Any, Final

from tests.e2e.doors import Json, Person
from tests.e2e.patience import until

FIBONACCI: Final[dict[str, Any]] = {
    "requirements": "Create a function to calculate fibonacci",
    "signature": "def fibonacci(n: int) -> int:",
    "examples": [{"args": [0], "expected": 0}, {"args": [1], "expected": 1}, {"args": [10], "expected": 55}],
    "mode": "collaborative",
}
BALLOTS: Final[dict[str, Any]] = {
    "question": "Which index type?",
    "options": ["btree", "hash"],
    "ballots": [
        {"voter": "model-a", "choice": "btree"},
        {"voter": "model-b", "choice": "btree"},
        {"voter": "model-c", "choice": "hash"},
    ],
}


def guide(requester: Person, reviewer: Person, task_id: str) -> None:
    """Let a collaborative task go on with its approach."""
    requester.waits_for(task_id, "approach-proposed")
    reviewer.post(f"/api/tasks/{task_id}/guidance", {"guidance": "go on"})


def approve(requester: Person, reviewer: Person, task_id: str) -> Json:
    """Approve the exact digest that is up for approval; return the task when it is completed."""
    ready = requester.waits_for(task_id, "awaiting-approval")
    reviewer.post(f"/api/tasks/{task_id}/approval", {"digest": ready["approval"]["digest"]})
    return requester.waits_for(task_id, "completed")


def deliver(requester: Person, reviewer: Person, request: Json) -> Json:
    """Take a task from its submission to its end."""
    task_id = requester.post("/api/tasks", request)["id"]
    guide(requester, reviewer, task_id)
    return approve(requester, reviewer, task_id)


def receipt(person: Person, task_id: str) -> bytes:
    """Return a completed task's receipt, once the ledger has sealed all of it."""
    path = f"/api/tasks/{task_id}/receipt"
    return until(
        "receipt",
        lambda: answer.content if (answer := person.patiently("GET", path)).status_code == 200 else None,
    )
