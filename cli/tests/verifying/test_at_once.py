"""`grace ledger verify` in its usual form starts at once: no framework, and processes that are copies of the first."""

import os
import pty
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
from grace_cli.errors import CliError
from grace_cli.verifying.asked import verified_at_once
from grace_common.testing.ledger import MemoryLog
from grace_common.transparency.tile import Tile

SIZE = 50 * 256 + 7  # four jobs


@cache
def log() -> MemoryLog:
    log = MemoryLog()
    log.append(*(b"entry %d" % number for number in range(SIZE)))
    log.publish()
    return log


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for path, data in log().files.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(data)
    return tmp_path


PROGRAM = """
import sys
from grace_cli.main import run
run(sys.argv[1:])
heavy = {"typer", "rich", "pydantic", "asyncio", "sqlalchemy", "httpx"} & set(sys.modules)
sys.exit(f"imported: {heavy}" if heavy else 0)
"""


def verify(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", PROGRAM, "ledger", "verify", str(folder), "--processes", "2", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_a_whole_log_is_verified_without_importing_the_framework(folder: Path) -> None:
    done = verify(folder, "--tree-only", f"--log-key={log().key}")

    assert done.returncode == 0, done.stderr
    assert f"signed a tree of {SIZE} entries with root {log().tree().root_at(SIZE).hex()}." in done.stdout


@pytest.mark.parametrize("words", [("--tree-only",), ()])
def test_a_changed_entry_is_found_in_a_process_of_its_own(folder: Path, words: tuple[str, ...]) -> None:
    place = folder / Tile(-1, 40).path
    changed = bytearray(place.read_bytes())
    changed[8] ^= 1
    place.write_bytes(changed)

    done = verify(folder, *words)

    assert done.returncode == 1
    assert "entry 10240 is not the one in the tree: it was changed" in done.stderr


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("DIR", "another"),
        ("DIR", "--help"),
        ("DIR", "--processes", "0"),
        ("DIR", "--processes", "many"),
        ("DIR", "--log-key"),
        ("DIR", "--json=yes"),
        ("DIR", "--database"),
    ],
)
def test_other_words_are_left_to_the_framework(words: tuple[str, ...]) -> None:
    assert not verified_at_once(["ledger", "verify", *words])


def test_a_folder_that_is_none_is_named(tmp_path: Path) -> None:
    with pytest.raises(CliError, match="nowhere is no folder"):
        verified_at_once(["ledger", "verify", str(tmp_path / "nowhere")])


def test_what_was_verified_is_told_to_programs_as_json(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert verified_at_once(["ledger", "verify", str(folder), "--json", "--processes=1"])

    assert f'"entries": {SIZE}, "root": "{log().tree().root_at(SIZE).hex()}"' in capsys.readouterr().out


def test_a_terminal_is_shown_how_far_it_is(folder: Path) -> None:
    screen, terminal = pty.openpty()
    command = [sys.executable, "-c", PROGRAM, "ledger", "verify", str(folder), "--processes", "2"]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=terminal, text=True, check=False)
    os.close(terminal)

    assert f"signed a tree of {SIZE} entries" in done.stdout
    assert f"/{SIZE}".encode() in os.read(screen, 1 << 16)
    os.close(screen)
