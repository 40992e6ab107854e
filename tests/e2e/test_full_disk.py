"""A whole Grace whose disk becomes full: it refuses and says why, loses nothing, and goes on by itself when it may."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from grace_cli.testing.stack import default_cache

pytestmark = pytest.mark.stack
ROOT = Path(__file__).parents[2]
SMALL_BYTES = 400 * 1024 * 1024


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that PostgreSQL's account may pass through, unlike pytest's."""
    with TemporaryDirectory(prefix="grace-disk-") as made:
        Path(made).chmod(0o755)
        yield Path(made)


def on_small_disks(kind: str, folder: Path) -> dict[str, Any]:
    """Run the scenario of small_disks.py where each server has a file system of SMALL_BYTES for itself."""
    sandbox = ["bwrap", "--die-with-parent", "--dev-bind", "/", "/"]
    if os.geteuid() == 0:
        sandbox += ["--cap-add", "ALL"]  # PostgreSQL is run as another account then
    for name in ("server", "kafka"):
        disk = folder / "home" / name
        disk.mkdir(parents=True)
        sandbox += ["--size", str(SMALL_BYTES), "--perms", "0755", "--tmpfs", str(disk)]
    done = subprocess.run(
        [*sandbox, sys.executable, "-m", "tests.e2e.small_disks", kind, str(folder)],
        cwd=ROOT,
        env=dict(os.environ) | {"GRACE_CACHE": str(default_cache().folder)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.mark.parametrize(
    ("kind", "full", "refusal"),
    [("postgres", "PostgreSQL", "the database does not answer"), ("kafka", "Kafka", "Kafka")],
)
def test_it_refuses_while_a_disk_is_full_and_recovers_without_hands(
    kind: str, full: str, refusal: str, folder: Path
) -> None:
    happened = on_small_disks(kind, folder)

    assert full in happened["said"]
    assert refusal in happened["refusal"]
    assert happened["acknowledged"] > 0
    assert (happened["lost"], happened["doubled"], happened["violations"]) == (0, 0, [])
