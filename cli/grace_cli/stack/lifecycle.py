"""Starting and stopping the stack from the outside: what `grace up`, `grace down` and tests call."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NoReturn

import psutil

from grace_cli.errors import CliError, Exit
from grace_cli.stack.artifacts import ArtifactCache
from grace_cli.stack.child import last_lines
from grace_cli.stack.command import Command
from grace_cli.stack.home import Home, write_secret
from grace_cli.stack.kafka_programs import kafka_programs
from grace_cli.stack.plan import StackPlan, default_plan
from grace_cli.stack.postgres import postgres_programs
from grace_cli.stack.progress import MIB, Reporter
from grace_cli.stack.servers import existing_kafka, existing_postgres
from grace_cli.stack.status import StackStatus, State, process_of, read_status
from grace_cli.stack.supervisor import end_leftovers
from grace_cli.stack.watch import sentences

UP_TIMEOUT_S: Final = 180.0
DOWN_TIMEOUT_S: Final = 90.0
POLL_S: Final = 0.1
SUPERVISOR: Final = [sys.executable, "-m", "grace_cli.stack.supervisor"]
LEAST_FREE_BYTES: Final = 512 * MIB

# What a state folder contains; anything else in it means that it is not one.
FAILED_TESTS: Final = "failed-tests"  # where the tests keep the logs of a stack with which one of them failed
OWN_FOLDERS: Final = ("artifacts", "credentials", FAILED_TESTS, "identity", "kafka", "log", "logs", "server", "state")
OWN_FILES: Final = ("plan.json", "ports.json", "status.json", "supervisor.lock")


@dataclass(frozen=True, slots=True)
class Started:
    """The outcome of `up`; `already` when the stack was running before."""

    status: StackStatus
    already: bool


def running_status(home: Home) -> StackStatus | None:
    """Return the status of the running stack, None when none runs."""
    status = read_status(home.status)
    return status if status is not None and process_of(status.pid, status.started) is not None else None


def up(
    home: Home,
    environ: Mapping[str, str],
    reporter: Reporter,
    plan: StackPlan | None = None,
    timeout_s: float = UP_TIMEOUT_S,
    watch: Callable[[StackStatus], None] | None = None,
    *,
    tethered: bool = False,
) -> Started:
    """Start the stack in the background, or join one that is starting, and wait until every child is ready.

    plan      what to run; when not given, what GRACE_PLAN names or else what is installed
    watch     called with each new status while waiting
    tethered  whether a stack that is started here ends with the calling thread, however that ends
    raises    CliError when something needed is missing, the supervisor ends, or the time is over (the stack goes on)
    """
    already = running_status(home)
    process = None
    if already is None:
        prepare(home, environ, reporter, plan)
        process = start_supervisor(home, environ, tethered=tethered)
    status = wait_until_ready(home, process, timeout_s, watch)
    return Started(status, already is not None and already.ready)


def start_in_foreground(
    home: Home, environ: Mapping[str, str], reporter: Reporter, plan: StackPlan | None = None
) -> NoReturn:
    """Become the supervisor: this process runs the stack until SIGINT or SIGTERM.

    raises  CliError when the stack runs already or something needed is missing
    """
    if running_status(home) is not None:
        raise CliError("Grace is running already", "stop it first: grace down", Exit.REFUSED)
    prepare(home, environ, reporter, plan)
    os.chdir(home.root)
    os.execve(sys.executable, SUPERVISOR, supervisor_environment(home, environ))


def prepare(home: Home, environ: Mapping[str, str], reporter: Reporter, plan: StackPlan | None) -> None:
    """Make the folders, fetch the programs and write the plan; raises as `up` does."""
    plan = plan or plan_of(home, environ)
    home.make()
    check_space(home.root)
    fetch(home, environ, reporter)
    write_secret(home.plan, plan.to_json())


def plan_of(home: Home, environ: Mapping[str, str]) -> StackPlan:
    """Return the plan in the file that GRACE_PLAN names, else the one for what is installed.

    raises  CliError when that file is no plan
    """
    if not (named := environ.get("GRACE_PLAN")):
        return default_plan(home)
    try:
        return StackPlan.from_json(Path(named).read_text())
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CliError(
            f"{named} is no plan: {type(error).__name__}: {error}",
            f"unset GRACE_PLAN; what a plan looks like is in {home.plan} after `grace up`",
            Exit.USAGE,
        ) from error


def supervisor_environment(home: Home, environ: Mapping[str, str]) -> dict[str, str]:
    """Return the caller's environment with the folders made explicit."""
    return dict(environ) | {"GRACE_HOME": str(home.root), "GRACE_CACHE": str(home.cache)}


def fetch(home: Home, environ: Mapping[str, str], reporter: Reporter) -> None:
    """Bring the programs of the local servers, with progress; check what is said of servers that exist elsewhere.

    raises  CliError when something cannot be had, or a setting makes no sense
    """
    cache = ArtifactCache(home.cache, reporter)
    if bootstrap := environ.get("GRACE_KAFKA_BOOTSTRAP"):
        existing_kafka(bootstrap, environ)
    else:
        kafka_programs(cache)
    if url := environ.get("GRACE_DATABASE_URL"):
        existing_postgres(url)
    else:
        postgres_programs(cache)


def check_space(folder: Path, least: int = LEAST_FREE_BYTES) -> None:
    """Raise CliError when there is too little space to begin; a broker that fills the disk at work is worse."""
    free = shutil.disk_usage(folder).free
    if free < least:
        raise CliError(
            f"only {free // MIB} MiB are free at {folder}, {least // MIB} MiB are needed",
            "free some space, or name a folder on another disk in GRACE_HOME",
        )


def start_supervisor(home: Home, environ: Mapping[str, str], *, tethered: bool = False) -> "subprocess.Popen[bytes]":
    """Start the background process in a session of its own, so that closing the terminal does not end it."""
    command = Command(SUPERVISOR, supervisor_environment(home, environ), home.root)
    with (home.logs / "supervisor.out").open("wb") as out:
        return subprocess.Popen(
            command.tethered() if tethered else SUPERVISOR,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            **command.popen_arguments(),
        )


def wait_until_ready(
    home: Home,
    process: "subprocess.Popen[bytes] | None",
    timeout_s: float,
    watch: Callable[[StackStatus], None] | None,
) -> StackStatus:
    """Wait until the running stack is ready, and return its status; raises as `up` does."""
    deadline = time.monotonic() + timeout_s
    while True:
        status = running_status(home)
        if status is not None:
            if watch is not None:
                watch(status)
            if status.ready:
                return status
        elif process is None or process.poll() is not None:
            # A second `up` at the same moment may own the stack: then this supervisor ended, and the other's appears.
            time.sleep(POLL_S)
            if running_status(home) is None:
                said = last_lines(home.logs / "supervisor.out") or last_lines(home.logs / "supervisor.log")
                raise CliError(f"the supervisor ended:\n{said}", f"look into {home.logs}")
            process = None
        if time.monotonic() > deadline:
            raise CliError(
                f"not ready after {timeout_s:.0f} s: {waiting_for(status)}",
                f"it goes on starting; see `grace status` and the logs in {home.logs}",
                Exit.NOT_READY,
            )
        time.sleep(POLL_S)


def waiting_for(status: StackStatus | None) -> str:
    """Name the children that are not ready, and why."""
    if status is None:
        return "the supervisor has not begun"
    return "; ".join(sentences(child for child in status.children if child.state is not State.READY))


def living(status: StackStatus) -> list[psutil.Process]:
    """Return the processes named in a status that still live."""
    named = [(status.pid, status.started), *((child.pid, child.started) for child in status.children)]
    return [process for pid, started in named if (process := process_of(pid, started)) is not None]


def down(home: Home, timeout_s: float = DOWN_TIMEOUT_S, watch: Callable[[StackStatus], None] | None = None) -> bool:
    """Stop the stack and wait until no process of it is left; False when none ran.

    watch   called with the status again and again while waiting
    raises  CliError when something could not be ended
    """
    status = read_status(home.status)
    if status is None:
        return False
    supervisor = process_of(status.pid, status.started)
    if supervisor is not None:
        family = supervisor.children(recursive=True)
        supervisor.send_signal(signal.SIGTERM)
        alive, deadline = [supervisor], time.monotonic() + timeout_s
        while alive and time.monotonic() < deadline:
            if watch is not None and (now := read_status(home.status)) is not None:
                watch(now)
            _, alive = psutil.wait_procs(alive, POLL_S)
        for process in alive:
            process.kill()  # its children follow by themselves (lifeline.py)
        psutil.wait_procs([*alive, *family], POLL_S * 50)
    end_leftovers(status)
    left = living(status)
    if left:
        raise CliError(f"these processes could not be ended: {', '.join(str(process.pid) for process in left)}")
    home.status.unlink(missing_ok=True)
    return supervisor is not None


def purge(home: Home) -> None:
    """Remove all state, programs and records included; the stack must be down.

    raises  CliError when it runs, or the folder is not one that Grace made
    """
    if running_status(home) is not None:
        raise CliError("the stack is running", "run `grace down` first")
    if not home.root.exists():
        return
    strangers = {entry.name for entry in home.root.iterdir()} - {*OWN_FOLDERS, *OWN_FILES}
    if strangers:
        raise CliError(
            f"{home.root} holds what Grace did not put there: {', '.join(sorted(strangers))}",
            "is GRACE_HOME right? Then remove the folder by hand",
            Exit.REFUSED,
        )
    for link in (home.root / "server", home.root / "artifacts" / "server"):
        if link.is_symlink():
            shutil.rmtree(link.resolve(), ignore_errors=True)
    shutil.rmtree(home.root)
