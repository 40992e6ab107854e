"""A running stack as the commands see it: a state folder with keys and a status, and a gateway that answers."""

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from grace_cli.errors import CliError
from grace_cli.main import build_app
from grace_cli.stack.home import Home
from grace_cli.stack.status import ChildStatus, StackStatus, State, started_at
from typer.testing import CliRunner

from .fake_gateway import USERS, FakeGateway, serve


@dataclass(frozen=True)
class Outcome:
    """How one command ended: `error` when it cannot go on, else its exit code and what it printed."""

    code: int
    out: str
    error: CliError | None

    @property
    def json(self) -> dict:  # type: ignore[type-arg]
        return json.loads(self.out.splitlines()[-1])  # type: ignore[no-any-return]


@pytest.fixture
def gateway() -> Iterator[FakeGateway]:
    running = FakeGateway()
    stop = serve(running)
    yield running
    stop()


@pytest.fixture
def home(tmp_path: Path, gateway: FakeGateway) -> Home:
    """The state folder of a stack that runs: this process stands for its supervisor."""
    home = Home(tmp_path / ".grace", tmp_path / "cache")
    home.make()
    users = {user: {"role": role, "key": f"key-of-{user}"} for user, role in USERS.items()}
    (home.credentials / "api-keys.json").write_text(json.dumps(users))
    child = ChildStatus("gateway", State.READY)
    status = StackStatus(os.getpid(), started_at(os.getpid()) or 0.0, gateway.url, children=[child])
    home.status.write_text(json.dumps(status.as_json()))
    return home


Run = Callable[..., Outcome]


@pytest.fixture
def run(home: Home, tmp_path: Path) -> Run:
    """Run one `grace` command in that folder."""

    def run(*words: str, stdin: str | None = None, environ: dict[str, str] | None = None) -> Outcome:
        settings = {"GRACE_HOME": str(home.root), "COLUMNS": "160"} | (environ or {})
        result = CliRunner().invoke(build_app(), list(words), input=stdin, env=settings)
        if isinstance(result.exception, CliError):
            return Outcome(int(result.exception.code), result.output, result.exception)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return Outcome(result.exit_code, result.output, None)

    return run
