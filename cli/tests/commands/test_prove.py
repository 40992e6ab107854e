"""`grace ledger prove` writes proof files that stand without Grace."""

from pathlib import Path

import pytest
from grace_cli.errors import Exit
from grace_common.testing.ledger import MemoryLog
from grace_common.transparency.proof_file import ProofFile
from grace_common.transparency.tile import Tile

from .conftest import Run


@pytest.fixture
def log() -> MemoryLog:
    log = MemoryLog()
    log.append(*(b"entry %d" % number for number in range(600)))
    log.publish()
    return log


@pytest.fixture
def folder(log: MemoryLog, tmp_path: Path) -> Path:
    for path, data in log.files.items():
        (tmp_path / "log" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "log" / path).write_bytes(data)
    return tmp_path / "log"


@pytest.mark.parametrize("index", [0, 255, 256, 599])
def test_a_proof_file_and_its_entry_verify_with_nothing_but_the_key(
    run: Run, log: MemoryLog, folder: Path, tmp_path: Path, index: int
) -> None:
    proof, entry = tmp_path / "proof", tmp_path / "entry"

    outcome = run("ledger", "prove", str(index), str(folder), "-o", str(proof), "--entry", str(entry))

    assert outcome.code == Exit.OK, outcome.error
    verified = ProofFile.parse(proof.read_bytes()).verify(entry.read_bytes(), log.key)
    assert verified.checkpoint.size == 600
    assert entry.read_bytes() == b"entry %d" % index


def test_a_proof_is_printed_where_no_file_is_named(run: Run, log: MemoryLog, folder: Path) -> None:
    outcome = run("ledger", "prove", "300", str(folder))

    assert ProofFile.parse(outcome.out.encode()).verify(b"entry 300", log.key).checkpoint.size == 600


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("600",), Exit.FAILED, "leaf index 600 lies outside a tree of 600 leaves"),
        (("first",), Exit.USAGE, "neither an index nor an id"),
        (("00000000-0000-0000-0000-000000000001",), Exit.USAGE, "only the tables know an entry's id"),
        (("1", "--database"), Exit.USAGE, "a place and --database are named"),
    ],
)
def test_what_cannot_be_proven_is_said(
    run: Run, folder: Path, words: tuple[str, ...], code: Exit, message: str
) -> None:
    outcome = run("ledger", "prove", words[0], str(folder), *words[1:])

    assert outcome.code == code
    assert outcome.error is not None
    assert message in outcome.error.message


def test_a_changed_tile_proves_nothing(run: Run, folder: Path) -> None:
    tile = folder / Tile(0, 1).path
    tile.write_bytes(tile.read_bytes()[::-1])

    outcome = run("ledger", "prove", "300", str(folder))

    assert outcome.code == Exit.FAILED
    assert outcome.error is not None
    assert "the log is broken" in outcome.error.message
