"""The commands as a user meets them: what they print, and their exit codes."""

import json
import os
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path

import pytest
from grace_cli.commands.stack import age, table
from grace_cli.errors import CliError, Exit
from grace_cli.main import show_error
from grace_cli.stack.home import find_home
from grace_cli.stack.plan import ServicePlan, StackPlan
from grace_cli.stack.status import ChildStatus, StackStatus, State
from grace_cli.testing.stack import Kafka, Postgres
from rich.console import Console


def grace(home: Path, *words: str, **settings: str) -> "subprocess.CompletedProcess[str]":
    cache = find_home(os.environ, Path.cwd()).cache
    environ = dict(os.environ) | {"GRACE_HOME": str(home), "GRACE_CACHE": str(cache)} | settings
    return subprocess.run(
        [sys.executable, "-m", "grace_cli.main", *words], env=environ, capture_output=True, text=True, check=False
    )


def test_help_tells_the_exit_codes(tmp_path: Path) -> None:
    done = grace(tmp_path, "--help", COLUMNS="200")
    assert done.returncode == Exit.OK
    assert "3 the stack is not running" in done.stdout


def test_the_commands_answer_without_loading_the_event_framework(tmp_path: Path) -> None:
    program = "import sys; from grace_cli.main import build_app; build_app(); print('faststream' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_status_without_a_stack_says_how_to_start_it(tmp_path: Path) -> None:
    done = grace(tmp_path, "status")
    assert done.returncode == Exit.NOT_RUNNING
    assert "grace up" in done.stderr
    as_json = grace(tmp_path, "status", "--json")
    assert as_json.returncode == Exit.NOT_RUNNING
    assert json.loads(as_json.stdout)["code"] == Exit.NOT_RUNNING


def test_down_without_a_stack_is_no_error(tmp_path: Path) -> None:
    done = grace(tmp_path, "down")
    assert (done.returncode, done.stdout.strip()) == (0, "Grace was not running.")
    assert json.loads(grace(tmp_path, "down", "--json").stdout) == {"stopped": False, "purged": False}


def test_an_unknown_command_is_wrong_usage(tmp_path: Path) -> None:
    assert grace(tmp_path, "fly").returncode == Exit.USAGE


def test_a_half_named_cluster_is_told_by_up(tmp_path: Path) -> None:
    done = grace(
        tmp_path / "home", "up", GRACE_KAFKA_BOOTSTRAP="nowhere", GRACE_DATABASE_URL="postgresql://a:b@127.0.0.1:1/x"
    )
    assert done.returncode == Exit.USAGE
    assert "GRACE_KAFKA_BOOTSTRAP is 'nowhere'" in done.stderr


def test_a_stack_on_existing_servers_goes_up_and_down_by_command(
    tmp_path: Path, kafka: Kafka, postgres: Postgres
) -> None:
    fake = (sys.executable, str(Path(__file__).with_name("stack") / "fake_service.py"))
    program = (*fake, "serve", str(tmp_path / "gateway"))
    plan = StackPlan((ServicePlan("gateway", program, (*fake, "migrate", str(tmp_path / "gateway"))),))
    (tmp_path / "plan.json").write_text(plan.to_json())
    home = tmp_path / "home"
    settings = {
        "GRACE_PLAN": str(tmp_path / "plan.json"),
        "GRACE_KAFKA_BOOTSTRAP": kafka.bootstrap,
        "GRACE_KAFKA_ADMIN_USERNAME": kafka.admin_username,
        "GRACE_KAFKA_ADMIN_PASSWORD": kafka.admin_password,
        "GRACE_DATABASE_URL": postgres.url(),
    }
    try:
        first = grace(home, "up", **settings)
        assert first.returncode == Exit.OK, first.stderr
        assert "Grace is running." in first.stdout
        assert str(home / "credentials") in first.stdout
        assert "gateway is ready" in first.stderr
        assert "Grace was running already." in grace(home, "up", **settings).stdout
        shown = json.loads(grace(home, "status", "--json").stdout)
        assert [(child["name"], child["state"]) for child in shown["children"]] == [
            ("kafka", "ready"),
            ("postgres", "ready"),
            ("gateway", "ready"),
        ]
        assert shown["children"][0]["pid"] is None
        assert "gateway" in grace(home, "status").stdout
        assert grace(home, "up", "--foreground", **settings).returncode == Exit.REFUSED
    finally:
        stopped = grace(home, "down", "--purge")
    assert "no process is left" in stopped.stdout
    assert not home.exists()


def test_an_interrupted_up_says_that_grace_goes_on_starting(tmp_path: Path, kafka: Kafka, postgres: Postgres) -> None:
    fake = (sys.executable, str(Path(__file__).with_name("stack") / "fake_service.py"))
    plan = StackPlan((ServicePlan("gateway", (*fake, "fail"), (*fake, "fail")),))
    (tmp_path / "plan.json").write_text(plan.to_json())
    environ = dict(os.environ) | {
        "GRACE_HOME": str(tmp_path / "home"),
        "GRACE_PLAN": str(tmp_path / "plan.json"),
        "GRACE_KAFKA_BOOTSTRAP": kafka.bootstrap,
        "GRACE_KAFKA_ADMIN_USERNAME": kafka.admin_username,
        "GRACE_KAFKA_ADMIN_PASSWORD": kafka.admin_password,
        "GRACE_DATABASE_URL": postgres.url(),
    }
    command = [sys.executable, "-m", "grace_cli.main", "up"]
    try:
        with subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as up:
            assert up.stderr is not None
            while "the reason is this" not in up.stderr.readline():
                assert up.poll() is None
            up.send_signal(signal.SIGINT)
            rest = up.stderr.read()
        assert "Grace goes on starting in the background" in rest
        assert up.returncode == 130
        assert grace(tmp_path / "home", "status").returncode == Exit.NOT_READY
    finally:
        grace(tmp_path / "home", "down", "--purge")


def test_a_file_that_is_no_plan_is_wrong_usage(tmp_path: Path) -> None:
    (tmp_path / "plan.json").write_text('{"services": []}')
    done = grace(tmp_path / "home", "up", GRACE_PLAN=str(tmp_path / "plan.json"))
    assert done.returncode == Exit.USAGE
    assert "is no plan" in done.stderr


NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


def tabled(child: ChildStatus) -> str:
    console = Console(width=200, file=StringIO())
    with console.capture() as shown:
        console.print(table(StackStatus(1, 1.0, children=[child]), NOW))
    return shown.get()


def test_a_table_shows_each_process_with_its_troubles() -> None:
    since = "2026-11-23T11:55:00+00:00"
    child = ChildStatus("consensus", State.RESTARTING, None, None, 8421, 4, -9, since, "it was ended by SIGKILL")
    for word in ("consensus", "restarting", "5 min", "8421", "4", "-9", "it was ended by SIGKILL"):
        assert word in tabled(child)


def test_a_table_has_no_columns_for_troubles_that_nobody_has() -> None:
    shown = tabled(ChildStatus("consensus", State.READY, 77, 1.0, 8421))
    assert shown.splitlines()[0].split() == ["process", "state", "for", "pid", "port"]


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(-1, "0 s"), (119, "119 s"), (120, "2 min"), (7_199, "119 min"), (7_200, "2 h"), (172_800, "2 d")],
)
def test_an_age_is_told_in_the_largest_unit_that_fits_twice(seconds: int, shown: str) -> None:
    assert age((NOW - timedelta(seconds=seconds)).isoformat(), NOW) == shown
    assert age("", NOW) == ""


def test_an_error_is_shown_with_its_advice(capsys: pytest.CaptureFixture[str]) -> None:
    show_error(CliError("the cup is empty", "fill it"), as_json=False)
    assert capsys.readouterr().err.splitlines() == ["grace: the cup is empty", "       fill it"]
