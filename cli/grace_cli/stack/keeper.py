"""Keeping one child alive: start it, watch it, log what it says, start it again when it dies."""

import asyncio
import json
import os
import signal
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

from grace_cli.errors import CliError
from grace_cli.stack.backoff import Backoff
from grace_cli.stack.command import Command
from grace_cli.stack.logs import RotatingLog
from grace_cli.stack.ports import LOOPBACK
from grace_cli.stack.status import Board, ChildStatus, State, started_at

POLL_STARTING_S: Final = 0.2
POLL_RUNNING_S: Final = 2.0
UNHEALTHY_POLLS: Final = 15  # that many failing health checks in a row, half a minute, and the child is started anew
CHECK_TIMEOUT_S: Final = 5.0
LARGEST_ANSWER: Final = 16_384
LONGEST_DETAIL: Final = 300


class Unfit(Exception):
    """A check failed; the text says how.

    alive   false when the child cannot recover by itself
    silent  true when nothing answered at all, which is no news of a child that starts
    """

    def __init__(self, detail: str, alive: bool = True, silent: bool = False) -> None:
        super().__init__(detail)
        self.alive = alive
        self.silent = silent


Check = Callable[[], Awaitable[None]]


async def http_check(port: int) -> None:
    """Ask a service whether it is ready.

    raises  Unfit with the answer's text; `alive` is false when its `/health` fails as well
    """
    code, body = await _get(port, "/ready")
    if code == 200:
        return
    healthy, _ = await _get(port, "/health") if code else (0, "")
    raise Unfit(what_is_missing(body) or f"/ready answers {code}", alive=healthy == 200, silent=code == 0)


async def _get(port: int, path: str) -> tuple[int, str]:
    """Return status (0: no answer) and the text of the body, or what went wrong, of an HTTP GET on loopback."""
    try:
        async with asyncio.timeout(CHECK_TIMEOUT_S):
            reader, writer = await asyncio.open_connection(LOOPBACK, port)
            try:
                writer.write(f"GET {path} HTTP/1.0\r\nHost: {LOOPBACK}\r\nConnection: close\r\n\r\n".encode())
                answer = b""
                while len(answer) < LARGEST_ANSWER and (chunk := await reader.read(4096)):
                    answer += chunk
            finally:
                writer.close()
    except (OSError, TimeoutError) as error:
        return 0, f"{path} does not answer: {type(error).__name__}"
    head, _, body = answer.partition(b"\r\n\r\n")
    words = head.split(maxsplit=2)
    code = int(words[1]) if len(words) > 1 and words[1].isdigit() else 0
    if b"transfer-encoding: chunked" in head.lower():
        body = dechunked(body)
    return code, " ".join(body.decode(errors="replace").split())


def what_is_missing(answer: str) -> str:
    """Return a service's answer to `/ready` in words: `database: connection refused`; any other answer as it is."""
    try:
        parts = json.loads(answer)["components"].items()
    except (ValueError, TypeError, KeyError, AttributeError):
        return answer[:LONGEST_DETAIL]
    return "; ".join(f"{name}: {why}" for name, why in parts if why != "ready")[:LONGEST_DETAIL]


def dechunked(body: bytes) -> bytes:
    """Return the content of a chunked HTTP body, as far as it arrived; some servers chunk even for HTTP/1.0."""
    content = b""
    while body:
        size, _, rest = body.partition(b"\r\n")
        try:
            length = int(size.split(b";")[0], 16)
        except ValueError:
            return content
        content += rest[:length]
        body = rest[length + 2 :]
    return content


class Launcher:
    """Starts programs that say what they have to say into one log.

    pids  of the processes started here that have not been waited for
    """

    def __init__(self, log: RotatingLog) -> None:
        self.log = log
        self.pids: set[int] = set()

    async def run_once(self, command: Command) -> None:
        """Run a command to its end: migrations, preparations.

        raises  CliError with its last line when it fails; the whole is in the log
        """
        process = await self.spawn(command)
        assert process.stdout is not None
        last = b""
        try:
            while chunk := await process.stdout.read(65536):
                self.log.write(chunk)
                last = (last + chunk)[-2000:]
            code = await process.wait()
        finally:
            kill_group(process.pid)  # also when this task is cancelled
            self.pids.discard(process.pid)
        if code != 0:
            lines = last.decode(errors="replace").strip().splitlines()
            raise CliError(f"{lines[-1] if lines else 'it said nothing'} (exit code {code}, see {self.log.path})")

    async def spawn(self, command: Command) -> asyncio.subprocess.Process:
        process = await asyncio.create_subprocess_exec(
            *command.tethered(),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            **command.popen_arguments(),
        )
        self.pids.add(process.pid)
        return process


class Keeper(Launcher):
    """One child: `keep` runs until `stop`.

    command   makes the command for the next start; may take long, may raise CliError, which is a failed start
    check     returns when the child is ready, raises Unfit when not
    stop_s    how long it may take to stop before it is killed
    """

    def __init__(
        self,
        status: ChildStatus,
        board: Board,
        log: RotatingLog,
        command: Callable[[], Awaitable[Command]],
        check: Callable[[ChildStatus], Awaitable[None]],
        backoff: Backoff,
        stop_s: float,
    ) -> None:
        super().__init__(log)
        self.status = status
        self._board = board
        self._command = command
        self._check = check
        self._backoff = backoff
        self._stop_s = stop_s
        self._stopping = asyncio.Event()

    async def keep(self, before: Awaitable[None] | None = None) -> None:
        """Run the child again and again until `stop`; `before` is what must be done before its first start."""
        if before is not None:
            await self._unless_stopped(before)
        loop = asyncio.get_running_loop()
        while not self._stopping.is_set():
            began = loop.time()
            detail = await self._live_once()
            if self._stopping.is_set():
                break
            wait = self._backoff.after(loop.time() - began)
            self.status.restarts += 1
            self._board.change(self.status, State.RESTARTING, f"{detail}; next start in {wait:.0f} s")
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), wait)
        self._board.change(self.status, State.STOPPED)

    def stop(self) -> None:
        """Let the child stop and not start again; `keep` returns when it has."""
        self._stopping.set()

    async def _unless_stopped(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        stop = asyncio.create_task(self._stopping.wait())
        await asyncio.wait((task, stop), return_when=asyncio.FIRST_COMPLETED)
        stop.cancel()
        if task.done():
            task.result()
        else:
            task.cancel()
            await asyncio.wait((task,))

    async def _live_once(self) -> str:
        """Run the child from start to end; return how it ended."""
        try:
            command = await self._command()
            process = await self.spawn(command)
        except (CliError, OSError) as error:
            return str(error)
        self.status.pid, self.status.started = process.pid, started_at(process.pid)
        self._board.change(self.status, State.STARTING)
        pump = asyncio.create_task(self._pump(process))
        watch = asyncio.create_task(self._watch())
        stop = asyncio.create_task(self._stopping.wait())
        end = asyncio.create_task(process.wait())
        try:
            await asyncio.wait((watch, stop, end), return_when=asyncio.FIRST_COMPLETED)
            unhealthy = watch.done() and not end.done()
            watch.cancel()  # what it would say of a child that is told to stop is no news
            if not end.done():
                await self._end(process, command.stop_signal)
            code = await end
        finally:
            for task in (watch, stop, end, pump):
                task.cancel()
            kill_group(process.pid)
            self.pids.discard(process.pid)
        self.status.last_exit, self.status.pid, self.status.started = code, None, None
        return f"it stopped being healthy: {watch.result()}" if unhealthy else ending(code)

    async def _pump(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        while chunk := await process.stdout.read(65536):
            self.log.write(chunk)

    async def _watch(self) -> str:
        """Check the child for ever; return how it is unfit when it cannot recover by itself."""
        ailing = 0
        once_ready = False
        while True:
            try:
                await self._check(self.status)
            except Unfit as unfit:
                ailing = 0 if unfit.alive or not once_ready else ailing + 1
                if once_ready:
                    self._board.change(self.status, State.UNREADY, str(unfit))
                else:
                    self._board.change(self.status, State.STARTING, "" if unfit.silent else str(unfit))
                if ailing >= UNHEALTHY_POLLS:
                    return str(unfit)
            else:
                ailing = 0
                once_ready = True
                self._board.change(self.status, State.READY)
            await asyncio.sleep(POLL_RUNNING_S if once_ready else POLL_STARTING_S)

    async def _end(self, process: asyncio.subprocess.Process, gracefully: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            process.send_signal(gracefully)
            try:
                await asyncio.wait_for(process.wait(), self._stop_s)
            except TimeoutError:
                process.kill()


def kill_group(pid: int) -> None:
    """Kill what a dead child left behind in its process group; each child leads a group of its own."""
    with suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)


def ending(code: int) -> str:
    """Say how a process ended: `ended with code 3`, `was ended by SIGKILL`."""
    if code >= 0:
        return f"it ended with code {code}"
    try:
        return f"it was ended by {signal.Signals(-code).name}"
    except ValueError:
        return f"it was ended by signal {-code}"


def log_of(folder: Path, name: str) -> RotatingLog:
    """Return a child's log."""
    return RotatingLog(folder / f"{name}.log")
