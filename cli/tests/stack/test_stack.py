"""The whole stack with small fake services: it comes up in order, heals, and goes down without a trace."""

import json
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import asyncpg
import psutil
import pytest
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from grace_cli.errors import CliError, Exit
from grace_cli.stack.credentials import read_env_file
from grace_cli.stack.home import Home, find_home
from grace_cli.stack.lifecycle import down, living, purge, running_status, start_in_foreground, up
from grace_cli.stack.plan import Preparation, ServicePlan, StackPlan
from grace_cli.stack.progress import Silent
from grace_cli.stack.status import ChildStatus, StackStatus, State
from grace_cli.stack.watch import sentences

FAKE = str(Path(__file__).with_name("fake_service.py"))
PATIENCE_S = 120.0


def service(folder: Path, name: str, package: str = "") -> ServicePlan:
    program = (sys.executable, FAKE)
    migrate = (*program, "migrate", str(folder / name))
    return ServicePlan(name, (*program, "serve", str(folder / name)), migrate, package=package)


class Stack:
    """A stack in a folder of the test's own, with two fake services, one with real tables, and one preparation."""

    def __init__(self, folder: Path, **settings: str) -> None:
        self.folder = folder
        cache = find_home(os.environ, Path.cwd()).cache
        self.environ = dict(os.environ) | {"GRACE_HOME": str(folder / "home"), "GRACE_CACHE": str(cache)} | settings
        self.home = find_home(self.environ, folder)
        self.plan = StackPlan(
            (service(folder, "gateway", "grace_gateway"), service(folder, "code-gen")),
            (Preparation("oath", (sys.executable, FAKE, "issue", str(folder / "oath")), "gateway", ("code-gen",)),),
        )

    def up(self) -> StackStatus:
        return up(self.home, self.environ, Silent(), self.plan, PATIENCE_S, tethered=True).status

    def child(self, name: str) -> ChildStatus:
        status = running_status(self.home)
        assert status is not None
        return next(child for child in status.children if child.name == name)

    def until(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < deadline, (self.home.logs / "supervisor.log").read_text()
            time.sleep(0.05)


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    folder = tmp_path_factory.mktemp("stack")
    stack = Stack(folder, GRACE_STRATEGY="plain", GRACE_OPENAI_API_KEY="model-secret")
    stack.up()
    yield stack
    down(stack.home)
    purge(stack.home)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_every_child_is_ready_after_its_migrations_and_preparations(stack: Stack) -> None:
    status = running_status(stack.home)
    assert status is not None
    assert [(child.name, child.state) for child in status.children] == [
        ("kafka", State.READY),
        ("postgres", State.READY),
        ("gateway", State.READY),
        ("code-gen", State.READY),
    ]
    assert (stack.folder / "code-gen" / "migrated").exists()
    assert (stack.folder / "oath").read_text() == "certificate"


async def test_a_service_that_names_its_package_is_migrated_without_its_own_command(stack: Stack) -> None:
    url = read_env_file(stack.home.credentials / "gateway.env")["GRACE_DATABASE_URL"]
    connection = await asyncpg.connect(url)
    try:
        assert await connection.fetchval("SELECT count(*) FROM outbox") == 0
        assert await connection.fetchval("SELECT version_num FROM alembic_version") == "gateway_0001"
    finally:
        await connection.close()
    assert not (stack.folder / "gateway" / "migrated").exists()


def test_each_service_is_told_its_own_secrets_alone(stack: Stack) -> None:
    told = {
        name: json.loads((stack.folder / name / "environment.json").read_text()) for name in ("gateway", "code-gen")
    }
    assert told["gateway"]["GRACE_SERVICE"] == "gateway"
    assert told["code-gen"]["GRACE_KAFKA_USERNAME"] == "code-gen"
    assert told["code-gen"]["GRACE_DATABASE_URL"].startswith("postgresql://code_gen:")
    assert told["code-gen"]["GRACE_IDENTITY_DIR"] == str(stack.home.identity("code-gen"))
    assert told["gateway"]["GRACE_STRATEGY"] == "plain"
    assert told["code-gen"]["GRACE_OPENAI_API_KEY"] == "model-secret"
    assert "model-secret" not in told["gateway"].values()
    assert told["code-gen"]["GRACE_KAFKA_PASSWORD"] not in json.dumps(told["gateway"])


def test_no_password_is_on_any_command_line(stack: Stack) -> None:
    secrets = {
        line.partition("=")[2]
        for file in stack.home.credentials.glob("*.env")
        for line in file.read_text().splitlines()
        if "PASSWORD" in line
    }
    status = running_status(stack.home)
    assert status is not None
    lines = [" ".join(process.cmdline()) for process in living(status)]
    assert len(lines) == 5
    assert not [line for line in lines for secret in secrets if secret in line]


def test_secret_files_are_for_their_owner_alone(stack: Stack) -> None:
    files = [*stack.home.credentials.iterdir(), stack.home.plan]
    assert {mode(path) for path in files} == {0o600}
    assert mode(stack.home.identity("gateway")) == 0o700
    assert mode(stack.home.state("gateway") / "pepper") == 0o600


def test_a_second_up_says_that_it_runs(stack: Stack) -> None:
    assert up(stack.home, stack.environ, Silent(), stack.plan, PATIENCE_S).already


def test_a_foreground_start_is_refused_while_it_runs(stack: Stack) -> None:
    with pytest.raises(CliError) as raised:
        start_in_foreground(stack.home, stack.environ, Silent(), stack.plan)
    assert raised.value.code is Exit.REFUSED


def test_a_running_stack_is_not_purged(stack: Stack) -> None:
    with pytest.raises(CliError, match="running"):
        purge(stack.home)


@pytest.mark.parametrize("name", ["gateway", "kafka", "postgres"])
def test_a_killed_child_is_started_again(stack: Stack, name: str) -> None:
    before = stack.child(name)
    assert before.pid is not None
    os.kill(before.pid, signal.SIGKILL)
    stack.until(lambda: stack.child(name).restarts > before.restarts and stack.child(name).state is State.READY)
    after = stack.child(name)
    assert after.pid != before.pid
    assert after.last_exit == -signal.SIGKILL
    assert after.port == before.port


def test_a_broker_that_lost_its_data_gets_topics_users_and_rules_again(stack: Stack) -> None:
    before, records = stack.child("kafka"), stack.home.root / "kafka" / "records"
    assert before.pid is not None
    os.kill(before.pid, signal.SIGKILL)
    records.rename(stack.folder / "lost")
    gateway = read_env_file(stack.home.credentials / "gateway.env")
    client = {
        "bootstrap.servers": gateway["GRACE_KAFKA_BOOTSTRAP"],
        "security.protocol": "SASL_PLAINTEXT",
        "sasl.mechanism": "SCRAM-SHA-256",
        "sasl.username": "gateway",
        "sasl.password": gateway["GRACE_KAFKA_PASSWORD"],
        "log_level": 0,
    }

    def visible() -> set[str]:
        try:
            return set(AdminClient(client).list_topics(timeout=2).topics)
        except KafkaException:
            return set()

    # What the gateway may read or write, and nothing else, is what it sees.
    stack.until(lambda: {"grace.task.v1", "grace.ledger.v1"} <= visible())
    assert "grace.signature.v1" not in visible()


def test_a_service_that_says_it_is_not_ready_is_shown_with_its_reason(stack: Stack) -> None:
    mark = stack.folder / "gateway" / "unready"
    stack.until(lambda: stack.child("gateway").state is State.READY)
    mark.touch()
    try:
        stack.until(lambda: stack.child("gateway").detail == "the cupboard is bare")
        assert stack.child("gateway").state is State.UNREADY
    finally:
        mark.unlink()
    stack.until(lambda: stack.child("gateway").state is State.READY)


def test_a_killed_supervisor_takes_its_children_along_and_the_next_one_begins_anew(stack: Stack) -> None:
    status = running_status(stack.home)
    assert status is not None
    processes = living(status)
    os.kill(status.pid, signal.SIGKILL)
    gone, alive = psutil.wait_procs(processes, PATIENCE_S)
    assert alive == []
    assert len(gone) == 5
    assert running_status(stack.home) is None
    assert stack.up().ready


def test_down_leaves_no_process_and_keeps_the_records(stack: Stack) -> None:
    stack.up()
    status = running_status(stack.home)
    assert status is not None
    family = psutil.Process(status.pid).children(recursive=True)
    password = (stack.home.credentials / "gateway.env").read_text()

    seen: list[StackStatus] = []
    assert down(stack.home, watch=seen.append)

    assert any(status.stopping for status in seen)
    assert [process for process in family if process.is_running()] == []
    assert (stack.folder / "gateway" / "stopped").exists()
    assert not down(stack.home)
    stack.up()
    assert (stack.home.credentials / "gateway.env").read_text() == password


def test_what_fails_before_a_service_starts_is_shown_and_tried_again(tmp_path: Path) -> None:
    stack = Stack(tmp_path)
    program = (sys.executable, FAKE)
    failing = ServicePlan("consensus", (*program, "serve", str(tmp_path)), (*program, "fail"), package="grace_absent")
    plan = StackPlan((failing,))

    def give_up(status: StackStatus) -> None:
        """End the wait as its time limit would, once the failure is shown."""
        child = next(child for child in status.children if child.name == "consensus")
        if "again in" in child.detail:
            raise CliError(sentences([child])[0], code=Exit.NOT_READY)

    try:
        with pytest.raises(CliError, match=r"consensus is preparing \(migrating tables: the reason is this"):
            up(stack.home, stack.environ, Silent(), plan, PATIENCE_S, give_up, tethered=True)
        assert "No module named 'grace_absent'" in (stack.home.logs / "supervisor.log").read_text()
    finally:
        down(stack.home)
        purge(stack.home)
    assert not stack.home.root.exists()


def test_a_folder_with_foreign_files_is_not_purged(tmp_path: Path) -> None:
    home = Home(tmp_path, tmp_path / "artifacts")
    (tmp_path / "thesis.txt").write_text("five years of work")
    with pytest.raises(CliError, match=r"thesis\.txt"):
        purge(home)
    assert (tmp_path / "thesis.txt").exists()


def test_what_the_tests_keep_of_a_failed_stack_goes_with_the_rest(tmp_path: Path) -> None:
    home = Home(tmp_path / "home", tmp_path / "home" / "artifacts")
    home.make()
    (home.root / "failed-tests").mkdir()
    purge(home)
    assert not home.root.exists()


START_TETHERED = """
import os
from pathlib import Path
from grace_cli.stack.home import find_home
from grace_cli.stack.lifecycle import up
from grace_cli.stack.progress import Silent

up(find_home(os.environ, Path.cwd()), os.environ, Silent(), tethered=True)
print("up", flush=True)
input()
"""


@pytest.mark.stack
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_tethered_stack_ends_with_the_process_that_started_it(number: signal.Signals, tmp_path: Path) -> None:
    stack = Stack(tmp_path)
    (tmp_path / "plan").write_text(stack.plan.to_json())
    environ = stack.environ | {"GRACE_PLAN": str(tmp_path / "plan")}
    with subprocess.Popen(
        [sys.executable, "-c", START_TETHERED], env=environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as starting:
        assert starting.stdout is not None
        assert starting.stdout.readline() == b"up\n"
        status = running_status(stack.home)
        assert status is not None
        starting.send_signal(number)
    stack.until(lambda: not living(status))
    purge(stack.home)
