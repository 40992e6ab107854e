"""`/api/tasks`: submitting, waiting, showing, guiding, reviewing, cancelling."""

import asyncio
from typing import Any
from uuid import UUID

import httpx
import pytest
from grace_common.contract.events.candidate import (
    ApproachProposed,
)
from grace_common.contract.events.operation import RequestRefused
from grace_common.contract.events.round import (
    ApprovalRecorded,
    OutcomeLearned,
    RequestIgnored,
    TaskCancelled,
    TaskCompleted,
    TaskFailed,
)
from grace_common.contract.events.task import (
    ApprovalDenied,
    ApprovalGiven,
    CancellationRequested,
    ChangesRequested,
    GuidanceGiven,
    TaskSubmitted,
)

FIBONACCI = {
    "requirements": "Create a function to calculate fibonacci",
    "examples": [{"args": [0], "expected": 0}, {"args": [10], "expected": 55}],
}
DIGEST = "ab" * 32
STALE = "cd" * 32


def about(task_id: str, example: Any, **changes: Any) -> Any:
    return example.model_copy(update={"task_id": UUID(task_id), **changes})


async def submitted(client: httpx.AsyncClient, **fields: Any) -> str:
    answer = await client.post("/api/tasks", json={**FIBONACCI, **fields})
    return str(answer.json()["id"])


async def test_a_submitted_task_is_stated_and_answered_with_its_place(gateway: Any, ada: httpx.AsyncClient) -> None:
    answer = await ada.post("/api/tasks", json=FIBONACCI)

    task = answer.json()
    assert answer.status_code == 202
    assert answer.headers["Location"] == f"/api/tasks/{task['id']}"
    assert (task["state"], task["requester"], task["waiting_for"]) == ("submitted", "ada", None)
    assert [envelope.event.TYPE for envelope in gateway.journal.stated] == [
        "grace.task-submitted.v1",
        "grace.operation-started.v1",
        "grace.operation-succeeded.v1",
    ]
    assert str(gateway.journal.stated[0].operation) == answer.headers["Grace-Operation-Id"]
    assert gateway.journal.stated[2].event.wrote == (UUID(task["id"]),)


async def test_a_trace_that_the_client_began_goes_on(gateway: Any, ada: httpx.AsyncClient) -> None:
    trace = "0af7651916cd43dd8448eb211c80319c"
    await ada.post("/api/tasks", json=FIBONACCI, headers={"traceparent": f"00-{trace}-b7ad6b7169203331-01"})
    await ada.post("/api/tasks", json=FIBONACCI, headers={"traceparent": "nonsense"})

    assert [trace in (envelope.traceparent or "") for envelope in gateway.journal.stated[:3]] == [True] * 3
    assert gateway.journal.stated[3].traceparent is None


async def test_a_task_can_be_read_at_once_by_its_requester_and_its_reviewers_alone(
    gateway: Any, ada: httpx.AsyncClient, rita: httpx.AsyncClient
) -> None:
    task_id = await submitted(ada)

    async with gateway.client("grc_bob") as bob:
        statuses = [(await client.get(f"/api/tasks/{task_id}")).status_code for client in (ada, rita, bob)]

    assert statuses == [200, 200, 404]


async def test_requesters_list_their_own_tasks_and_others_all(
    gateway: Any, ada: httpx.AsyncClient, rita: httpx.AsyncClient
) -> None:
    async with gateway.client("grc_bob") as bob:
        theirs = await submitted(bob)
    mine = await submitted(ada)

    assert [item["id"] for item in (await ada.get("/api/tasks")).json()["items"]] == [mine]
    assert {item["id"] for item in (await rita.get("/api/tasks")).json()["items"]} == {mine, theirs}
    assert (await rita.get("/api/tasks?state=completed")).json() == {"items": [], "next_cursor": None}


async def test_waiting_ends_when_the_task_needs_a_person(gateway: Any, ada: httpx.AsyncClient) -> None:
    waiting = asyncio.create_task(ada.post("/api/tasks", json=FIBONACCI, headers={"Prefer": "wait=60"}))
    await gateway.feed.watching.wait()
    [task_id] = gateway.views.stored
    gateway.happened(about(str(task_id), ApproachProposed.example()))

    answer = await waiting
    assert (answer.status_code, answer.headers["Preference-Applied"]) == (202, "wait=60")
    assert (answer.json()["state"], answer.json()["waiting_for"]) == ("approach-proposed", "guidance")


async def test_waiting_ends_when_the_time_is_up(ada: httpx.AsyncClient) -> None:
    task_id = await submitted(ada)

    answer = await ada.get(f"/api/tasks/{task_id}", headers={"Prefer": "respond-async, wait=0"})

    assert (answer.status_code, answer.headers["Preference-Applied"]) == (200, "wait=0")


async def test_no_wait_is_longer_than_a_minute(gateway: Any, ada: httpx.AsyncClient) -> None:
    task_id = await submitted(ada)
    gateway.happened(about(task_id, TaskFailed.example()))

    answer = await ada.get(f"/api/tasks/{task_id}", headers={"Prefer": "wait=3600"})

    assert answer.headers["Preference-Applied"] == "wait=60"


async def test_the_view_shows_candidates_with_evidence_decision_approval_and_timeline(
    gateway: Any, ada: httpx.AsyncClient
) -> None:
    task_id = await submitted(ada)
    gateway.bring_to_approval(task_id)
    gateway.happened(about(task_id, RequestIgnored.example()))

    task = (await ada.get(f"/api/tasks/{task_id}")).json()

    assert (task["state"], task["waiting_for"]) == ("awaiting-approval", "approval")
    assert task["approach"]["entry_point"] == "fibonacci"
    assert [given["guidance"] for given in task["guidance"]] == ["Iterate, do not recurse"]
    [candidate] = task["candidates"]
    assert (candidate["round"], candidate["passed"], candidate["quality_score"]) == (1, 3, 0.9)
    assert candidate["code"].startswith("def fibonacci")
    assert task["rounds"][0]["probes"][0]["label"] == "fibonacci(0) == 0"
    assert task["decision"]["confidence"] == 0.9
    assert (task["approval"]["digest"], task["approval"]["missing"], task["approval"]["approved_by"]) == (DIGEST, 1, [])
    assert task["ignored"][0]["reason"] == "the requester's approval never counts"
    assert [line["type"] for line in task["timeline"]][:3] == [
        "grace.task-submitted.v1",
        "grace.approach-proposed.v1",
        "grace.guidance-given.v1",
    ]


async def test_guidance_is_stated_while_an_approach_waits_for_it(gateway: Any, ada: httpx.AsyncClient) -> None:
    task_id = await submitted(ada)
    early = await ada.post(f"/api/tasks/{task_id}/guidance", json={"guidance": "Iterate"})
    gateway.happened(about(task_id, ApproachProposed.example()))
    given = await ada.post(f"/api/tasks/{task_id}/guidance", json={"guidance": "Iterate"})

    assert (early.status_code, given.status_code) == (409, 202)
    [event] = gateway.journal.events(GuidanceGiven)
    assert (event.by, event.guidance, str(event.task_id)) == ("ada", "Iterate", task_id)


async def test_an_idempotency_key_decides_the_id_of_what_is_asked(gateway: Any, ada: httpx.AsyncClient) -> None:
    task_id = await submitted(ada)
    gateway.happened(about(task_id, ApproachProposed.example()))
    answers = [
        await ada.post(f"/api/tasks/{task_id}/guidance", json={}, headers={"Idempotency-Key": "g"}) for _ in range(2)
    ]

    assert answers[0].json()["event_id"] == answers[1].json()["event_id"]


@pytest.mark.parametrize(
    ("action", "body", "event"),
    [
        ("approval", {"digest": DIGEST, "comment": "Good"}, ApprovalGiven),
        ("changes", {"digest": DIGEST, "feedback": "Handle n = 0"}, ChangesRequested),
        ("rejection", {"digest": DIGEST, "reason": "Not needed"}, ApprovalDenied),
    ],
)
async def test_a_review_of_the_present_digest_is_stated(
    gateway: Any, ada: httpx.AsyncClient, rita: httpx.AsyncClient, action: str, body: dict[str, str], event: Any
) -> None:
    task_id = await submitted(ada)
    gateway.bring_to_approval(task_id)

    answer = await rita.post(f"/api/tasks/{task_id}/{action}", json=body)

    assert answer.status_code == 202
    [stated] = gateway.journal.events(event)
    assert (stated.by, stated.roles, stated.digest) == ("rita", ("reviewer",), DIGEST)


@pytest.mark.parametrize("action", ["approval", "changes", "rejection"])
async def test_a_review_of_a_stale_digest_is_refused(
    gateway: Any, ada: httpx.AsyncClient, rita: httpx.AsyncClient, action: str
) -> None:
    task_id = await submitted(ada)
    gateway.bring_to_approval(task_id)
    body = {"digest": STALE, "changes": {"feedback": "x"}, "rejection": {"reason": "x"}}
    extra = body.get(action, {})

    answer = await rita.post(f"/api/tasks/{task_id}/{action}", json={"digest": STALE, **dict(extra)})

    assert answer.status_code == 409
    assert "stale" in answer.json()["detail"]
    assert [event.status for event in gateway.journal.events(RequestRefused)] == [409]


async def test_a_review_by_the_requester_is_refused(gateway: Any) -> None:
    async with gateway.client("grc_grace") as grace:
        task_id = await submitted(grace)
        gateway.bring_to_approval(task_id)
        answer = await grace.post(f"/api/tasks/{task_id}/approval", json={"digest": DIGEST})

    assert answer.status_code == 403
    assert "never counts" in answer.json()["detail"]
    assert gateway.journal.events(ApprovalGiven) == []


async def test_nobody_approves_twice(gateway: Any, ada: httpx.AsyncClient, rita: httpx.AsyncClient) -> None:
    task_id = await submitted(ada)
    gateway.bring_to_approval(task_id)
    gateway.happened(about(task_id, ApprovalRecorded.example(), by="rita", digest=DIGEST, missing=1))

    answer = await rita.post(f"/api/tasks/{task_id}/approval", json={"digest": DIGEST})

    assert answer.status_code == 409
    assert "1 more must" in answer.json()["detail"]


async def test_there_is_nothing_to_approve_before_the_decision(ada: httpx.AsyncClient, rita: httpx.AsyncClient) -> None:
    task_id = await submitted(ada)

    answer = await rita.post(f"/api/tasks/{task_id}/approval", json={"digest": DIGEST})

    assert (answer.status_code, "nothing is up for approval" in answer.json()["detail"]) == (409, True)


async def test_the_requester_or_an_operator_cancels_and_nobody_else(
    gateway: Any, ada: httpx.AsyncClient, olga: httpx.AsyncClient
) -> None:
    task_id = await submitted(ada)
    async with gateway.client("grc_grace") as grace:
        other = await grace.post(f"/api/tasks/{task_id}/cancellation", json={})
    answers = [await client.post(f"/api/tasks/{task_id}/cancellation", json={}) for client in (ada, olga)]

    assert (other.status_code, [answer.status_code for answer in answers]) == (403, [202, 202])
    assert [event.by for event in gateway.journal.events(CancellationRequested)] == ["ada", "olga"]


@pytest.mark.parametrize(
    ("ask", "body"),
    [
        ("guidance", {}),
        ("approval", {"digest": DIGEST}),
        ("changes", {"digest": DIGEST, "feedback": "again"}),
        ("rejection", {"digest": DIGEST, "reason": "no"}),
        ("cancellation", {}),
    ],
)
async def test_nothing_can_be_asked_of_an_unknown_task(gateway: Any, ask: str, body: dict[str, str]) -> None:
    async with gateway.client("grc_grace") as grace:
        answer = await grace.post(f"/api/tasks/019ac000-0000-7000-8000-00000000ffff/{ask}", json=body)

    assert (answer.status_code, "there is no task" in answer.json()["detail"]) == (404, True)
    assert [type(envelope.event) for envelope in gateway.journal.stated] == [RequestRefused]


async def test_nothing_can_be_asked_of_a_cancelled_task(
    gateway: Any, ada: httpx.AsyncClient, rita: httpx.AsyncClient
) -> None:
    task_id = await submitted(ada)
    gateway.happened(about(task_id, TaskCancelled.example()))

    answers = [
        await ada.post(f"/api/tasks/{task_id}/guidance", json={}),
        await rita.post(f"/api/tasks/{task_id}/approval", json={"digest": DIGEST}),
        await ada.post(f"/api/tasks/{task_id}/cancellation", json={}),
        await ada.get(f"/api/tasks/{task_id}/artifact"),
        await ada.get(f"/api/tasks/{task_id}/receipt"),
    ]

    assert [answer.status_code for answer in answers] == [409] * 5
    assert all("cancelled" in answer.json()["detail"] for answer in answers)


async def test_the_artifact_is_python_text(gateway: Any, ada: httpx.AsyncClient) -> None:
    task_id = await submitted(ada)
    early = await ada.get(f"/api/tasks/{task_id}/artifact")
    gateway.happened(about(task_id, TaskCompleted.example()))
    gateway.happened(about(task_id, OutcomeLearned.example()))

    answer = await ada.get(f"/api/tasks/{task_id}/artifact")
    task = (await ada.get(f"/api/tasks/{task_id}")).json()

    assert early.status_code == 409
    assert answer.headers["content-type"] == "text/x-python; charset=utf-8"
    assert answer.text == TaskCompleted.example().code
    assert (task["state"], task["learned"]["lesson"]) == ("completed", "synthesis solved it in one round")


async def test_a_task_with_every_field_is_stated_as_it_was_asked(gateway: Any, ada: httpx.AsyncClient) -> None:
    await submitted(ada, mode="autonomous", candidates=3, deadline_s=60, signature="def fibonacci(n: int) -> int:")

    [event] = gateway.journal.events(TaskSubmitted)
    assert (event.mode, event.candidates, event.deadline_s, event.via) == ("autonomous", 3, 60, "http")
    assert event.specification.signature == "def fibonacci(n: int) -> int:"
