"""The short way to a submission and FastAPI's way: the same answers and the same traces, whichever a request took."""

from typing import Any

import httpx
import pytest
from grace_common.contract.events.operation import OperationFailed, OperationSucceeded, RequestRefused
from grace_common.contract.events.task import TaskSubmitted
from grace_gateway.api.express import Lane
from grace_gateway.domain.requests import TaskRequest
from starlette.types import Message

GOOD = b'{"requirements": "x"}'
SHORT, LONG = "application/json", "application/json; charset=utf-8"  # a content type with parameters goes the long way


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"requirements": 7}', b'{"requirements": "x", "colour": 1}'])
async def test_a_refusal_reads_the_same_on_both_ways(gateway: Any, ada: httpx.AsyncClient, body: bytes) -> None:
    answers = [await ada.post("/api/tasks", content=body, headers={"Content-Type": way}) for way in (SHORT, LONG)]

    assert answers[0].status_code == answers[1].status_code == 422
    assert answers[0].json() == answers[1].json()
    first, second = gateway.journal.events(RequestRefused)
    assert first.model_dump(exclude={"refusal_id"}) == second.model_dump(exclude={"refusal_id"})


BAD: dict[str, tuple[bytes, dict[str, str]]] = {
    "no credential": (GOOD, {"Authorization": ""}),
    "another scheme": (GOOD, {"Authorization": "Basic Z3JjX2FkYTo="}),
    "an unknown key": (GOOD, {"Authorization": "Bearer grc_nobody"}),
    "another role": (GOOD, {"Authorization": "Bearer grc_grace"}),
    "a body that is too large": (b'{"requirements": "%s"}' % (b"x" * 70_000), {}),
    "a fact that is too large": (b'{"requirements": "x", "tests": "%s"}' % (b"\\u0001" * 9_000), {}),
    "deep nesting": (
        b'{"requirements": "x", "examples": [{"args": %s1%s, "expected": 1}]}' % (b"[" * 200, b"]" * 200),
        {},
    ),
    "a huge number": (b'{"requirements": "x", "examples": [{"args": [1%s], "expected": 1}]}' % (b"0" * 5_000), {}),
    "a repeated member": (b'{"requirements": "x", "requirements": "y", "colour": 1}', {}),
    "a mark of the order of bytes": (b"\xef\xbb\xbf" + GOOD, {}),
    "UTF-16": (GOOD.decode().encode("utf-16"), {}),
    "half a character": (b'{"requirements": "\\ud800"}', {}),
    "a key that is empty": (GOOD, {"Idempotency-Key": ""}),
    "a key that is too long": (GOOD, {"Idempotency-Key": "k" * 300}),
    "a body in another coding": (GOOD, {"Content-Encoding": "gzip"}),
    "nothing that is known": (b'{"requirements": "x", "mode": "magic", "language": "cobol"}', {}),
}


@pytest.mark.parametrize("what", BAD)
async def test_every_check_of_the_long_way_is_made_on_the_short_one(gateway: Any, what: str) -> None:
    content, headers = BAD[what]
    answers = []
    async with gateway.client("grc_ada") as http:
        for way in (SHORT, LONG):
            sent = {"Authorization": "Bearer grc_ada", "Content-Type": way} | headers
            answers.append(await http.post("/api/tasks?wait=1", content=content, headers=sent))
    short, long = answers

    def told(answer: httpx.Response) -> tuple[Any, dict[str, str]]:
        own = ("grace-operation-id", "location", "date")
        body = {name: value for name, value in answer.json().items() if name not in ("id", "submitted_at")}
        return body, {name: value for name, value in answer.headers.items() if name not in own}

    assert short.status_code == long.status_code
    if short.status_code == 202:  # what both take is taken alike
        assert len(gateway.journal.events(TaskSubmitted)) == 2
    else:
        assert told(short) == told(long)
        assert gateway.journal.events(TaskSubmitted) == []
        first, second = gateway.journal.events(RequestRefused)
        assert first.model_dump(exclude={"refusal_id"}) == second.model_dump(exclude={"refusal_id"})


@pytest.mark.parametrize("way", [SHORT, LONG])
async def test_a_submission_is_stated_with_the_record_of_its_operation(
    gateway: Any, ada: httpx.AsyncClient, way: str
) -> None:
    answer = await ada.post("/api/tasks", content=b'{"requirements": "x"}', headers={"Content-Type": way})

    assert answer.status_code == 202
    assert [str(event.task_id) for event in gateway.journal.events(TaskSubmitted)] == [answer.json()["id"]]
    assert [event.name for event in gateway.journal.events(OperationSucceeded)] == ["gateway.submit_task"]


@pytest.mark.parametrize("way", [SHORT, LONG])
async def test_a_failure_of_grace_itself_is_answered_and_recorded(gateway: Any, way: str) -> None:
    async with gateway.client("grc_ada") as ada:
        gateway.journal.failing = ZeroDivisionError("nobody foresaw this")

        answer = await ada.post("/api/tasks", content=b'{"requirements": "x"}', headers={"Content-Type": way})

    assert answer.status_code == 500
    assert "foresaw" not in answer.text


@pytest.mark.parametrize("way", [SHORT, LONG])
async def test_a_client_that_goes_away_has_asked_for_nothing(gateway: Any, way: str) -> None:
    said: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        said.append(message)

    headers = [(b"authorization", b"Bearer grc_ada"), (b"content-type", way.encode()), (b"content-length", b"9")]
    scope = {"type": "http", "method": "POST", "path": "/api/tasks", "headers": headers, "query_string": b""}
    await gateway.door(scope, receive, send)

    assert said[0]["status"] == 400
    assert gateway.journal.events(TaskSubmitted) == []
    assert gateway.journal.events(OperationFailed) == []


def test_a_lane_that_declares_no_roles_cannot_be_made() -> None:
    async def open_to_all(request: Any, body: Any) -> Any: ...

    with pytest.raises(TypeError, match="who may call it"):
        Lane("/api/tasks", TaskRequest, open_to_all)
