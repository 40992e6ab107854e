"""One program to run as a child: its arguments, environment, account and the way it wishes to be stopped."""

import os
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from grace_cli.stack.accounts import Account

LIFELINE = Path(__file__).with_name("lifeline.py")
INHERITED = ("PATH", "HOME", "LANG", "TZ", "TMPDIR", "VIRTUAL_ENV", "SSL_CERT_FILE", "SSL_CERT_DIR")
INHERITED_PREFIXES = ("LC_", "PYTHON", "COVERAGE_", "COV_")


def base_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Return what any child may see of the caller's environment: where programs are, language, time zone; no secret."""
    return {name: value for name, value in environ.items() if name in INHERITED or name.startswith(INHERITED_PREFIXES)}


@dataclass(frozen=True, slots=True)
class Command:
    """A child to be.

    stop_signal  sent to stop it gracefully
    account      the user it runs as; None for the caller's own
    """

    argv: Sequence[str]
    env: Mapping[str, str] = field(repr=False)  # carries passwords
    cwd: Path
    stop_signal: signal.Signals = signal.SIGTERM
    account: Account | None = None

    def tethered(self) -> list[str]:
        """Return the arguments that run this program so that it dies with the calling process."""
        uid, gid = (-1, -1) if self.account is None else (self.account.uid, self.account.gid)
        numbers = (os.getpid(), int(self.stop_signal), uid, gid)
        return [sys.executable, "-I", "-S", str(LIFELINE), *map(str, numbers), *self.argv]

    def popen_arguments(self) -> dict[str, Any]:
        """Return Popen's keyword arguments that go with `tethered()`: environment, folder, a session of its own."""
        return {"env": dict(self.env), "cwd": self.cwd, "start_new_session": True}
