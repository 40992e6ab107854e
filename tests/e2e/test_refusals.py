"""Requests that must have no effect, over HTTP: a clear problem to who asked, and one trace in the ledger."""

import hashlib
import hmac
import json
import secrets
from uuid import uuid4

import pytest

from tests.e2e.doors import Acknowledged, Json, Ledger, Person
from tests.e2e.patience import until
from tests.e2e.stack import Stack
from tests.e2e.tasks import FIBONACCI, guide

REFUSED = "grace.request-refused.v1"


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


def _one_trace(ledger: Ledger, refusal: tuple[Json, str]) -> None:
    """The refused request is an operation of its own: its key, and one entry that states the refusal."""
    entries = ledger.until_operation(refusal[1], REFUSED)
    assert [entry.type for entry in entries] == ["grace.operation-key-generated.v1", REFUSED]
