"""`/api/tasks`: submitting, showing, guiding, approving."""

from typing import Any

import httpx

FIBONACCI = {
    "requirements": "Create a function to calculate fibonacci",
    "examples": [{"args": [0], "expected": 0}, {"args": [10], "expected": 55}],
}


async def test_a_submitted_task_is_stated_and_answered_with_its_place(gateway: Any, ada: httpx.AsyncClient) -> None:
    answer = await ada.post("/api/tasks", json=FIBONACCI)

    task = answer.json()
    assert answer.status_code == 202
    assert answer.headers["Location"] == f"/api/tasks/{task['id']}"
    assert (task["state"], task["requester"]) == ("submitted", "ada")
    assert [envelope.event.TYPE for envelope in gateway.journal.stated] == [
        "grace.task-submitted.v1",
        "grace.operation-started.v1",
        "grace.operation-succeeded.v1",
    ]
    assert str(gateway.journal.stated[0].operation) == answer.headers["Grace-Operation-Id"]


async def test_a_task_can_be_read_at_once_by_its_requester(gateway: Any, ada: httpx.AsyncClient) -> None:
    location = (await ada.post("/api/tasks", json=FIBONACCI)).headers["Location"]

    assert (await ada.get(location)).json()["specification"]["requirements"] == FIBONACCI["requirements"]
