"""The embedded servers, real: they start, refuse strangers, and keep what they acknowledged through a crash."""

import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient, NewTopic
from grace_cli.errors import CliError, Exit
from grace_cli.stack.child import Child, last_lines
from grace_cli.stack.command import LIFELINE, Command
from grace_cli.stack.embedded import EmbeddedKafka, EmbeddedPostgres
from grace_cli.testing.stack import Kafka, Postgres

pytestmark = pytest.mark.stack  # they start servers of their own


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
        wrong: dict[str, Any] = {"sasl.password": "wrong", "error_cb": refusals.append, "log_level": 0}
        client = AdminClient(server.admin_config() | wrong)
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


def test_a_program_whose_starter_is_gone_does_not_begin(tmp_path: Path) -> None:
    mark = tmp_path / "begun"
    words = [sys.executable, str(LIFELINE), "1", str(int(signal.SIGTERM)), "-1", "-1", "touch", str(mark)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert "the parent is gone" in done.stderr
    assert not mark.exists()


def test_a_server_that_cannot_start_is_told_with_the_end_of_its_log(tmp_path: Path) -> None:
    command = Command((sys.executable, "-c", "print('the disk is full'); raise SystemExit(1)"), {}, tmp_path)
    child = Child("Kafka", lambda: command, lambda: False, tmp_path / "kafka.log")
    with pytest.raises(CliError, match=r"(?s)Kafka ended with code 1.*the disk is full"):
        child.start()
    child.kill()
    child.stop()


STUBBORN = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(600)"
)


def test_a_server_that_ignores_the_signal_is_killed_when_stopped(tmp_path: Path) -> None:
    log = tmp_path / "server.log"
    command = Command((sys.executable, "-c", STUBBORN), {}, tmp_path)
    child = Child("server", lambda: command, lambda: "up" in last_lines(log), log)
    child.start()
    pid = child.pid
    child.stop(timeout_s=0.1)
    assert not Path(f"/proc/{pid}").exists()
    assert last_lines(tmp_path / "absent.log") == ""
