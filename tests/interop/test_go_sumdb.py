"""Foreign tools accept a log of ours and refuse a changed one: Go's transparency-log packages, and Tessera's fsck."""

import shutil
import subprocess
from base64 import b64encode
from functools import cache
from pathlib import Path

import pytest
from grace_cli.log_files import LogKey
from grace_cli.log_files import export as export_log
from grace_common.testing.ledger import MemoryLedger, MemoryLog, SeededKey
from grace_common.transparency.note import SignatureType
from grace_common.transparency.proof_file import ProofFile
from grace_common.transparency.tile import Tile, encode_bundle
from grace_common.transparency.witness import open_signed

PROGRAMS = Path(__file__).parent / "go"
USUAL_PLACE = "/usr/local/go/bin/go"  # where Go's own installer puts it, often without a place in PATH


def find_go() -> str:
    go = shutil.which("go") or shutil.which(USUAL_PLACE)
    if go is None:
        pytest.fail(
            "this test needs Go 1.24 or later: install it from your system's packages (see tests/interop/README.md)"
        )
    return go


@pytest.fixture(scope="session")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the Go programs, built once."""
    folder = tmp_path_factory.mktemp("interop")
    built = subprocess.run(
        [find_go(), "build", "-buildvcs=false", "-o", f"{folder}/", ".", "./fsck"],
        cwd=PROGRAMS,
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stderr
    return folder


@pytest.fixture
def accept(programs: Path) -> Path:
    """The program on Go's own packages, which checks proofs besides."""
    return programs / "interop"


@pytest.fixture(params=["interop", "fsck"])
def foreign(programs: Path, request: pytest.FixtureRequest) -> Path:
    """Each of the programs."""
    return programs / str(request.param)


def run(program: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([program, folder], capture_output=True, text=True, check=False)


@cache
def log_of(size: int) -> MemoryLog:
    """A log that grew in uneven batches, so that partial tiles of many sizes lie in it."""
    log = MemoryLog()
    for batch in (1, 254, 1, 1, 300, size):
        count = min(batch, size - len(log.entries))
        if count > 0:
            first = len(log.entries)
            log.append(*[b"entry %d" % number for number in range(first, first + count)])
            log.publish()
    if not log.entries:
        log.publish()
    return log


def export(log: MemoryLog, folder: Path) -> None:
    for path, data in log.files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)


@pytest.mark.parametrize("size", [0, 1, 255, 256, 257, 65_535, 65_536, 65_537])
def test_go_accepts_the_exported_log(accept: Path, tmp_path: Path, size: int) -> None:
    log = log_of(size)
    export(log, tmp_path)
    indices = sorted({0, size // 2, size - 1}) if size else []
    for index in indices:
        proof = ProofFile(index, tuple(log.tree().inclusion_proof(index)), log.files["checkpoint"])
        (tmp_path / f"{index}.tlog-proof").write_bytes(proof.encode())

    answer = run(accept, tmp_path)

    assert answer.returncode == 0, answer.stderr
    root = b64encode(log.tree().root_at(size)).decode()
    assert answer.stdout.startswith(f"accepted log.example/grace: {size} entries, ")
    assert answer.stdout.endswith(f" {len(indices)} proof files, root {root}\n")


@pytest.mark.parametrize("size", [0, 1, 255, 256, 257, 65_535, 65_536, 65_537])
def test_tesseras_fsck_accepts_what_the_export_command_writes(programs: Path, tmp_path: Path, size: int) -> None:
    log = log_of(size)
    export_log(log, LogKey(log.key, "test", with_the_log=True), tmp_path, int, int)

    answer = run(programs / "fsck", tmp_path)

    assert answer.returncode == 0, answer.stderr
    assert answer.stdout == f"accepted log.example/grace: {size} entries, root {log.tree().root_at(size).hex()}\n"


def test_foreigners_accept_a_ledger_of_statements(foreign: Path, tmp_path: Path) -> None:
    ledger = MemoryLedger()
    ledger.deliver()
    export(ledger.log, tmp_path)

    answer = run(foreign, tmp_path)

    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.startswith("accepted log.example/grace: 310 entries, ")


def test_foreigners_accept_a_checkpoint_with_the_cosignature_of_a_witness(foreign: Path, tmp_path: Path) -> None:
    log, witness = log_of(257), SeededKey("witness")
    export(log, tmp_path)
    key = witness.named("witness.example/w1", SignatureType.COSIGNATURE)
    _, cosigned = open_signed(log.files["checkpoint"], [log.key]).cosigned(key, witness.sign, 1_700_000_000)
    (tmp_path / "checkpoint").write_bytes(cosigned.encode())

    answer = run(foreign, tmp_path)

    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.startswith("accepted log.example/grace: 257 entries, ")


@pytest.mark.parametrize("which", ["older", "newer"])
def test_foreigners_accept_an_export_that_two_keys_of_the_log_signed_with_either(
    foreign: Path, tmp_path: Path, which: str
) -> None:
    ledger, successor = MemoryLedger(), SeededKey("successor")
    old = ledger.log.key
    ledger.log.succeed(successor)
    ledger.deliver(listed=True)
    key = old if which == "older" else ledger.log.key
    export_log(ledger.log, LogKey(key, "test", with_the_log=False), tmp_path, int, int)
    assert (tmp_path / "vkey").read_text() == f"{key}\n"
    assert (tmp_path / "checkpoint").read_text().count("\n— log.example/grace ") == 2

    answer = run(foreign, tmp_path)

    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.startswith(f"accepted log.example/grace: {len(ledger.log.entries)} entries, ")


def test_foreigners_refuse_the_older_key_once_it_signs_no_more(foreign: Path, tmp_path: Path) -> None:
    ledger, successor = MemoryLedger(), SeededKey("successor")
    old = ledger.log.key
    ledger.log.succeed(successor)
    ledger.log.retire()
    ledger.deliver()
    export(ledger.log, tmp_path)
    assert run(foreign, tmp_path).returncode == 0
    (tmp_path / "vkey").write_text(f"{old}\n")

    answer = run(foreign, tmp_path)

    assert answer.returncode == 1
    assert answer.stderr.startswith("refused: ")


@pytest.mark.parametrize(
    "path", ["checkpoint", Tile(0, 0).path, Tile(0, 1, 1).path, Tile(1, 0, 1).path, Tile(-1, 0).path]
)
def test_foreigners_refuse_the_log_once_a_byte_is_changed(foreign: Path, tmp_path: Path, path: str) -> None:
    export(log_of(257), tmp_path)
    changed = bytearray((tmp_path / path).read_bytes())
    changed[len(changed) // 2] ^= 1
    (tmp_path / path).write_bytes(changed)

    answer = run(foreign, tmp_path)

    assert answer.returncode == 1
    assert answer.stderr.startswith("refused: ")


def test_foreigners_refuse_a_bundle_that_has_lost_its_last_entry(foreign: Path, tmp_path: Path) -> None:
    log = log_of(257)
    export(log, tmp_path)
    (tmp_path / Tile(-1, 0).path).write_bytes(encode_bundle(log.entries[:255]))

    answer = run(foreign, tmp_path)

    assert answer.returncode == 1
    assert answer.stderr.startswith("refused: ")


def test_foreigners_refuse_a_long_log_in_which_every_tile_differs_from_its_entries(
    foreign: Path, tmp_path: Path
) -> None:
    export(log_of(65_537), tmp_path)
    for path in (tmp_path / "tile" / "0").glob("*"):
        if path.is_file():
            path.write_bytes(path.read_bytes()[::-1])

    answer = run(foreign, tmp_path)

    assert answer.returncode == 1
    assert answer.stderr.startswith("refused: ")
