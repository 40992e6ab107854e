"""A whole Grace whose disk becomes full: it refuses and says why, loses nothing, and goes on by itself when it may."""

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from grace_cli.testing.disks import on_small_disks

pytestmark = pytest.mark.stack
ROOT = Path(__file__).parents[2]
SMALL_BYTES = 400 * 1024 * 1024


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that PostgreSQL's account may pass through, unlike pytest's."""
    with TemporaryDirectory(prefix="grace-disk-") as made:
        Path(made).chmod(0o755)
        yield Path(made)


@pytest.mark.parametrize(
    ("kind", "full", "refusal"),
    [("postgres", "PostgreSQL", "the database does not answer"), ("kafka", "Kafka", "Kafka")],
)
def test_it_refuses_while_a_disk_is_full_and_recovers_without_hands(
    kind: str, full: str, refusal: str, folder: Path
) -> None:
    disks = [folder / "home" / name for name in ("server", "kafka")]
    for disk in disks:
        disk.mkdir(parents=True)

    happened = on_small_disks(["-m", "tests.e2e.small_disks", kind, str(folder)], disks, SMALL_BYTES, ROOT)

    assert full in happened["said"]
    assert refusal in happened["refusal"]
    assert happened["acknowledged"] > 0
    assert (happened["lost"], happened["doubled"], happened["violations"]) == (0, 0, [])
