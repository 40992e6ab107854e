"""Every bad input over HTTP: a clear problem for the one who sent it, no effect, one trace."""

from typing import Any

import httpx
import pytest
from grace_common.contract.events.operation import RequestRefused
from grace_common.contract.events.task import TaskSubmitted

GOOD = {"requirements": "Double a number"}


def nested(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


def assert_problem(answer: httpx.Response, status: int, says: str) -> None:
    problem = answer.json()
    assert (answer.status_code, problem["status"]) == (status, status)
    assert answer.headers["content-type"] == "application/problem+json"
    assert says in problem["detail"]
    assert "grace-operation-id" in answer.headers


def assert_one_trace_and_no_effect(gateway: Any, status: int) -> None:
    assert [event.status for event in gateway.journal.events(RequestRefused)] == [status]
    assert gateway.journal.events(TaskSubmitted) == []
    assert len(gateway.journal.stated) == 1


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"{", "not JSON"),
        (b'{"requirements": NaN}', "not JSON"),
        (b'{"requirements": "\xff"}', "not JSON"),
        (b"", "required"),
        (b"[]", "object"),
        (b'{"requirements": 7}', "requirements"),
        (b'{"requirements": ""}', "requirements"),
        (b'{"requirements": "x", "candidates": "8"}', "candidates"),
        (b'{"requirements": "x", "candidates": 41}', "candidates"),
        (b'{"requirements": "x", "deadline_s": 1}', "deadline_s"),
        (b'{"requirements": "x", "mode": "magic"}', "mode"),
        (b'{"requirements": "x", "entry_point": "not a name"}', "entry_point"),
        (b'{"requirements": "x", "colour": "red"}', "colour"),
        (b'{"requirements": "x", "examples": [{"args": []}]}', "expected"),
        (b'{"requirements": "x", "language": "cobol"}', "these can: python"),
        (b'{"requirements": "nul\\u0000l"}', "NUL"),
        (b'{"requirements": "x", "examples": [{"args": [{"\\u0000": 1}], "expected": 1}]}', "NUL"),
    ],
)
async def test_a_malformed_body_is_refused(gateway: Any, ada: httpx.AsyncClient, body: bytes, says: str) -> None:
    answer = await ada.post("/api/tasks", content=body, headers={"Content-Type": "application/json"})

    assert_problem(answer, 422, says)
    assert_one_trace_and_no_effect(gateway, 422)


@pytest.mark.parametrize("credential", ["grc_" + "k" * 43, "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhZGEifQ.c2lnbmF0dXJl"])
async def test_a_credential_in_the_wrong_place_is_neither_recorded_nor_answered(
    gateway: Any, ada: httpx.AsyncClient, credential: str
) -> None:
    in_path = await ada.get(f"/api/tasks/{credential}/nothing")
    as_name = await ada.post("/api/tasks", json=GOOD | {credential: 1})

    assert (in_path.status_code, as_name.status_code) == (404, 422)
    assert in_path.json()["instance"] == "/api/tasks/[credential]/nothing"
    assert "body.[credential]: Extra inputs" in as_name.json()["detail"]
    assert len(gateway.journal.stated) == 2
    assert credential not in repr(gateway.journal.stated)


async def test_a_refusal_never_repeats_what_was_sent(gateway: Any, ada: httpx.AsyncClient) -> None:
    answer = await ada.post("/api/tasks", json={"requirements": "x", "mode": "hunter2"})

    assert "hunter2" not in answer.text
    assert "hunter2" not in gateway.journal.events(RequestRefused)[0].reason


async def test_a_body_that_is_no_json_by_its_type_is_refused(gateway: Any, ada: httpx.AsyncClient) -> None:
    answer = await ada.post("/api/tasks", content=b"requirements=x", headers={"Content-Type": "text/plain"})

    assert answer.status_code == 422
    assert_one_trace_and_no_effect(gateway, 422)


async def test_a_body_that_says_it_is_too_large_is_refused_unread(gateway: Any, ada: httpx.AsyncClient) -> None:
    answer = await ada.post("/api/tasks", json={"requirements": "x" * 70_000})

    assert_problem(answer, 413, "65536 bytes at most")
    assert_one_trace_and_no_effect(gateway, 413)


async def test_a_chunked_body_is_refused_when_it_grows_too_large(gateway: Any, ada: httpx.AsyncClient) -> None:
    async def chunks() -> Any:
        for _ in range(80):
            yield b"x" * 1024

    answer = await ada.post("/api/tasks", content=chunks(), headers={"Content-Type": "application/json"})

    assert_problem(answer, 413, "65536 bytes at most")
    assert_one_trace_and_no_effect(gateway, 413)


async def test_a_body_whose_fact_would_not_fit_an_envelope_is_refused(gateway: Any, ada: httpx.AsyncClient) -> None:
    examples = [{"args": ["x" * 1_000], "expected": 1}] * 50

    answer = await ada.post("/api/tasks", json={"requirements": "x", "examples": examples})

    assert_problem(answer, 413, "the limit is 49152")
    assert_one_trace_and_no_effect(gateway, 413)


async def test_a_body_nested_too_deep_is_refused(gateway: Any, ada: httpx.AsyncClient) -> None:
    answer = await ada.post("/api/tasks", json={**GOOD, "examples": [{"args": nested(40), "expected": 1}]})

    assert_problem(answer, 422, "deeper than 32")
    assert_one_trace_and_no_effect(gateway, 422)


async def test_a_body_nested_without_end_is_refused(gateway: Any, ada: httpx.AsyncClient) -> None:
    answer = await ada.post("/api/tasks", content=b"[" * 60_000, headers={"Content-Type": "application/json"})

    assert_problem(answer, 422, "not JSON")
    assert_one_trace_and_no_effect(gateway, 422)


async def test_many_brackets_that_are_not_deep_are_fine(ada: httpx.AsyncClient) -> None:
    examples = [{"args": [[1], [2], [3]], "expected": [1, 2, 3]}] * 20

    assert (await ada.post("/api/tasks", json={**GOOD, "examples": examples})).status_code == 202


async def test_code_that_speaks_of_nul_is_fine(ada: httpx.AsyncClient) -> None:
    asked = {"specification": {"requirements": "x"}, "code": 'def f():\n    return "\\u0000"\n'}

    assert (await ada.post("/api/evaluations", json=asked)).status_code == 202


async def test_integers_of_any_size_stay_what_they_are(gateway: Any, ada: httpx.AsyncClient) -> None:
    large = 354224848179261915075
    answer = await ada.post("/api/tasks", json={**GOOD, "examples": [{"args": [100], "expected": large}]})

    assert gateway.journal.events(TaskSubmitted)[0].specification.examples[0].expected == large
    assert answer.json()["specification"]["examples"][0]["expected"] == large


@pytest.mark.parametrize(
    ("authorization", "says"),
    [
        (None, "an API key is needed"),
        ("Basic YWRhOmFkYQ==", "an API key is needed"),
        ("Bearer ", "an API key is needed"),
        ("Bearer grc_unknown", "unknown or was revoked"),
    ],
)
async def test_a_missing_or_foreign_credential_is_refused(gateway: Any, authorization: str | None, says: str) -> None:
    headers = {"Authorization": authorization} if authorization else {}
    async with gateway.client() as client:
        answer = await client.post("/api/tasks", json=GOOD, headers=headers)

    assert_problem(answer, 401, says)
    assert answer.headers["www-authenticate"].startswith("Bearer")
    assert_one_trace_and_no_effect(gateway, 401)


async def test_failed_authentications_are_limited_for_each_address(gateway: Any, ada: httpx.AsyncClient) -> None:
    async with gateway.client("grc_wrong") as client:
        answers = [await client.get("/api/tasks") for _ in range(12)]

    assert [answer.status_code for answer in answers] == [401] * 10 + [429] * 2
    assert answers[-1].headers["retry-after"] == "60"
    assert (await ada.get("/api/tasks")).status_code == 200


async def test_a_wrong_role_is_refused(gateway: Any, otto: httpx.AsyncClient) -> None:
    answer = await otto.post("/api/tasks", json=GOOD)

    assert_problem(answer, 403, "requester")
    assert_one_trace_and_no_effect(gateway, 403)


async def test_an_idempotency_key_replayed_with_another_body_is_refused(gateway: Any, ada: httpx.AsyncClient) -> None:
    key = {"Idempotency-Key": "k1"}
    first = await ada.post("/api/tasks", json=GOOD, headers=key)
    again = await ada.post("/api/tasks", json=GOOD, headers=key)
    other = await ada.post("/api/tasks", json={"requirements": "Triple a number"}, headers=key)

    assert (again.status_code, again.content) == (202, first.content)
    assert again.headers["location"] == first.headers["location"]
    assert [event.status for event in gateway.journal.events(RequestRefused)] == [422]
    assert_problem(other, 422, "another body")
    assert len(gateway.journal.events(TaskSubmitted)) == 1


async def test_one_key_of_two_people_makes_two_tasks(gateway: Any, ada: httpx.AsyncClient) -> None:
    key = {"Idempotency-Key": "k1"}
    mine = await ada.post("/api/tasks", json=GOOD, headers=key)
    async with gateway.client("grc_bob") as bob:
        theirs = await bob.post("/api/tasks", json=GOOD, headers=key)

    assert mine.json()["id"] != theirs.json()["id"]


@pytest.mark.parametrize("key", ["x" * 256, "two words"])
async def test_an_idempotency_key_of_the_wrong_form_is_refused(ada: httpx.AsyncClient, key: str) -> None:
    assert_problem(await ada.post("/api/tasks", json=GOOD, headers={"Idempotency-Key": key}), 422, "visible ASCII")


@pytest.mark.parametrize(
    ("path", "status", "says"),
    [
        ("/api/tasks/019ac000-0000-7000-8000-00000000ffff", 404, "there is no task"),
        ("/api/tasks/not-a-uuid", 422, "task_id"),
        ("/api/tasks?limit=0", 422, "limit"),
        ("/api/tasks?limit=201", 422, "limit"),
        ("/api/tasks?state=sleeping", 422, "none of submitted"),
        ("/api/tasks?cursor=nonsense", 422, "cursor"),
        ("/api/tasks?requester=bob", 403, "themselves"),
        ("/api/tasks?state=%00", 400, "NUL"),
        ("/api/nothing", 404, "Not Found"),
    ],
)
async def test_an_address_that_leads_nowhere_is_refused(
    gateway: Any, ada: httpx.AsyncClient, path: str, status: int, says: str
) -> None:
    assert_problem(await ada.get(path), status, says)
    assert_one_trace_and_no_effect(gateway, status)


async def test_a_wrong_method_names_those_that_are_allowed(ada: httpx.AsyncClient) -> None:
    answer = await ada.delete("/api/tasks")

    assert_problem(answer, 405, "Method Not Allowed")
    assert answer.headers["allow"]


async def test_a_length_that_is_no_number_is_refused(ada: httpx.AsyncClient) -> None:
    answer = await ada.post("/api/tasks", content=b"{}", headers={"Content-Length": b"\xb2"})

    assert_problem(answer, 400, "Content-Length")


async def test_more_requests_than_a_key_may_make_are_refused(gateway: Any) -> None:
    limited = gateway.new_settings(key_rate="3/hour")
    async with limited.client("grc_ada") as ada:
        answers = [await ada.get("/api/tasks") for _ in range(5)]

    assert [answer.status_code for answer in answers] == [200] * 3 + [429] * 2
    assert answers[-1].headers["retry-after"] == "3600"


async def test_refusals_beyond_a_rate_are_counted_and_stated_in_one_fact(gateway: Any) -> None:
    limited = gateway.new_settings(refusal_rate="2/hour", key_rate="1000/second")
    async with limited.client("grc_ada") as ada:
        for _ in range(7):
            await ada.get("/api/nothing")
    assert len(limited.journal.events(RequestRefused)) == 2

    await limited.door.refusals.state_counts()
    await limited.door.refusals.state_counts()

    last = limited.journal.events(RequestRefused)[-1]
    assert len(limited.journal.events(RequestRefused)) == 3
    assert (last.actor, last.path, "5 times 404" in last.reason) == ("ada", "*", True)


async def test_no_new_work_is_taken_while_the_pipeline_lags(gateway: Any, ada: httpx.AsyncClient) -> None:
    gateway.lag.append("30000 facts wait")

    assert (await ada.get("/api/tasks")).status_code == 200
    answer = await ada.post("/api/tasks", json=GOOD)
    assert_problem(answer, 503, "30000 facts wait")
    assert answer.headers["retry-after"] == "5"


async def test_nothing_is_acknowledged_when_the_database_is_out(gateway: Any, ada: httpx.AsyncClient) -> None:
    gateway.journal.failing = ConnectionError("gone")

    for answer in (await ada.post("/api/tasks", json=GOOD), await ada.get("/api/tasks")):
        assert_problem(answer, 503, "nothing was done")
        assert answer.headers["retry-after"] == "2"


async def test_an_error_of_grace_itself_tells_the_client_nothing_of_it(gateway: Any, ada: httpx.AsyncClient) -> None:
    gateway.journal.failing = RuntimeError("secret detail")

    for answer in (await ada.post("/api/tasks", json=GOOD), await ada.get("/api/tasks")):
        assert_problem(answer, 500, "an error of Grace itself")
        assert "secret" not in answer.text
