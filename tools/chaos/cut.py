"""Commands about keys, some of which are cut short: `kill -9` of everything that a command has started."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from grace_cli.stack.home import Home
from grace_common.contract.topics import AUDIT_LOG, CRYPTO_SIGNER

_LOOK_EVERY_S: Final = 0.001
_KEYS: Final = (".json", ".pem")  # how the names of key files end, or go on while one is a draft


@dataclass(frozen=True, slots=True)
class Cut:
    """Where a command is killed, if it has not ended by then.

    changes  of the key files that are seen before
    after_s  that it goes on after the last of them
    """

    changes: int
    after_s: float


@dataclass(frozen=True, slots=True)
class Given:
    """What became of a command.

    code    its exit code; None when it was cut short
    answer  the JSON object that it said, of an error as well
    """

    code: int | None
    answer: dict[str, Any]


def give(home: Home, environ: Mapping[str, str], words: Sequence[str], cut: Cut | None = None) -> Given:
    """Give a `grace` command and wait until it has ended, or end it.

    raises  RuntimeError when it says something else than a JSON object
    """
    process = subprocess.Popen(
        [sys.executable, "-m", "grace_cli.main", *words, "--json"],
        env=dict(environ),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,  # what it starts is of its group, and dies with it
    )
    if cut is not None:
        _wait(process, home, cut)
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    said, complaint = process.communicate()
    if process.returncode == -signal.SIGKILL:
        return Given(None, {})
    try:
        answer: dict[str, Any] = json.loads(said)
    except ValueError as error:
        raise RuntimeError(f"grace {' '.join(words)}: {process.returncode} {said} {complaint}") from error
    return Given(process.returncode, answer)


def _wait(process: "subprocess.Popen[str]", home: Home, cut: Cut) -> None:
    """Return when the command is to be killed, or has ended."""
    seen, left = _key_files(home), cut.changes
    while left and process.poll() is None:
        time.sleep(_LOOK_EVERY_S)
        before, seen = seen, _key_files(home)
        left -= seen != before
    deadline = time.monotonic() + cut.after_s
    while time.monotonic() < deadline and process.poll() is None:
        time.sleep(_LOOK_EVERY_S)


def _key_files(home: Home) -> set[tuple[str, int, int]]:
    """Return what changes with every step of a command that changes a key."""
    folders: list[Path] = [home.state(CRYPTO_SIGNER), home.state(AUDIT_LOG)]
    found = set()
    for folder in folders:
        for entry in os.scandir(folder):
            if any(ending in entry.name for ending in _KEYS):
                try:
                    stat = entry.stat()
                except FileNotFoundError:  # it went while this was looking
                    continue
                found.add((entry.name, stat.st_ino, stat.st_mtime_ns))
    return found
