"""A provisioned cluster and database with a test CA: what tests of the runtime and of services need to run one.

The fixture `deployment` is new for each test module: empty topics and a database of its own on the session's servers.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import asyncpg
import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaConnectionError
from confluent_kafka.admin import AdminClient
from grace_common.contract import schemas
from grace_common.contract.envelope import Context, Envelope, encode, first
from grace_common.contract.events.base import Event
from grace_common.contract.topics import SERVICES, TOPICS, Topic
from grace_common.runtime import migrate
from grace_common.runtime.clock import SystemClock
from grace_common.runtime.database import Database
from grace_common.runtime.identity import Workload
from grace_common.runtime.producer import SealedProducer, connection
from grace_common.runtime.seal import Outgoing
from grace_common.runtime.service import Service
from grace_common.runtime.settings import Settings
from grace_common.testing.certificates import Authority, certificate_issued, write
from pydantic import SecretStr

from grace_cli.stack.provision import principals, provision_kafka, provision_postgres, service_url

# One password a principal for the whole session: servers outlive modules, and a broker learns a new one with delay.
PASSWORDS: Final = {principal: f"only-'\"for-tests-{principal}" for principal in principals()}


@dataclass
class Deployment:
    """A broker and a database provisioned for all services, and a workload identity for each."""

    kafka: Any
    postgres: Any
    folder: Path
    authority: Authority
    workloads: dict[str, Workload]
    database_name: str

    def settings(self, service: str, **changes: Any) -> Settings:
        admin = self.postgres.url(self.database_name)
        values: dict[str, Any] = {
            "service": service,
            "kafka_bootstrap": self.kafka.bootstrap,
            "kafka_username": service,
            "kafka_password": SecretStr(PASSWORDS[service]),
            "database_url": SecretStr(service_url(admin, self.database_name, service, PASSWORDS[service])),
            "identity_dir": self.folder / "identity" / service,
            "state_dir": self.folder,
            "publication_dir": self.folder,
            "schemas_dir": self.folder / "schemas",
            "http_port": 0,
            "outbox_resend_s": 3600,
        }
        return Settings(**(values | changes))

    def database(self, service: str) -> Database:
        return Database(self.settings(service).database_url.get_secret_value())

    def producer(self, service: str, workload: Workload | None = None) -> SealedProducer:
        return SealedProducer(self.settings(service), (workload or self.workloads[service]).sealer())

    async def send(self, service: str, *envelopes: Envelope, workload: Workload | None = None) -> None:
        """Seal and produce facts as one service, or with another's key."""
        producer = self.producer(service, workload)
        await producer.send([outgoing(envelope) for envelope in envelopes])
        await producer.close()

    async def send_raw(self, service: str, record: Outgoing, headers: Sequence[tuple[str, bytes]]) -> None:
        """Produce a record with these headers and nothing else, as an attacker with credentials would."""
        producer = await self.producer(service)._started()
        await producer.send_and_wait(record.topic, value=record.value, key=record.key, headers=list(headers))
        await producer.stop()

    @asynccontextmanager
    async def reading(self, reader: str, topic: Topic) -> AsyncIterator[AIOKafkaConsumer]:
        """Yield a consumer that begins at the topic's present end."""
        consumer = AIOKafkaConsumer(**connection(self.settings(reader)), enable_auto_commit=False)
        await consumer.start()
        partitions = [TopicPartition(topic.name, number) for number in range(topic.partitions)]
        consumer.assign(partitions)
        await consumer.seek_to_end(*partitions)
        for partition in partitions:
            await consumer.position(partition)
        try:
            yield consumer
        finally:
            await consumer.stop()


def outgoing(envelope: Envelope) -> Outgoing:
    return Outgoing(envelope.event.TOPIC.name, envelope.key, encode(envelope))


def stated(event: Event, source: str = "/grace/gateway") -> Envelope:
    """Return an envelope around a first fact."""
    clock = SystemClock()
    context = Context(source=source, operation=clock.new_id(), actor="ada", correlation=event.partition_key)
    return first(event, context, id=clock.new_id(), time=clock.now())


@asynccontextmanager
async def running(service: Service) -> AsyncIterator[asyncio.Task[None]]:
    """Run a service beside the test until it is ready; stop it as SIGTERM would."""
    task = asyncio.create_task(service.run())
    try:
        async with asyncio.timeout(60):
            while any(missing is not None for missing in (await service.readiness()).values()):
                if task.done():
                    task.result()
                await asyncio.sleep(0.1)
        yield task
    finally:
        if not task.done():
            service.end()
        _, still_running = await asyncio.wait({task}, timeout=90)
        if still_running:
            task.cancel()
            raise AssertionError(f"{service.settings.service} did not stop within 90 s of being told to")


@pytest.fixture(scope="module")
def deployment(kafka: Any, postgres: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    made = deploy(kafka, postgres, tmp_path_factory.mktemp("deployment"))
    yield made
    _empty(kafka)


def deploy(kafka: Any, postgres: Any, folder: Path) -> Deployment:
    """Provision a broker and a database for all services, issue their identities, and migrate the runtime's tables."""
    provision_kafka(kafka.admin_config(), PASSWORDS)
    database = f"deployment_{uuid4().hex}"
    asyncio.run(_create_database(postgres.url(), database))
    asyncio.run(provision_postgres(postgres.url(database), PASSWORDS))
    for path, content in schemas.event_files().items():
        (folder / "schemas" / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / "schemas" / path).write_bytes(content)
    authority = Authority()
    workloads = {service: authority.issue(f"service/{service}") for service in SERVICES}
    for service, workload in workloads.items():
        write(workload, folder / "identity" / service)
    made = Deployment(kafka, postgres, folder, authority, workloads, database)
    asyncio.run(_certify(made))
    return made


async def _create_database(url: str, name: str) -> None:
    admin = await asyncpg.connect(url)
    await admin.execute(f"CREATE DATABASE {name}")
    await admin.close()


def _empty(kafka: Any) -> None:
    """Delete every topic, so that the next module's services meet no record sealed by keys they cannot know."""
    admin = AdminClient(kafka.admin_config() | {"log_level": 0})
    for deleted in admin.delete_topics([topic.name for topic in TOPICS], operation_timeout=60).values():
        deleted.result(60)


async def _admitted(deployment: Deployment) -> None:
    """Return when the broker lets every service in: it takes a moment to learn passwords that it has accepted."""
    async with asyncio.timeout(60):
        for service in SERVICES:
            while True:
                producer = deployment.producer(service)
                try:
                    await producer._started()
                    break
                except KafkaConnectionError:
                    await asyncio.sleep(0.2)
                finally:
                    await producer.close()


async def _certify(deployment: Deployment) -> None:
    await _admitted(deployment)
    facts = [
        stated(certificate_issued(workload, f"service/{service}"), "/grace/crypto-signer")
        for service, workload in deployment.workloads.items()
    ]
    await deployment.send("crypto-signer", *facts)
    for service in SERVICES:
        database = deployment.database(service)
        await migrate.migrate(database, None)
        await database.close()
