"""A server process under the control of the calling thread, with which it dies."""

import os
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

from grace_cli.errors import CliError, Exit
from grace_cli.stack.command import Command

START_TIMEOUT_S: Final = 90.0
STOP_TIMEOUT_S: Final = 30.0
POLL_S: Final = 0.05


class Child:
    """A server process that can be stopped, killed and started again on the same data and port."""

    def __init__(self, name: str, command: Callable[[], Command], answers: Callable[[], bool], log: Path) -> None:
        self._name = name
        self._command = command
        self._answers = answers
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The running process's id; CliError when it does not run."""
        if self._process is None:
            raise CliError(f"{self._name} does not run", code=Exit.NOT_RUNNING)
        return self._process.pid

    def start(self) -> None:
        """Start the process and wait until it answers.

        raises  CliError when it ends before it answers, or does not answer in time; the log's end is in the message
        """
        command = self._command()
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                command.tethered(), stdout=log, stderr=subprocess.STDOUT, **command.popen_arguments()
            )
        deadline = time.monotonic() + START_TIMEOUT_S
        while not self._answers():
            code = self._process.poll()
            if code is not None or time.monotonic() > deadline:
                self.kill()
                ended = f"ended with code {code}" if code is not None else f"did not answer in {START_TIMEOUT_S:.0f} s"
                raise CliError(f"{self._name} {ended}; its log ends:\n{last_lines(self._log)}", code=Exit.NOT_READY)
            time.sleep(POLL_S)

    def stop(self, timeout_s: float = STOP_TIMEOUT_S) -> None:
        """End the process gracefully, by force when the time is over; nothing happens when it does not run."""
        if self._process is None:
            return
        self._process.send_signal(self._command().stop_signal)
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.kill()
        self._process = None

    def kill(self) -> None:
        """End the process and its children as a crash would: SIGKILL, nothing flushed."""
        if self._process is None:
            return
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._process = None


def last_lines(path: Path, count: int = 15) -> str:
    """Return the last lines of a log file, empty when there is none."""
    if not path.exists():
        return ""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 8192))
        return "\n".join(file.read().decode(errors="replace").splitlines()[-count:])
