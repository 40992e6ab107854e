"""The whole gateway on real Kafka and PostgreSQL: what goes in over HTTP and Kafka, and what the read model shows."""

import asyncio
import hmac
from collections.abc import AsyncIterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import orjson
import pytest
from grace_cli.testing.deployment import Deployment, running, stated
from grace_common.contract.events.candidate import ApproachProposed
from grace_common.contract.events.round import OutcomeLearned, PoliciesPublished
from grace_common.contract.topics import INTAKE
from grace_common.runtime import migrate
from grace_common.runtime.seal import Outgoing
from grace_common.testing.certificates import certificate_issued
from grace_gateway.main import build
from grace_gateway.settings import Settings

PEPPER = "ab" * 16
KEYS = {"ada": ["requester"], "rita": ["reviewer"], "olga": ["operator"]}


@dataclass
class Running:
    deployment: Deployment
    asgi: Any

    def client(self, user: str) -> httpx.AsyncClient:
        return httpx.AsyncClient(
            transport=httpx.ASGITransport(self.asgi),
            base_url="http://grace",
            headers={"Authorization": f"Bearer grc_{user}"},
        )


@pytest.fixture
async def gateway(deployment: Deployment, tmp_path: Path) -> AsyncIterator[Running]:
    (tmp_path / "pepper").write_text(PEPPER)
    keys = [
        {
            "id": user,
            "user": user,
            "roles": roles,
            "hash": hmac.new(PEPPER.encode(), f"grc_{user}".encode(), sha256).hexdigest(),
            "expires": None,
        }
        for user, roles in KEYS.items()
    ]
    (tmp_path / "api-keys.json").write_bytes(orjson.dumps(keys))
    common = deployment.settings("gateway", state_dir=tmp_path, publication_dir=tmp_path / "log")
    service = build(Settings(**common.model_dump()))
    await migrate.migrate(service.database, service.migrations())
    async with running(service):
        yield Running(deployment, service.asgi)


async def seen(client: httpx.AsyncClient, path: str, wanted: str) -> Any:
    """Return the JSON at `path` once `wanted` stands in it; the read model follows Kafka, so it takes a moment."""
    async with asyncio.timeout(30):
        while wanted not in (answer := await client.get(path)).text:  # noqa: ASYNC110  (HTTP has no event to await)
            await asyncio.sleep(0.05)
        return answer.json()


async def test_a_task_goes_to_kafka_and_comes_back_into_the_read_model(gateway: Running) -> None:
    async with gateway.client("ada") as ada, gateway.client("olga") as olga:
        answer = await ada.post("/api/tasks", json={"requirements": "Double a number"})
        task = answer.json()
        shown = await seen(ada, f"/api/tasks/{task['id']}", "grace.task-submitted.v1")
        assert shown["state"] == "submitted"
        operation = await seen(olga, f"/api/operations/{answer.headers['grace-operation-id']}", '"succeeded"')

    assert (operation["name"], operation["actor"], operation["subject"]) == ("gateway.submit_task", "ada", task["id"])


async def test_waiting_ends_when_the_task_needs_a_person(gateway: Running) -> None:
    async with gateway.client("ada") as ada:
        task = (await ada.post("/api/tasks", json={"requirements": "Triple a number"})).json()
        waiting = asyncio.create_task(ada.get(f"/api/tasks/{task['id']}", headers={"Prefer": "wait=30"}))
        proposed = ApproachProposed(
            task_id=UUID(task["id"]),
            approach="enumerate",
            entry_point="triple",
            signature="def triple(n):",
            generators=(),
        )
        await gateway.deployment.send("code-gen", stated(proposed, "/grace/code-gen"))
        answer = await waiting

    assert answer.headers["Preference-Applied"] == "wait=30"
    assert (answer.json()["state"], answer.json()["waiting_for"]) == ("approach-proposed", "guidance")


async def test_policies_and_lessons_can_be_read(gateway: Running) -> None:
    learned = OutcomeLearned.example().model_copy(update={"task_id": uuid4(), "requirements": "Reverse the polarity"})
    await gateway.deployment.send(
        "mtl-orchestrator",
        stated(PoliciesPublished.example(), "/grace/mtl-orchestrator"),
        stated(learned, "/grace/mtl-orchestrator"),
    )

    async with gateway.client("ada") as ada:
        assert (await seen(ada, "/api/governance/policies", "approval"))["items"][0]["version"] == 1
        found = await seen(ada, "/api/memory/outcomes?search=polarities", "polarity")
        assert [item["task_id"] for item in found["items"]] == [str(learned.task_id)]


async def test_an_enrolled_producers_event_becomes_a_task(gateway: Running) -> None:
    producer = gateway.deployment.authority.issue("producer/build-farm")
    certificate = certificate_issued(producer, "producer/build-farm", roles=("requester",))
    await gateway.deployment.send("crypto-signer", stated(certificate, "/grace/crypto-signer"))
    id_ = str(uuid4())
    value = orjson.dumps(
        {
            "specversion": "1.0",
            "id": id_,
            "source": "/build-farm",
            "type": "grace.task-submitted.v1",
            "data": {"requirements": "Quadruple a number"},
        }
    )
    sending = gateway.deployment.producer("producer", producer)
    await sending.send([Outgoing(INTAKE.name, b"", value)])
    await sending.close()

    async with gateway.client("rita") as rita:
        task = await seen(rita, f"/api/tasks/{id_}", "grace.task-submitted.v1")

    assert (task["requester"], task["via"]) == ("build-farm", "kafka")


async def test_a_producers_malformed_event_is_refused_and_kept_for_reading(gateway: Running) -> None:
    producer = gateway.deployment.authority.issue("producer/clumsy")
    certificate = certificate_issued(producer, "producer/clumsy", roles=("requester",))
    await gateway.deployment.send("crypto-signer", stated(certificate, "/grace/crypto-signer"))
    sending = gateway.deployment.producer("producer", producer)
    await sending.send([Outgoing(INTAKE.name, b"", b"{not json, but sealed}")])
    await sending.close()

    async with gateway.client("olga") as olga:
        listed = await seen(olga, "/api/governance/dead-letters?consumer=gateway", "is not JSON")
        letter = listed["items"][0]
        replay = await olga.post(f"/api/governance/dead-letters/{letter['refusal_id']}/replay", json={})

    assert (letter["topic"], letter["code"]) == (INTAKE.name, "malformed")
    assert replay.status_code == 202
