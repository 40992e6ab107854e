"""The embedded servers, real: they start, refuse strangers, and keep what they acknowledged through a crash."""

from pathlib import Path

import asyncpg
import pytest
from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient, NewTopic
from grace_cli.errors import CliError, Exit
from grace_cli.stack.embedded import EmbeddedKafka, EmbeddedPostgres
from grace_cli.testing.stack import Kafka, Postgres


async def test_postgres_keeps_a_committed_row_through_a_kill() -> None:
    with EmbeddedPostgres() as server:
        connection = await asyncpg.connect(server.url())
        await connection.execute("CREATE TABLE fact (id int)")
        await connection.execute("INSERT INTO fact VALUES (7)")
        server.kill()
        server.start()
        connection = await asyncpg.connect(server.url())
        assert await connection.fetchval("SELECT id FROM fact") == 7
        await connection.close()


async def test_postgres_refuses_a_wrong_password() -> None:
    with EmbeddedPostgres() as server, pytest.raises(asyncpg.InvalidPasswordError):
        await asyncpg.connect(f"postgresql://postgres:wrong@127.0.0.1:{server.port}/postgres")


def test_kafka_keeps_topics_through_a_restart_and_a_kill() -> None:
    with EmbeddedKafka() as server:
        client = AdminClient(server.admin_config())
        client.create_topics([NewTopic("fact", 1, 1)])["fact"].result()
        server.restart()
        server.kill()
        server.start()
        assert "fact" in AdminClient(server.admin_config()).list_topics(timeout=10).topics


def test_kafka_refuses_a_wrong_password() -> None:
    with EmbeddedKafka() as server:
        refusals: list[KafkaError] = []
        client = AdminClient(
            server.admin_config() | {"sasl.password": "wrong", "error_cb": refusals.append, "log_level": 0}
        )
        with pytest.raises(KafkaException):
            client.list_topics(timeout=3)
        client.poll(0)
        assert KafkaError._AUTHENTICATION in {error.code() for error in refusals}


def test_closing_ends_the_process_and_removes_the_data() -> None:
    with EmbeddedPostgres() as server:
        pid, folder = server.pid, server.folder
    assert not Path(f"/proc/{pid}").exists()
    assert not folder.exists()
    with pytest.raises(CliError) as raised:
        _ = server.pid
    assert raised.value.code is Exit.NOT_RUNNING


async def test_the_session_fixtures_give_a_running_pair(kafka: Kafka, postgres: Postgres) -> None:
    client = AdminClient(kafka.admin_config())
    assert client.list_topics(timeout=10).brokers
    connection = await asyncpg.connect(postgres.url())
    assert await connection.fetchval("SELECT 1") == 1
    await connection.close()
