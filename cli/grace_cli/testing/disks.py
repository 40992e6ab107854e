"""Small disks that become full: file systems of their own, within a sandbox, for the program that runs there."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from grace_cli.stack.embedded import default_cache

_PIECE: Final = b"x" * 65536


def on_small_disks(
    program: Sequence[str], folders: Sequence[Path], size_bytes: int, cwd: Path | None = None
) -> dict[str, Any]:
    """Run a Python program where each of these folders is a file system of `size_bytes`; return the JSON it prints.

    program  arguments of the interpreter, such as `-m` and a module's name
    cwd      where it runs; None: here
    raises   AssertionError with the end of what it said when it fails
    """
    sandbox = ["bwrap", "--die-with-parent", "--dev-bind", "/", "/"]
    if os.geteuid() == 0:
        sandbox += ["--cap-add", "ALL"]  # PostgreSQL is run as another account then
    for folder in folders:
        sandbox += ["--size", str(size_bytes), "--perms", "0755", "--tmpfs", str(folder)]
    done = subprocess.run(
        [*sandbox, sys.executable, *program],
        cwd=cwd,
        env=dict(os.environ) | {"GRACE_CACHE": str(default_cache().folder)},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise AssertionError(done.stderr[-4000:])
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def fill(folder: Path) -> Path:
    """Leave not a byte on the folder's disk; return the file that took it."""
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as file:
        try:
            while file.write(_PIECE):
                pass
        except OSError:
            return filler
    raise AssertionError("a file cannot end by itself")
