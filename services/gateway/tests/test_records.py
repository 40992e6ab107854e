"""Operations, keys, governance, memory, schemas: what the API shows of the read model, and what it states."""

import base64
from typing import Any
from uuid import UUID

import httpx
import pytest
from grace_common.contract.events.candidate import EvaluationFailed
from grace_common.contract.events.operation import RequestRefused
from grace_common.contract.events.task import (
    DecisionRequested,
    EvaluationRequested,
    KeyRevocationRequested,
    ProducerEnrolled,
    RedactionRequested,
    ReplayRequested,
)

OPERATION = UUID("019ac000-0000-7000-8000-0000000000aa")
REFUSAL = UUID("019ac000-0000-7000-8000-0000000000bb")
CODE = {"code": "def double(n):\n    return 2 * n\n"}
DEEP = "assert " + "-" * 7_000 + "1"
TASK = UUID("019ac000-0000-7000-8000-0000000000cc")


def entry(index: int, entry_type: str, actor: str = "ada") -> dict[str, Any]:
    return {
        "index": index,
        "entry_id": UUID(int=index),
        "entry_type": entry_type,
        "operation_id": OPERATION,
        "correlation": str(TASK),
        "actor": actor,
        "service": "gateway",
        "time": "2026-11-22T12:00:00Z",
    }


async def test_an_operation_shows_its_key_its_outcome_and_its_entries(gateway: Any, otto: httpx.AsyncClient) -> None:
    gateway.views.entries += [entry(1, "grace.operation-succeeded.v1"), entry(0, "cryptographic_key_generated")]
    gateway.views.operation_rows[OPERATION] = {"id": OPERATION, "name": "gateway.x", "actor": "ada", "subject": "s"}

    shown = (await otto.get(f"/api/operations/{OPERATION}")).json()
    listed = (await otto.get("/api/operations?name=gateway.x")).json()

    assert (shown["name"], shown["key_generated"]["index"]) == ("gateway.x", 0)
    assert [one["index"] for one in shown["ledger_entries"]] == [0, 1]
    assert [one["id"] for one in listed["items"]] == [str(OPERATION)]


async def test_an_operation_known_by_its_entries_alone_is_shown_to_whom_it_concerns(
    gateway: Any, ada: httpx.AsyncClient
) -> None:
    gateway.views.entries.append(entry(0, "cryptographic_key_generated"))

    async with gateway.client("grc_bob") as bob:
        assert (await bob.get(f"/api/operations/{OPERATION}")).status_code == 404
    assert (await ada.get(f"/api/operations/{OPERATION}")).json()["outcome"] is None
    assert (await ada.get(f"/api/operations/{TASK}")).status_code == 404


async def test_the_ledger_is_searched_page_by_page_in_either_order(gateway: Any, otto: httpx.AsyncClient) -> None:
    gateway.views.entries += [entry(index, "grace.task-submitted.v1") for index in range(5)]

    first = (await otto.get("/api/ledger?limit=3")).json()
    second = (await otto.get(f"/api/ledger?limit=3&cursor={first['next_cursor']}")).json()
    oldest = (await otto.get(f"/api/ledger?order=oldest&limit=2&task={TASK}&type=grace.task-submitted.v1")).json()

    assert [one["index"] for one in first["items"]] == [4, 3, 2]
    assert ([one["index"] for one in second["items"]], second["next_cursor"]) == ([1, 0], None)
    assert [one["index"] for one in oldest["items"]] == [0, 1]


async def test_requesters_search_the_ledger_by_their_own_tasks_alone(gateway: Any, ada: httpx.AsyncClient) -> None:
    task_id = (await ada.post("/api/tasks", json={"requirements": "x"})).json()["id"]

    async with gateway.client("grc_bob") as bob:
        statuses = [
            (await client.get(f"/api/ledger{query}")).status_code
            for client, query in ((ada, ""), (ada, f"?task={task_id}"), (bob, f"?task={task_id}"))
        ]

    assert statuses == [403, 200, 403]


async def test_a_producer_is_enrolled_with_its_raw_public_key(gateway: Any, olga: httpx.AsyncClient) -> None:
    asked = {
        "name": "build-farm",
        "public_key": base64.b64encode(bytes(range(32))).decode(),
        "roles": ["requester"],
        "valid_until": "2027-11-22T00:00:00Z",
    }

    answer = await olga.post("/api/keys/producers", json=asked)

    [event] = gateway.journal.events(ProducerEnrolled)
    assert (answer.status_code, answer.json()["subject"]) == (202, "producer/build-farm")
    assert (event.public_key, event.roles, event.by) == (bytes(range(32)), ("requester",), "olga")


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"public_key": "!"}, "not base64"),
        ({"public_key": "AAAA"}, "has 3 bytes"),
        ({"name": "Build Farm"}, "name"),
        ({"valid_until": "2020-01-01T00:00:00Z"}, "in the past"),
    ],
)
async def test_an_enrolment_that_makes_no_sense_is_refused(
    olga: httpx.AsyncClient, wrong: dict[str, str], says: str
) -> None:
    asked = {
        "name": "build-farm",
        "public_key": base64.b64encode(bytes(32)).decode(),
        "roles": ["requester"],
        "valid_until": "2027-11-22T00:00:00Z",
        **wrong,
    }

    answer = await olga.post("/api/keys/producers", json=asked)

    assert (answer.status_code, says in answer.json()["detail"]) == (422, True)


async def test_a_certified_key_is_shown_and_revoked_once(gateway: Any, olga: httpx.AsyncClient) -> None:
    gateway.views.certificate_rows += [
        {"key_id": "k1", "subject": "service/gateway", "revoked_at": None},
        {"key_id": "k2", "subject": "producer/x", "revoked_at": "2026-11-22T00:00:00Z"},
    ]

    listed = (await olga.get("/api/keys?subject=producer/x")).json()
    answers = [await olga.post(f"/api/keys/{key}/revocation", json={"reason": "lost"}) for key in ("k1", "k2", "k3")]

    assert [one["key_id"] for one in listed["items"]] == ["k2"]
    assert [answer.status_code for answer in answers] == [202, 409, 404]
    assert [event.key_id for event in gateway.journal.events(KeyRevocationRequested)] == ["k1"]
    assert (await olga.get("/api/keys/k1")).json()["subject"] == "service/gateway"
    assert (await olga.get("/api/keys/k3")).status_code == 404


async def test_the_entries_that_announce_operation_keys_are_listed(gateway: Any, ada: httpx.AsyncClient) -> None:
    gateway.views.entries += [entry(0, "cryptographic_key_generated"), entry(1, "grace.task-submitted.v1")]
    gateway.views.entries += [entry(2, "cryptographic_key_generated")]

    page = (await ada.get("/api/keys/operations?limit=1")).json()
    rest = (await ada.get(f"/api/keys/operations?limit=1&cursor={page['next_cursor']}")).json()

    assert [one["index"] for one in (*page["items"], *rest["items"])] == [2, 0]


async def test_a_dead_letter_is_listed_read_and_replayed_to_the_one_that_refused_it(
    gateway: Any, olga: httpx.AsyncClient
) -> None:
    letter = {"refusal_id": str(REFUSAL), "topic": "grace.task.v1", "partition": 1, "offset": 17, "reason": "bad seal"}
    gateway.views.letters += [{**letter, "consumer": "consensus"}, {**letter, "consumer": "code-gen"}]
    path = f"/api/governance/dead-letters/{REFUSAL}"

    listed = (await olga.get("/api/governance/dead-letters?consumer=consensus")).json()
    read = (await olga.get(path)).json()
    answers = [
        await olga.post(f"{path}/replay", json=body)
        for body in ({}, {"consumer": "consensus"}, {"consumer": "audit-log"})
    ]

    assert (len(listed["items"]), len(read["items"])) == (1, 2)
    assert [answer.status_code for answer in answers] == [409, 202, 404]
    [event] = gateway.journal.events(ReplayRequested)
    assert (event.consumer, event.partition, event.offset, event.by) == ("consensus", 1, 17, "olga")
    assert (await olga.get(f"/api/governance/dead-letters/{OPERATION}")).status_code == 404


async def test_policies_and_lessons_are_listed(gateway: Any, ada: httpx.AsyncClient) -> None:
    gateway.views.policy_rows.append({"name": "approval", "version": 1})
    gateway.views.lessons.append(
        {"task_id": TASK, "outcome": "completed", "lesson": "iterate", "learned_at": "now", "requirements": "fibonacci"}
    )

    assert (await ada.get("/api/governance/policies")).json()["items"] == [{"name": "approval", "version": 1}]
    assert (await ada.get("/api/memory/outcomes?search=fibonacci")).json()["items"][0]["lesson"] == "iterate"
    assert "requirements" not in (await ada.get("/api/memory/lessons")).json()["items"][0]


async def test_every_schema_is_served_by_its_path(ada: httpx.AsyncClient) -> None:
    items = (await ada.get("/api/schemas")).json()["items"]
    schema = await ada.get("/api/schemas/events/task/task-submitted.v1.schema.json")
    example = await ada.get("/api/schemas/events/task/task-submitted.v1.example.json")

    assert len(items) > 60
    assert schema.headers["content-type"] == "application/schema+json"
    assert (schema.json()["title"], example.json()["requester"]) == ("TaskSubmitted", "ada")
    assert (await ada.get("/api/schemas/../secrets")).status_code == 404


async def test_an_evaluation_is_asked_for_and_answered(gateway: Any, ada: httpx.AsyncClient) -> None:
    asked = {"specification": {"requirements": "Double"}, "code": "def double(n):\n    return 2 * n\n"}
    shown = (await ada.post("/api/evaluations", json=asked)).json()
    gateway.happened(gateway.completed_evaluation(shown["id"]), service="code-gen")

    later = (await ada.get(f"/api/evaluations/{shown['id']}", headers={"Prefer": "wait=5"})).json()

    assert (shown["state"], shown["result"]) == ("submitted", None)
    assert (later["state"], later["result"]["passed"]) == ("completed", 3)
    assert gateway.journal.events(EvaluationRequested)[0].code == asked["code"]
    assert [one["id"] for one in (await ada.get("/api/evaluations")).json()["items"]] == [shown["id"]]
    assert (await ada.get(f"/api/tasks/{shown['id']}")).status_code == 404


async def test_a_decision_is_asked_for_and_answered(gateway: Any, ada: httpx.AsyncClient) -> None:
    asked = {"question": "Which?", "options": ["a", "b"], "ballots": [{"voter": "v", "choice": "a"}]}
    shown = (await ada.post("/api/decisions", json=asked)).json()
    gateway.happened(gateway.reached_decision(shown["id"]), service="consensus")

    later = (await ada.get(f"/api/decisions/{shown['id']}")).json()

    assert (shown["state"], later["state"], later["result"]["option"]) == ("submitted", "completed", "btree")
    assert gateway.journal.events(DecisionRequested)[0].question == "Which?"
    assert (await ada.get("/api/decisions?state=submitted")).json()["items"] == []


@pytest.mark.parametrize(
    ("path", "body", "says"),
    [
        ("decisions", {"options": ["a", "a"], "ballots": [{"voter": "v", "choice": "a"}]}, "differ"),
        ("decisions", {"options": ["a", "b"], "ballots": [{"voter": "v", "choice": "c"}]}, "none of the options"),
        ("decisions", {"options": ["a"], "ballots": [{"voter": "v", "choice": "a"}]}, "options"),
        ("decisions", {"options": ["a", ""], "ballots": [{"voter": "v", "choice": "a"}]}, "options.1"),
        ("decisions", {"options": ["a", "b" * 201], "ballots": [{"voter": "v", "choice": "a"}]}, "options.1"),
        ("decisions", {"options": ["a", "b"], "ballots": [{"voter": "v", "choice": "a"}] * 2}, "casts one ballot"),
        ("evaluations", {"specification": {"requirements": "x", "language": "rust"}, "code": "x"}, "these can: python"),
        ("evaluations", {"specification": {"requirements": "x"}, "code": ""}, "code"),
        ("evaluations", {"specification": {"requirements": "x"}, "code": "print(1)"}, "defines no function"),
        (
            "evaluations",
            {"specification": {"requirements": "x", "tests": "assert ("}, **CODE},
            "the tests are no Python",
        ),
        ("evaluations", {"specification": {"requirements": "x", "tests": DEEP}, **CODE}, "the tests are no Python"),
        (
            "evaluations",
            {"specification": {"requirements": "x", "signature": "f("}, **CODE},
            "no Python function header",
        ),
        ("tasks", {"requirements": "x", "tests": "assert ("}, "the tests are no Python (line 1)"),
        ("tasks", {"requirements": "x", "signature": "class A:"}, "no Python function header"),
    ],
)
async def test_what_cannot_be_met_decided_or_evaluated_is_refused(
    gateway: Any, ada: httpx.AsyncClient, path: str, body: dict[str, Any], says: str
) -> None:
    asked = {"question": "Which?", **body} if path == "decisions" else body
    answer = await ada.post(f"/api/{path}", json=asked)

    assert (answer.status_code, says in answer.json()["detail"]) == (422, True)
    assert [type(envelope.event) for envelope in gateway.journal.stated] == [RequestRefused]


@pytest.mark.parametrize("named", [{"entry_point": "double"}, {"signature": "def double(n: int) -> int:"}])
async def test_code_is_evaluated_though_only_the_specification_names_its_function(
    ada: httpx.AsyncClient, named: dict[str, str]
) -> None:
    asked = {"specification": {"requirements": "Double", **named}, "code": "double = lambda n: 2 * n"}

    assert (await ada.post("/api/evaluations", json=asked)).status_code == 202


async def test_an_evaluation_that_cannot_be_done_has_failed_and_says_why(gateway: Any, ada: httpx.AsyncClient) -> None:
    asked = {"specification": {"requirements": "Double"}, **CODE}
    id_ = (await ada.post("/api/evaluations", json=asked)).json()["id"]
    gateway.happened(EvaluationFailed(evaluation_id=UUID(id_), reason="61 asserts"), service="code-gen")

    later = (await ada.get(f"/api/evaluations/{id_}", headers={"Prefer": "wait=5"})).json()

    assert (later["state"], later["result"], later["failure"]["reason"]) == ("failed", None, "61 asserts")


async def test_the_inbox_shows_what_waits_for_approval_with_the_chosen_candidate(
    gateway: Any, ada: httpx.AsyncClient, rita: httpx.AsyncClient
) -> None:
    task_id = (await ada.post("/api/tasks", json={"requirements": "Calculate fibonacci"})).json()["id"]
    gateway.bring_to_approval(task_id)

    [item] = (await rita.get("/api/governance/approvals")).json()["items"]

    assert (item["task_id"], item["own"], item["requester"]) == (task_id, False, "ada")
    assert item["candidate"]["candidate_id"] == item["approval"]["candidate_id"]


async def test_an_operator_redacts_what_has_content(
    gateway: Any, olga: httpx.AsyncClient, ada: httpx.AsyncClient
) -> None:
    gateway.views.entries += [entry(0, "cryptographic_key_generated"), entry(1, "grace.task-submitted.v1")]

    answers = [
        await olga.post(f"/api/ledger/entries/{index}/redaction", json={"reason": "a name"}) for index in (1, 0, 2)
    ]

    assert [answer.status_code for answer in answers] == [202, 409, 404]
    [event] = gateway.journal.events(RedactionRequested)
    assert (event.index, str(event.entry_id), event.by) == (1, answers[0].json()["entry_id"], "olga")
    assert (await ada.post("/api/ledger/entries/1/redaction", json={"reason": "a name"})).status_code == 403
    assert (await olga.post("/api/ledger/entries/1/redaction", json={})).status_code == 422
