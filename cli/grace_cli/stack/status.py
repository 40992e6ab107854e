"""What the supervisor says about its children: `status.json`, written as a whole at each change."""

import asyncio
import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

import psutil

from grace_cli.errors import CliError
from grace_cli.stack.home import write_whole


class State(StrEnum):
    """What a child is doing."""

    WAITING = "waiting"  # for what it needs
    PREPARING = "preparing"  # first-time work, migrations, certificates
    STARTING = "starting"  # runs, not ready yet
    READY = "ready"
    UNREADY = "unready"  # was ready, says now that it is not
    RESTARTING = "restarting"  # died, waits for its next start
    STOPPED = "stopped"


@dataclass(slots=True)
class ChildStatus:
    """One child.

    started    the process's creation time by the kernel's clock, seconds since 1970; with the pid it names one process
    last_exit  exit code of its last end, negative for a signal; None when it never ended
    detail     why it is in this state, for people
    """

    name: str
    state: State = State.WAITING
    pid: int | None = None
    started: float | None = None
    port: int | None = None
    restarts: int = 0
    last_exit: int | None = None
    since: str = ""
    detail: str = ""


@dataclass(slots=True)
class StackStatus:
    """The whole stack.

    pid, started  the supervisor's process, as in ChildStatus
    notes         lines worth telling whoever starts the stack
    """

    pid: int
    started: float
    url: str = ""
    stopping: bool = False
    notes: list[str] = field(default_factory=list)
    children: list[ChildStatus] = field(default_factory=list)

    @property
    def ready(self) -> bool:
        return bool(self.children) and not self.stopping and all(c.state is State.READY for c in self.children)

    def as_json(self) -> dict[str, Any]:
        """Return plain data: what `grace status --json` prints."""
        return asdict(self) | {"ready": self.ready}


ROOM_BYTES: Final = 16 * 1024  # the file has them from the beginning, so that writing over it needs no others


class Board:
    """The supervisor's view of the stack, which is on disk after each change."""

    def __init__(self, path: Path, status: StackStatus, log: Callable[[str], None]) -> None:
        self.status = status
        self._path = path
        self._log = log
        self._ready: dict[str, asyncio.Event] = {}
        self._lost: dict[str, asyncio.Event] = {}

    def child(self, name: str) -> ChildStatus:
        """Return a child's entry, made at the first call."""
        for child in self.status.children:
            if child.name == name:
                return child
        child = ChildStatus(name)
        self.status.children.append(child)
        return child

    def ready(self, name: str) -> asyncio.Event:
        """Return an event that is set while the child is ready."""
        return self._ready.setdefault(name, asyncio.Event())

    def lost(self, name: str) -> asyncio.Event:
        """Return an event that is set when the child is ready no more; whoever waits for it clears it."""
        return self._lost.setdefault(name, asyncio.Event())

    def change(self, child: ChildStatus, state: State, detail: str = "") -> None:
        """Enter a state; nothing is written when nothing changed."""
        if (child.state, child.detail) == (state, detail) and child.since:
            return
        if child.state is not state or not child.since:
            child.since = datetime.now(UTC).isoformat(timespec="seconds")
            self._log(f"{child.name}: {state}{': ' + detail if detail else ''}")
        if child.state is State.READY and state is not State.READY:
            self.lost(child.name).set()
        child.state, child.detail = state, detail
        if state is State.READY:
            self.ready(child.name).set()
        else:
            self.ready(child.name).clear()
        self.write()

    def note(self, line: str) -> None:
        """Add a line for whoever starts the stack."""
        self.status.notes.append(line)
        self._log(line)
        self.write()

    def write(self) -> None:
        """Write the file; on a full disk, which it must tell of, over what stands there."""
        content = json.dumps(self.status.as_json(), indent=2).ljust(ROOM_BYTES - 1) + "\n"
        try:
            write_whole(self._path, content, durable=False)
        except CliError as error:
            self._log(error.message)
            with suppress(OSError), self._path.open("r+") as file:
                file.write(content)


def read_status(path: Path) -> StackStatus | None:
    """Return what the file says, None when there is none or it is torn; `process_of` tells if it still holds."""
    try:
        content = json.loads(path.read_text())
        children = [ChildStatus(**{**child, "state": State(child["state"])}) for child in content.pop("children")]
        content.pop("ready")
        return StackStatus(**content, children=children)
    except (FileNotFoundError, ValueError, TypeError, KeyError):
        return None


def process_of(pid: int | None, started: float | None) -> psutil.Process | None:
    """Return the living process that has this id and began at this time; None when it ended, or its id was reused."""
    if pid is None or started is None:
        return None
    try:
        process = psutil.Process(pid)
        if abs(process.create_time() - started) < 0.05 and process.status() != psutil.STATUS_ZOMBIE:
            return process
    except psutil.NoSuchProcess:
        return None
    return None


def started_at(pid: int) -> float | None:
    """Return a process's creation time, None when it is gone already."""
    try:
        return psutil.Process(pid).create_time()
    except psutil.NoSuchProcess:
        return None
