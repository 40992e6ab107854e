"""What ends a command: an exit code, what was found, and what to do next."""

from enum import IntEnum


class Exit(IntEnum):
    """Exit codes of every `grace` command, documented in `grace --help` and docs/cli.md."""

    OK = 0
    FAILED = 1
    USAGE = 2
    NOT_RUNNING = 3
    NOT_READY = 4
    REFUSED = 5


class CliError(Exception):
    """A command cannot go on: `message` says what was found, `advice` what to do about it."""

    code: Exit = Exit.FAILED

    def __init__(self, message: str, advice: str = "", code: Exit | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.advice = advice
        if code is not None:
            self.code = code
