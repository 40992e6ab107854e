"""Requests that must have no effect, over HTTP: a clear problem to who asked, and one trace in the ledger."""

import hashlib
import hmac
import json
import secrets
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

import pytest

from tests.e2e.doors import Acknowledged, Json, Ledger, Person
from tests.e2e.patience import until
from tests.e2e.stack import Stack
from tests.e2e.tasks import FIBONACCI, guide

REFUSED, EXAMINE = "grace.request-refused.v1", "grace.evaluation-requested.v1"
DOUBLE = "def double(n):\n    return 2 * n\n"


class Everybody(Person):
    """Somebody with an API key of all roles, which an operator added to the gateway's file."""

    secret = "grc_" + secrets.token_urlsafe(32)

    @property
    def key(self) -> str:
        return self.secret


@pytest.fixture
def everybody(grace: Stack, acknowledged: list[Acknowledged]) -> Everybody:
    person = Everybody(grace, "eve", acknowledged)
    state = grace.home.state("gateway")
    pepper = (state / "pepper").read_text().encode()
    keys = json.loads((state / "api-keys.json").read_text())
    keys = [one for one in keys if one["id"] != "everybody"]
    keys.append(
        {
            "id": "everybody",
            "user": person.user,
            "roles": ["requester", "reviewer"],
            "hash": hmac.digest(pepper, person.secret.encode(), hashlib.sha256).hex(),
            "expires": None,
        }
    )
    (state / "api-keys.json").write_text(json.dumps(keys))
    until("known key", lambda: person.ask("GET", "/api/tasks").status_code == 200)
    return person


def test_an_approval_must_be_another_persons_and_of_the_present_digest(
    everybody: Everybody, reviewer: Person, ledger: Ledger
) -> None:
    task_id = everybody.post("/api/tasks", FIBONACCI)["id"]
    guide(everybody, reviewer, task_id)
    ready = everybody.waits_for(task_id, "awaiting-approval")
    path = f"/api/tasks/{task_id}/approval"

    own = everybody.refused(403, "POST", path, {"digest": ready["approval"]["digest"]})
    stale = reviewer.refused(409, "POST", path, {"digest": "00" * 32})
    again = everybody.get(f"/api/tasks/{task_id}")

    assert "requester" in own[0]["detail"]
    assert "stale" in stale[0]["detail"]
    assert again["state"] == "awaiting-approval"
    assert again["approval"]["approved_by"] == []
    for refusal in (own, stale):
        _one_trace(ledger, refusal)
    everybody.post(f"/api/tasks/{task_id}/cancellation", {})


def test_nothing_can_be_asked_of_a_cancelled_task(ada: Person, reviewer: Person, ledger: Ledger) -> None:
    task_id = ada.post("/api/tasks", FIBONACCI)["id"]
    ada.post(f"/api/tasks/{task_id}/cancellation", {"reason": "changed my mind"})
    ada.waits_for(task_id, "cancelled")

    refusal = reviewer.refused(409, "POST", f"/api/tasks/{task_id}/guidance", {"guidance": "go on"})

    assert "cancelled" in refusal[0]["detail"]
    _one_trace(ledger, refusal)


def test_a_foreign_credential_opens_nothing(ada: Person, ledger: Ledger) -> None:
    refusal = ada.refused(401, "POST", "/api/tasks", FIBONACCI, Authorization="Bearer grc_of-another-grace")

    _one_trace(ledger, refusal)


def test_a_role_opens_its_own_doors_alone(ada: Person, reviewer: Person, ledger: Ledger) -> None:
    for refusal in (
        reviewer.refused(403, "POST", "/api/tasks", FIBONACCI),
        ada.refused(403, "GET", "/api/governance/dead-letters"),
    ):
        _one_trace(ledger, refusal)


def test_an_idempotency_key_stands_for_one_body(ada: Person, ledger: Ledger) -> None:
    key = {"Idempotency-Key": str(uuid4())}
    submitted = ada.ask("POST", "/api/tasks", FIBONACCI, **key)
    assert submitted.status_code == 202

    refusal = ada.refused(422, "POST", "/api/tasks", FIBONACCI | {"candidates": 3}, **key)
    repeated = ada.ask("POST", "/api/tasks", FIBONACCI, **key)

    assert "another body" in refusal[0]["detail"]
    assert repeated.json()["id"] == submitted.json()["id"]
    _one_trace(ledger, refusal)
    ada.post(f"/api/tasks/{submitted.json()['id']}/cancellation", {})


@pytest.mark.parametrize(
    ("specification", "code", "reason"),
    [
        ({"language": "cobol"}, "DISPLAY 1", "these can: python"),
        ({"tests": "assert ("}, DOUBLE, "the tests are no Python (line 1)"),
        ({}, "print(1)", "defines no function"),
        ({"tests": "nul\0l"}, DOUBLE, "NUL character"),
    ],
    ids=["unknown language", "no Python", "no function", "NUL"],
)
def test_what_cannot_be_examined_is_refused_at_once(
    specification: Json, code: str, reason: str, ada: Person, ledger: Ledger
) -> None:
    body = {"specification": {"requirements": "Double"} | specification, "code": code}

    refusal = ada.refused(422, "POST", "/api/evaluations", body)

    assert reason in refusal[0]["detail"]
    _one_trace(ledger, refusal)


@pytest.mark.parametrize(
    ("tests", "reason"),
    [("assert double(1) == 2\n" * 61, "at most 60 are run")],
    ids=["too many asserts"],
)
def test_what_only_the_sandbox_refuses_is_answered_too(tests: str, reason: str, ada: Person, ledger: Ledger) -> None:
    body = {"specification": {"requirements": "Double", "tests": tests}, "code": DOUBLE}
    id_ = ada.post("/api/evaluations", body)["id"]

    failed = ada.until_examined(id_, "failed")

    assert reason in failed["failure"]["reason"]
    assert [line["type"] for line in failed["timeline"]] == [EXAMINE, "grace.evaluation-failed.v1"]
    ledger.until_holds({line["id"] for line in failed["timeline"]})


def test_code_that_means_harm_gets_nowhere_and_its_sender_reads_why(ada: Person, ledger: Ledger) -> None:
    port = urlsplit(ada.stack.url).port
    mark = Path("/var/tmp") / f"grace-{uuid4()}"
    harm = {
        "while True:\n        pass": "",  # loops
        "os.fork()": "PermissionError",
        "kept = [bytes(1 << 20) for _ in iter(int, 1)]": "",  # allocates without end
        f"socket.create_connection(('127.0.0.1', {port}))": "PermissionError",
        "open('/etc/passwd').read()": "FileNotFoundError",
        f"open({str(mark)!r}, 'w').write('x')": "Error",
    }
    specification = {"requirements": "Return it", "entry_point": "same", "examples": [{"args": [1], "expected": 1}]}
    asked = {
        does: ada.post(
            "/api/evaluations",
            {"specification": specification, "code": f"import os, socket\ndef same(n):\n    {does}\n    return n\n"},
        )["id"]
        for does in (*harm, "pass")
    }
    examined = {does: ada.until_examined(id_) for does, id_ in asked.items()}

    for does, error in harm.items():
        (result,) = (one for one in examined[does]["result"]["report"]["results"] if one["kind"] == "example")
        assert result["verdict"] in ("timeout", "memory", "error"), (does, result)
        assert error in result["shown"], (does, result)
    assert examined["pass"]["result"]["passed"] == 1
    assert not mark.exists()
    ledger.until_holds({line["id"] for one in examined.values() for line in one["timeline"]})


def _one_trace(ledger: Ledger, refusal: tuple[Json, str]) -> None:
    """The refused request is an operation of its own: its key, and one entry that states the refusal."""
    entries = ledger.until_operation(refusal[1], REFUSED)
    assert [entry.type for entry in entries] == ["grace.operation-key-generated.v1", REFUSED]
