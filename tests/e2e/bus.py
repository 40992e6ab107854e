"""Kafka as programs with credentials meet it: reading topics, producing good and hostile records."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from uuid import NAMESPACE_URL, UUID, uuid5

import orjson
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from grace_cli.stack.kafka import ADMIN
from grace_cli.testing.containers import ContainerKafka
from grace_common.contract.topics import Topic
from grace_common.runtime.seal import Outgoing, Sealer
from grace_common.transparency.statement import key_id

from tests.e2e.patience import until
from tests.e2e.stack import KAFKA, Stack

Json = dict[str, Any]
Headers = Sequence[tuple[str, bytes]]
TIMEOUT_S: Final = 30.0


@dataclass(frozen=True, slots=True)
class Place:
    """Where a record stands, and since when by the broker's clock (milliseconds since 1970)."""

    topic: str
    partition: int
    offset: int
    at_ms: int = field(default=0, compare=False)

    @property
    def refusal_id(self) -> str:
        """The id of the record's refusal, should it be refused: the same whoever refuses it."""
        at = datetime.fromtimestamp(self.at_ms / 1000, UTC).isoformat()
        return str(uuid5(NAMESPACE_URL, f"kafka:{self.topic}/{self.partition}/{self.offset}@{at}"))


@dataclass(frozen=True, slots=True)
class Record:
    """One record as it was read."""

    place: Place
    key: bytes
    value: bytes
    headers: Headers


@dataclass(frozen=True)
class Bus:
    """The broker of a running Grace; every call acts as one principal with its own credentials."""

    stack: Stack

    def connection(self, principal: str) -> dict[str, Any]:
        """Return librdkafka's settings with which a principal connects; `admin` is the super user."""
        contained = self.stack.contained.get(KAFKA)
        if principal == ADMIN and isinstance(contained, ContainerKafka):
            return dict(contained.admin_config())
        return {
            "bootstrap.servers": self.stack.credentials("gateway")["GRACE_KAFKA_BOOTSTRAP"],
            "security.protocol": "SASL_PLAINTEXT",
            "sasl.mechanism": "SCRAM-SHA-256",
            "sasl.username": principal,
            "sasl.password": self.stack.credentials(principal)["GRACE_KAFKA_PASSWORD"],
        }

    def send(
        self, principal: str, topic: Topic, key: bytes, value: bytes, headers: Headers, partition: int = 0
    ) -> Place:
        """Produce one record as it is given and return where it stands; raises KafkaException when refused."""
        places: list[Place] = []
        errors: list[KafkaError] = []

        def delivered(error: KafkaError | None, message: Message) -> None:
            if error is not None:
                errors.append(error)
            else:
                places.append(_place(message))

        producer = Producer(self.connection(principal) | {"acks": "all", "message.timeout.ms": 30_000})
        producer.produce(
            topic.name, value=value, key=key, headers=list(headers), partition=partition, on_delivery=delivered
        )
        assert producer.flush(TIMEOUT_S) == 0, f"the broker did not take a record of {principal} for {topic}"
        if errors:
            raise KafkaException(errors[0])
        return places[0]

    def sealer(self, service: str) -> Sealer:
        """Return what seals with a service's stolen key."""
        return file_sealer(self.stack.home.identity(service) / "key.pem")

    def read(self, principal: str, topics: Sequence[Topic]) -> list[Record]:
        """Return every record that stands on these topics now."""
        with self._consumer(principal) as consumer:
            left: dict[tuple[str, int], int] = {}
            start = []
            for topic in topics:
                for number in range(topic.partitions):
                    low, high = consumer.get_watermark_offsets(TopicPartition(topic.name, number), TIMEOUT_S)
                    if high > low:
                        left[topic.name, number] = high
                        start.append(TopicPartition(topic.name, number, low))
            found: list[Record] = []
            if not start:
                return found
            consumer.assign(start)

            def look() -> bool:
                for message in consumer.consume(1000, 1.0):
                    found.append(_record(message))
                for position in consumer.position(start):
                    if position.offset >= left.get((position.topic, position.partition), 0):
                        left.pop((position.topic, position.partition), None)
                return not left

            until(f"end of {', '.join(topic.name for topic in topics)}", look)
            return found

    @contextmanager
    def observing(self, principal: str, topics: Sequence[Topic]) -> Iterator["Observer"]:
        """Yield an observer of everything that is produced from now on."""
        with self._consumer(principal) as consumer:
            ends = []
            for topic in topics:
                for number in range(topic.partitions):
                    _, high = consumer.get_watermark_offsets(TopicPartition(topic.name, number), TIMEOUT_S)
                    ends.append(TopicPartition(topic.name, number, high))
            consumer.assign(ends)
            yield Observer(consumer, [])

    @contextmanager
    def _consumer(self, principal: str) -> Iterator[Consumer]:
        settings = {
            "group.id": f"{principal}.observer",
            "enable.auto.commit": False,
            "auto.offset.reset": "error",
            "isolation.level": "read_committed",
        }
        consumer = Consumer(self.connection(principal) | settings)
        try:
            yield consumer
        finally:
            consumer.close()


@dataclass
class Observer:
    """What a consumer has seen so far."""

    consumer: Consumer
    seen: list[Json]

    def until(self, what: str, found: Callable[[Json], bool]) -> list[Json]:
        """Return the envelopes seen up to and including the first that `found` accepts.

        Each has besides its attributes where it stood: `topic`.
        """

        def look() -> bool:
            while (message := self.consumer.poll(1.0)) is not None:
                assert message.error() is None, str(message.error())
                self.seen.append(orjson.loads(message.value() or b"{}") | {"topic": message.topic()})
                if found(self.seen[-1]):
                    return True
            return False

        until(what, look)
        return self.seen

    def until_type(self, task_id: str, type_: str) -> list[Json]:
        """Return the envelopes seen up to the first of a type about a task."""
        return self.until(
            f"{type_} about {task_id}", lambda seen: seen.get("correlationid") == task_id and seen["type"] == type_
        )


def _place(message: Message) -> Place:
    return Place(message.topic() or "", message.partition() or 0, message.offset() or 0, message.timestamp()[1])


def _record(message: Message) -> Record:
    assert message.error() is None, str(message.error())
    place = _place(message)
    headers = message.headers() or []
    assert isinstance(headers, list)
    sealed_with = [(name, value) for name, value in headers if isinstance(value, bytes)]
    return Record(place, message.key() or b"", message.value() or b"", sealed_with)


def file_sealer(path: Path) -> Sealer:
    """Return what seals with the Ed25519 key in a PEM file."""
    key = load_pem_private_key(path.read_bytes(), password=None)
    assert isinstance(key, Ed25519PrivateKey)
    return Sealer(key, key_id(key.public_key().public_bytes_raw()))


def sealed(sealer: Sealer, topic: Topic, key: bytes, value: bytes) -> Headers:
    """Return the headers of one record sealed for a topic."""
    return sealer.seal(Outgoing(topic.name, key, value))


def outside_event(id_: UUID, type_: str, data: Json) -> bytes:
    """Return a CloudEvent as an outside producer makes one."""
    return orjson.dumps(
        {
            "specversion": "1.0",
            "id": str(id_),
            "source": "/producer/e2e",
            "type": type_,
            "datacontenttype": "application/json",
            "data": data,
        }
    )
