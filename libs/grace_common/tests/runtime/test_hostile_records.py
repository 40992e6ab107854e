"""Records made to hurt: whatever they carry, they leave their trace, and the partition moves on."""

from dataclasses import replace

import pytest
from confluent_kafka import Producer
from grace_cli.testing.deployment import Deployment, outgoing, running, stated
from grace_common.contract import envelope, topics
from grace_common.contract.events.dead_letter import RecordDeadLettered
from grace_common.contract.events.decision import OptionsDecided
from grace_common.contract.events.task import DecisionRequested
from grace_common.runtime.clock import SystemClock
from grace_common.runtime.router import EventRouter
from grace_common.runtime.seal import Outgoing
from grace_common.runtime.service import Service

SEAL = [("grace-key-id", b"k" * 32), ("grace-seal", b"s" * 64)]


def service(deployment: Deployment) -> Service:
    router: EventRouter[None] = EventRouter("consensus")

    @router.on(DecisionRequested, emits=(OptionsDecided,))
    async def decide(event: DecisionRequested, ports: None) -> list[OptionsDecided]:
        return [OptionsDecided.example().model_copy(update={"decision_id": event.decision_id})]

    return Service(deployment.settings("consensus"), deployment.database("consensus"), routers=[router])


def attack(deployment: Deployment, record: Outgoing, headers: list[tuple[str, bytes | None]]) -> None:
    """Produce with the gateway's password and librdkafka, which sends what aiokafka would not: null headers."""
    settings = deployment.settings("gateway")
    assert settings.kafka_password is not None
    producer = Producer(
        {
            "bootstrap.servers": settings.kafka_bootstrap,
            "security.protocol": settings.kafka_security_protocol,
            "sasl.mechanism": "SCRAM-SHA-256",
            "sasl.username": settings.kafka_username,
            "sasl.password": settings.kafka_password.get_secret_value(),
        }
    )
    producer.produce(record.topic, record.value, record.key, headers=headers)
    assert producer.flush(60) == 0


@pytest.mark.parametrize(
    ("headers", "size", "kept_headers"),
    [
        ([("grace-key-id", None), ("grace-seal", None)], 40, 2),
        ([*SEAL, ("grace-seal-path", None)], 40, 3),
        ([*SEAL, *((f"h{number}", b"x" * 1000) for number in range(40))], 90_000, 4),
        ([*SEAL, ("\x01" * 8000, b"")], 90_000, 2),
        ([("n" * 50_000, b"v" * 50_000)], 90_000, 0),
    ],
    ids=["null seal", "null path", "many headers", "control characters", "long name"],
)
async def test_a_hostile_record_is_dead_lettered_and_the_next_is_handled(
    deployment: Deployment, headers: list[tuple[str, bytes | None]], size: int, kept_headers: int
) -> None:
    marker = DecisionRequested.example().model_copy(update={"decision_id": SystemClock().new_id()})
    after = outgoing(stated(marker))
    value = str(SystemClock().new_id()).encode().ljust(size, b"\x01")
    async with (
        deployment.reading("gateway", topics.DEAD_LETTER) as letters,
        deployment.reading("gateway", topics.DECISION) as decisions,
        running(service(deployment)),
    ):
        attack(deployment, Outgoing(topics.TASK.name, after.key, value), headers)
        await deployment.send_raw("gateway", after, deployment.workloads["gateway"].sealer().seal(after))
        while (letter := envelope.open((await letters.getone()).value).event).value[:36] != value[:36]:  # type: ignore[attr-defined]
            """Another's."""
        while (answer := envelope.open((await decisions.getone()).value).event) != decided(marker):
            """Another's."""

    assert isinstance(letter, RecordDeadLettered)
    assert letter.value_bytes == size
    assert value.startswith(letter.value)
    assert len(letter.headers) == kept_headers
    assert answer.decision_id == marker.decision_id  # type: ignore[attr-defined]


def decided(marker: DecisionRequested) -> OptionsDecided:
    return OptionsDecided.example().model_copy(update={"decision_id": marker.decision_id})


async def test_text_that_a_sender_chose_does_not_swell_the_trace(deployment: Deployment) -> None:
    fact = outgoing(stated(DecisionRequested.example()))
    unknown = b",".join(b'"%s":1' % (b"\\u0001" * 300 + b"%d" % number) for number in range(100))
    spoiled = replace(fact, value=fact.value[:-1] + b"," + unknown[:20_000].rpartition(b",")[0] + b"}")
    async with deployment.reading("gateway", topics.DEAD_LETTER) as letters, running(service(deployment)):
        await deployment.send_raw("gateway", spoiled, deployment.workloads["gateway"].sealer().seal(spoiled))
        while (letter := envelope.open((await letters.getone()).value).event).value[:200] != spoiled.value[:200]:  # type: ignore[attr-defined]
            """Another's."""

    assert isinstance(letter, RecordDeadLettered)
    assert len(letter.reason) < 1000
