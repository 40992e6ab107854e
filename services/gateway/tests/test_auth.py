"""`/api/auth`: who is asking, and making and withdrawing API keys."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from grace_common.contract.errors import Refused
from grace_common.contract.events.operation import RequestRefused
from grace_gateway.adapters.key_store import read_pepper


async def test_everybody_learns_who_they_are(otto: httpx.AsyncClient) -> None:
    assert (await otto.get("/api/auth/me")).json() == {"user": "otto", "roles": ["auditor"], "key_id": "key-otto"}


async def test_a_new_key_is_shown_once_works_and_is_kept_as_a_hash_alone(gateway: Any, olga: httpx.AsyncClient) -> None:
    asked = {"user": "eve", "roles": ["requester"], "expires_at": None}
    made = (await olga.post("/api/auth/keys", json=asked)).json()

    assert made["key"].startswith("grc_")
    async with gateway.client(made["key"]) as eve:
        assert (await eve.get("/api/auth/me")).json()["user"] == "eve"
    listed = (await olga.get("/api/auth/keys")).text
    assert (made["key"] in listed, made["id"] in listed) == (False, True)
    assert made["key"] not in repr(gateway.keys.keys)
    assert made["key"] not in repr(gateway.journal.stated)


async def test_a_revoked_key_is_refused_at_once(gateway: Any, olga: httpx.AsyncClient) -> None:
    made = (await olga.post("/api/auth/keys", json={"user": "eve", "roles": ["requester"], "expires_at": None})).json()
    revoked = await olga.delete(f"/api/auth/keys/{made['id']}")

    async with gateway.client(made["key"]) as eve:
        answer = await eve.get("/api/auth/me")

    assert (revoked.status_code, answer.status_code) == (200, 401)
    assert "revoked" in answer.json()["detail"]
    assert (await olga.delete(f"/api/auth/keys/{made['id']}")).status_code == 409


async def test_an_expired_key_is_refused(gateway: Any) -> None:
    gateway.add_key("grc_old", "old", "requester", expires_at=gateway.clock.now() - timedelta(seconds=1))
    async with gateway.client("grc_old") as client:
        answer = await client.get("/api/auth/me")

    assert (answer.status_code, "expired at" in answer.json()["detail"]) == (401, True)
    assert [type(envelope.event) for envelope in gateway.journal.stated] == [RequestRefused]


@pytest.mark.parametrize(
    "wrong",
    [
        {"roles": []},
        {"roles": ["emperor"]},
        {"user": ""},
        {"user": "a\nb"},
        {"expires_at": "2020-01-01T00:00:00Z"},
        {"expires_at": "2027-01-01T00:00:00"},
    ],
)
async def test_a_key_that_makes_no_sense_is_refused(olga: httpx.AsyncClient, wrong: dict[str, Any]) -> None:
    asked = {"user": "eve", "roles": ["requester"], "expires_at": None, **wrong}

    assert (await olga.post("/api/auth/keys", json=asked)).status_code == 422


async def test_an_expiry_must_be_said(olga: httpx.AsyncClient) -> None:
    assert (await olga.post("/api/auth/keys", json={"user": "eve", "roles": ["requester"]})).status_code == 422


async def test_keys_of_the_deployment_cannot_be_revoked_over_the_api(olga: httpx.AsyncClient) -> None:
    answers = [await olga.delete("/api/auth/keys/key-ada"), await olga.delete("/api/auth/keys/nothing")]

    assert [answer.status_code for answer in answers] == [409, 404]


async def test_a_requester_makes_no_keys(ada: httpx.AsyncClient) -> None:
    asked = {"user": "ada", "roles": ["operator"], "expires_at": None}

    assert (await ada.post("/api/auth/keys", json=asked)).status_code == 403


def test_a_missing_or_short_pepper_stops_the_start_with_advice(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="grace up"):
        read_pepper(tmp_path)
    (tmp_path / "pepper").write_text("short")
    with pytest.raises(Refused, match="at least 16"):
        read_pepper(tmp_path)
