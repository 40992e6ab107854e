"""Real servers on a real disk that becomes full: they say so, lose nothing, and go on when there is space."""

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from grace_cli.errors import CliError
from grace_cli.stack.disk import require_room
from grace_cli.testing.disks import on_small_disks

pytestmark = pytest.mark.stack
SCENARIOS = Path(__file__).with_name("small_disk.py")
SMALL_BYTES = 160 * 1024 * 1024


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that PostgreSQL's account may pass through, unlike pytest's."""
    with TemporaryDirectory(prefix="grace-disk-") as made:
        yield Path(made)


def on_a_small_disk(kind: str, folder: Path) -> dict[str, Any]:
    """Run a scenario of small_disk.py where `folder` is a small disk."""
    return on_small_disks([str(SCENARIOS), kind, str(folder)], [folder], SMALL_BYTES)


@pytest.mark.parametrize(("kind", "names"), [("postgres", "PostgreSQL"), ("kafka", "Kafka")])
def test_a_server_whose_disk_is_full_says_so_and_goes_on_when_there_is_space(
    kind: str, names: str, folder: Path
) -> None:
    happened = on_a_small_disk(kind, folder)

    assert names in happened["said"]
    assert "free some space" in happened["said"]
    assert (happened["kept"], happened["after"]) == (["before"], ["after"])


def test_the_status_is_told_on_a_full_disk_too(folder: Path) -> None:
    happened = on_a_small_disk("board", folder)

    assert happened["said"] == "the disk is full; free some space"
    assert (happened["kept"], happened["after"]) == (["kafka", "postgres"], "ready")


def test_a_disk_without_room_is_named_before_the_server_starts(tmp_path: Path) -> None:
    with pytest.raises(CliError, match=rf"Kafka needs \d+ MiB, and {tmp_path} has \d+ MiB left") as refused:
        require_room("Kafka", tmp_path / "not" / "made" / "yet", 1 << 60)
    assert "starts by itself" in refused.value.advice
    require_room("Kafka", tmp_path, 1)
