"""A service as a process: it starts, answers its probes, stops when told, and its log holds no secret."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import IO, Any

import httpx
import pytest
from grace_cli.testing.deployment import Deployment
from grace_common.runtime.settings import Settings
from pydantic import SecretStr

SERVICE = """
from grace_common.contract.events.task import DecisionRequested
from grace_common.runtime.database import Database
from grace_common.runtime.router import EventRouter
from grace_common.runtime.service import Service, main
from grace_common.runtime.settings import Settings

router = EventRouter("consensus")

@router.on(DecisionRequested)
async def decide(event, ports):
    return None

def build():
    settings = Settings.load()
    return Service(settings, Database(settings.database_url.get_secret_value()), routers=[router])

main(build)
"""


def environment(deployment: Deployment, **changes: Any) -> dict[str, str]:
    """What the supervisor would set."""
    settings = deployment.settings("consensus")
    values = {name: getattr(settings, name) for name in Settings.model_fields}
    shown = {
        f"GRACE_{name.upper()}": str(value.get_secret_value() if isinstance(value, SecretStr) else value)
        for name, value in (values | changes).items()
        if value is not None
    }
    return {name: value for name, value in os.environ.items() if not name.startswith("GRACE_")} | shown


def secrets_of(variables: Mapping[str, str]) -> set[str]:
    password = re.search(r"://[^:]+:([^@]+)@", variables["GRACE_DATABASE_URL"])
    assert password is not None
    return {variables["GRACE_KAFKA_PASSWORD"], password.group(1)}


def ended(variables: Mapping[str, str], *arguments: str) -> tuple[int, str]:
    """Run the process to its end; its exit code, and all it wrote."""
    done = subprocess.run(
        [sys.executable, "-c", SERVICE, *arguments], env=variables, capture_output=True, text=True, timeout=120
    )
    written = done.stdout + done.stderr
    assert not [secret for secret in secrets_of(variables) if secret in written]
    return done.returncode, written


@contextmanager
def process(variables: Mapping[str, str]) -> Iterator[tuple["subprocess.Popen[str]", IO[str]]]:
    running = subprocess.Popen(
        [sys.executable, "-c", SERVICE], env=variables, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        assert running.stdout is not None
        yield running, running.stdout
    finally:
        running.kill()
        running.wait()


def test_it_serves_its_probes_until_it_is_told_to_stop_and_logs_no_secret(deployment: Deployment) -> None:
    variables = environment(deployment, log_level="DEBUG")
    lines: list[dict[str, Any]] = []
    with process(variables) as (running, log):
        for line in log:
            lines.append(json.loads(line))
            if lines[-1]["event"] == "started":
                break
        url = lines[-1]["url"]
        assert httpx.get(f"{url}/health").json() == {"service": "consensus", "status": "alive"}
        assert set(httpx.get(f"{url}/ready").json()["components"]) == {"consumers", "broker", "relay", "database"}
        assert "grace_ready" in httpx.get(f"{url}/metrics").text
        running.send_signal(signal.SIGTERM)
        lines += [json.loads(line) for line in log]
        assert running.wait(60) == 0

    assert lines[-1]["event"] == "stopped"
    assert {line.get("service") for line in lines} == {"consensus"}
    assert not [secret for secret in secrets_of(variables) if secret in json.dumps(lines)]


def test_it_migrates_on_command(deployment: Deployment) -> None:
    assert ended(environment(deployment), "migrate")[0] == 0


@pytest.mark.parametrize(
    ("changes", "arguments", "words"),
    [
        ({}, ["dance"], "unknown arguments 'dance': none runs the service, or `migrate`"),
        ({"http_port": "hunter2"}, [], "http_port: Input should be a valid integer"),
        ({"kafka_bootstrap": None}, [], "kafka_bootstrap: Field required"),
        ({"failpoint": "relay.nowhere"}, [], "GRACE_FAILPOINT is 'relay.nowhere'; expected a stage"),
        ({"identity_dir": "/nowhere"}, [], "/nowhere/key.pem is missing: issue it with"),
        ({"schemas_dir": "/nowhere"}, [], "run `make schemas`, or set GRACE_SCHEMAS_DIR"),
        ({"database_url": "postgresql://u:longpassword@127.0.0.1:1/grace"}, ["migrate"], "PostgreSQL or the network"),
    ],
)
def test_what_keeps_it_from_starting_is_said_in_a_line_with_what_to_do(
    deployment: Deployment, changes: dict[str, Any], arguments: list[str], words: str
) -> None:
    code, written = ended(environment(deployment, **changes), *arguments)

    assert code == 1
    assert words in written
    assert "Traceback" not in written.splitlines()[-1]


def test_a_wrong_database_password_is_named_and_not_shown(deployment: Deployment) -> None:
    url = deployment.settings("consensus").database_url.get_secret_value()
    wrong = re.sub(r":[^:@]+@", ":wrongpassword@", url)

    code, written = ended(environment(deployment, database_url=wrong))

    assert code == 1
    assert "PostgreSQL refuses the role or its password; check GRACE_DATABASE_URL" in written


def test_a_broker_that_refuses_the_password_is_waited_for_with_the_settings_to_check(deployment: Deployment) -> None:
    variables = environment(deployment, kafka_password="wrongpassword")
    with process(variables) as (running, log):
        waiting = next(line for line in map(json.loads, log) if line["event"] == "waiting")
        running.send_signal(signal.SIGTERM)
        rest = log.read()
        assert running.wait(60) == 0

    assert "GRACE_KAFKA_USERNAME and GRACE_KAFKA_PASSWORD" in waiting["missing"]
    assert "wrongpassword" not in rest


def test_a_taken_port_is_named(deployment: Deployment) -> None:
    code, written = ended(environment(deployment, http_port=deployment.postgres.port))

    assert code == 1
    assert "free it, or set GRACE_HTTP_HOST and GRACE_HTTP_PORT" in written
