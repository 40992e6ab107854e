"""Run chaos and print what became of it: `make chaos`, with KILLS, ENTRIES, SEED and KEEP as make variables."""

import argparse
import asyncio
import os
import secrets
import subprocess
import sys
import time
from pathlib import Path

from tools.chaos.foreign import judges
from tools.chaos.run import run
from tools.chaos.stack import Stack, running


def main() -> int:
    parser = argparse.ArgumentParser(prog="make chaos", description=__doc__)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--entries", type=int, default=50_000, help="the load goes on until the log has so many")
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--pause", type=float, default=0.02, help="seconds between two transactions of the load")
    parser.add_argument("--keep", type=Path, default=None, help="a folder for the exported log")
    parser.add_argument("--home", default=None, help="a folder for Grace's state and logs, to be looked at afterwards")
    wanted = parser.parse_args()
    seed = secrets.randbelow(2**32) if wanted.seed is None else wanted.seed
    _say(f"seed {seed}: the same again with SEED={seed}")
    with running(wanted.home) as stack:
        _say(f"Grace runs in {stack.home.root}")
        report = asyncio.run(
            run(stack, seed=seed, kills=wanted.kills, entries=wanted.entries, pause_s=wanted.pause, say=_say)
        )
        folder = wanted.keep or stack.home.root.parent / "exported"
        _say(f"exporting {report.entries} entries")
        _grace(stack, "ledger", "export", str(folder))
        report.verdicts = [_grace(stack, "ledger", "verify", str(folder), "--log-key", str(report.log_keys[0]))]
        # Without the entries nothing vouches for older keys, so they are named.
        keys = [word for key in report.log_keys for word in ("--log-key", str(key))]
        report.verdicts += [_grace(stack, "ledger", "verify", "--database", "--tree-only", *keys)]
        report.verdicts += [judge(folder) for judge in judges()]
    print(report.text())
    print("nothing acknowledged was lost or doubled" if report.sound else "CHAOS FOUND A FAULT")
    return 0 if report.sound else 1


def _grace(stack: Stack, *arguments: str) -> str:
    """Run the CLI against the stack; return what it said, raise RuntimeError when it refuses."""
    done = subprocess.run(
        [Path(sys.executable).with_name("grace"), *arguments],
        env=dict(os.environ) | dict(stack.environ),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError(f"grace {' '.join(arguments)}: {done.stderr or done.stdout}")
    return f"grace {' '.join(arguments[:2])}: {' '.join(done.stdout.split())}"


def _say(line: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {line}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
