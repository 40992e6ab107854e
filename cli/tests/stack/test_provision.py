"""Provisioning against real servers: each principal can do what the topics table says, and nothing else."""

import asyncpg
import pytest
from confluent_kafka import Consumer, KafkaError, Message, Producer
from confluent_kafka.admin import AdminClient, ConfigResource, ResourceType
from grace_cli.errors import CliError, Exit
from grace_cli.stack.kafka import ClientConfig
from grace_cli.stack.provision import (
    access_rules,
    provision_kafka,
    provision_postgres,
    scram_verifier,
    service_url,
    target_database,
    topic_config,
)
from grace_cli.testing.deployment import PASSWORDS, Deployment
from grace_cli.testing.stack import Kafka, Postgres
from grace_common.contract.topics import (
    CODE_GEN,
    CONSENSUS,
    DECISION,
    IDENTITY,
    INTAKE,
    OUTSIDE,
    TASK,
    TOPICS,
    Topic,
)


def as_principal(kafka: Kafka, name: str) -> ClientConfig:
    return kafka.admin_config() | {"sasl.username": name, "sasl.password": PASSWORDS[name], "log_level": 0}


def write(kafka: Kafka, name: str, topic: str) -> KafkaError | None:
    """Produce one record as a principal; return the error its delivery ended with."""
    outcomes: list[KafkaError | None] = []

    def delivered(error: KafkaError | None, message: Message) -> None:
        outcomes.append(error)

    producer = Producer(as_principal(kafka, name) | {"enable.idempotence": True, "message.timeout.ms": 10_000})
    producer.produce(topic, b"fact", on_delivery=delivered)
    producer.flush(20)
    return outcomes[0]


def read(kafka: Kafka, name: str, topic: str, group: str) -> bytes | KafkaError:
    """Read the first record of a topic as a principal in a group, or return the error met instead."""
    consumer = Consumer(as_principal(kafka, name) | {"group.id": group, "auto.offset.reset": "earliest"})
    consumer.subscribe([topic])
    try:
        for _ in range(30):
            message = consumer.poll(1)
            if message is not None:
                return message.error() or message.value() or b""
    finally:
        consumer.close()
    raise AssertionError("neither a record nor an error came")


@pytest.fixture(scope="module")
def provisioned(deployment: Deployment) -> Kafka:
    kafka: Kafka = deployment.kafka
    return kafka


def test_each_topic_is_as_the_table_says(provisioned: Kafka) -> None:
    client = AdminClient(provisioned.admin_config())
    there = client.list_topics(timeout=10).topics
    for topic in TOPICS:
        assert len(there[topic.name].partitions) == topic.partitions
        [future] = client.describe_configs([ConfigResource(ResourceType.TOPIC, topic.name)]).values()
        found = {name: entry.value for name, entry in future.result().items()}
        assert found.items() >= topic_config(topic).items()


def test_a_writer_writes_its_topic_and_a_reader_reads_it_in_its_groups(provisioned: Kafka) -> None:
    assert write(provisioned, CONSENSUS, DECISION.name) is None
    assert read(provisioned, "gateway", DECISION.name, "gateway") == b"fact"
    assert read(provisioned, "gateway", DECISION.name, "gateway.view") == b"fact"


def test_a_service_cannot_write_another_services_topic(provisioned: Kafka) -> None:
    error = write(provisioned, CONSENSUS, TASK.name)
    assert error is not None
    assert error.code() == KafkaError.TOPIC_AUTHORIZATION_FAILED


def test_an_outside_producer_writes_the_intake_and_nothing_else(provisioned: Kafka) -> None:
    assert write(provisioned, OUTSIDE, INTAKE.name) is None
    error = write(provisioned, OUTSIDE, IDENTITY.name)
    assert error is not None
    assert error.code() == KafkaError.TOPIC_AUTHORIZATION_FAILED


def test_a_service_cannot_read_a_topic_that_is_not_for_it(provisioned: Kafka) -> None:
    error = read(provisioned, CODE_GEN, DECISION.name, CODE_GEN)
    assert isinstance(error, KafkaError)
    assert error.code() == KafkaError.TOPIC_AUTHORIZATION_FAILED


def test_a_service_cannot_join_another_services_group(provisioned: Kafka) -> None:
    error = read(provisioned, CODE_GEN, TASK.name, CONSENSUS)
    assert isinstance(error, KafkaError)
    assert error.code() == KafkaError.GROUP_AUTHORIZATION_FAILED


def test_nobody_makes_a_topic_by_writing_it(provisioned: Kafka) -> None:
    assert write(provisioned, CONSENSUS, "grace.unheard-of.v1") is not None
    assert "grace.unheard-of.v1" not in AdminClient(provisioned.admin_config()).list_topics(timeout=10).topics


def test_provisioning_again_changes_nothing(provisioned: Kafka) -> None:
    assert provision_kafka(provisioned.admin_config(), PASSWORDS) == []


def test_a_right_that_the_table_took_away_is_withdrawn(kafka: Kafka) -> None:
    before = Topic("test.withdrawn.v1", "id", writers=("passer-by",), readers=())
    after = Topic("test.withdrawn.v1", "id", writers=("heir",), readers=())
    passwords = {"passer-by": "one", "heir": "two"}
    provision_kafka(kafka.admin_config(), passwords, [before])

    told = provision_kafka(kafka.admin_config(), passwords, [after])

    assert told == ["1 access rules made", "1 access rules withdrawn"]


def test_too_few_partitions_are_told_and_left_alone(kafka: Kafka) -> None:
    provision_kafka(kafka.admin_config(), {"passer-by": "one"}, [Topic("test.narrow.v1", "id", (), (), partitions=1)])
    told = provision_kafka(
        kafka.admin_config(), {"passer-by": "one"}, [Topic("test.narrow.v1", "id", (), (), partitions=3)]
    )
    assert told == ["test.narrow.v1 has 1 partitions, the table says 3"]


def test_without_authentication_topics_are_made_and_the_lack_is_told(kafka: Kafka) -> None:
    told = provision_kafka(kafka.admin_config(), None, [Topic("test.open.v1", "id", (), ())])
    assert told == ["1 topics made", "the cluster has no authentication: any client may write any topic"]


def test_a_cluster_that_is_not_there_is_named(unused_tcp_port: int) -> None:
    with pytest.raises(CliError, match=f"127.0.0.1:{unused_tcp_port}") as raised:
        provision_kafka({"bootstrap.servers": f"127.0.0.1:{unused_tcp_port}"}, None, timeout_s=1)
    assert raised.value.code is Exit.NOT_READY


async def test_a_service_owns_its_schema_and_sees_no_other(postgres: Postgres) -> None:
    for _ in range(2):  # the second run changes nothing
        await provision_postgres(postgres.url(), PASSWORDS)

    def url(service: str) -> str:
        return service_url(postgres.url(), "grace", service, PASSWORDS[service])

    code_gen = await asyncpg.connect(url(CODE_GEN))
    consensus = await asyncpg.connect(url(CONSENSUS))
    try:
        await code_gen.execute("CREATE TABLE candidate (id int)")
        assert await code_gen.fetchval("SELECT schemaname FROM pg_tables WHERE tablename = 'candidate'") == "code_gen"
        assert await code_gen.fetchval("SELECT similarity('fibonacci', 'fibonaci') > 0.5")
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await consensus.execute("SELECT * FROM code_gen.candidate")
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await consensus.execute("CREATE TABLE public.note (id int)")
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await consensus.execute("CREATE SCHEMA another")
    finally:
        await code_gen.close()
        await consensus.close()


async def test_a_wrong_admin_password_is_named_without_being_shown(postgres: Postgres) -> None:
    with pytest.raises(CliError) as raised:
        await provision_postgres(f"postgresql://postgres:wr0ng@127.0.0.1:{postgres.port}/postgres", {}, [])
    assert "could not be provisioned" in raised.value.message
    assert "wr0ng" not in raised.value.message


def test_an_admin_url_names_the_database_or_leaves_it_to_grace() -> None:
    assert target_database("postgresql://a:b@host:5432/postgres") == "grace"
    assert target_database("postgresql://a:b@host:5432") == "grace"
    assert target_database("postgresql://a:b@host:5432/team") == "team"


def test_each_writer_and_reader_of_the_table_has_its_rule() -> None:
    rules = {(rule.principal, rule.name, str(rule.operation)) for rule in access_rules(TOPICS)}
    for topic in TOPICS:
        assert {("User:" + writer, topic.name, "AclOperation.WRITE") for writer in topic.writers} <= rules
        assert {("User:" + reader, topic.name, "AclOperation.READ") for reader in topic.readers} <= rules


def test_a_stored_password_does_not_contain_the_password() -> None:
    assert scram_verifier("secret").startswith("SCRAM-SHA-256$4096:")
    assert "secret" not in scram_verifier("secret")
