"""One at a time changes the state folder, commands and the running signer alike."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from grace_common.testing.clock import FixedClock
from grace_crypto_signer import key_commands
from grace_crypto_signer.adapters import key_files
from grace_crypto_signer.adapters.keystore import FileKeys
from grace_crypto_signer.adapters.sealing import LiveKek
from grace_crypto_signer.adapters.state_lock import LOCK_FILE, Busy, changing, waiting_to_change
from grace_crypto_signer.requests import KeyRequest
from grace_crypto_signer.settings import Settings

from .examples import TIME
from .test_backup import DOMAIN, settings_of

_HOLDER = """
import sys
from pathlib import Path
from grace_crypto_signer.adapters.state_lock import changing
with changing(Path(sys.argv[1]), "keys rotate ca"):
    print("held", flush=True)
    sys.stdin.read()
"""


@contextmanager
def another_process(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """Run a process that holds the lock until its standard input ends."""
    command = [sys.executable, "-c", _HOLDER, str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        try:
            yield process
        finally:
            process.kill()


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    settings = settings_of(tmp_path)
    key_files.create(settings.state_dir, settings.passphrase_file, DOMAIN, FixedClock(TIME))
    return settings


def test_who_comes_second_is_told_who_holds_it_and_what_to_do(tmp_path: Path) -> None:
    with another_process(tmp_path) as process:
        told = rf"changed by keys rotate ca \(process {process.pid}\).*give the command again"
        with pytest.raises(Busy, match=told), changing(tmp_path, "init"):
            pass

        process.communicate("")
    with changing(tmp_path, "init"):
        assert (tmp_path / LOCK_FILE).read_text() == f"init (process {os.getpid()})"
    assert (tmp_path / LOCK_FILE).read_bytes() == b""
    assert (tmp_path / LOCK_FILE).stat().st_mode & 0o777 == 0o600


def test_a_process_that_is_killed_holds_it_no_more(tmp_path: Path) -> None:
    with another_process(tmp_path) as process:
        process.kill()
        process.wait()

        with changing(tmp_path, "init"):
            pass


async def test_a_command_waits_for_another_and_begins_when_that_has_ended(tmp_path: Path) -> None:
    order: list[str] = []

    async def second() -> None:
        async with waiting_to_change(tmp_path, "keys rotate kek"):
            order.append("second")

    with changing(tmp_path, "init"):
        waiting = asyncio.create_task(second())
        with pytest.raises(Busy, match="changed by init"):
            async with waiting_to_change(tmp_path, "keys split", patience_s=0.0):
                pass
        order.append("first")
    await waiting

    assert order == ["first", "second"]


async def test_the_commands_about_keys_wait(settings: Settings) -> None:
    kek = (settings.state_dir / "kek.sealed.json").read_bytes()

    with changing(settings.state_dir, "the running signer"):
        waiting = asyncio.create_task(key_commands.passphrase(settings, KeyRequest()))
        await asyncio.sleep(0)
        assert (settings.state_dir / "kek.sealed.json").read_bytes() == kek
    await waiting

    assert (settings.state_dir / "kek.sealed.json").read_bytes() != kek


async def test_a_command_that_failed_leaves_it_free(tmp_path: Path) -> None:
    with pytest.raises(KeyError):
        async with waiting_to_change(tmp_path, "init"):
            raise KeyError("bug")

    with changing(tmp_path, "init"):
        pass


async def test_while_a_command_changes_the_keys_the_running_signer_replaces_none(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    kek = LiveKek(key_files.open_kek(settings.state_dir, settings.passphrase_file), None)
    keys = FileKeys(settings, kek)

    with changing(settings.state_dir, "keys rotate ca"):
        keys.renew(TIME)
        assert keys.directories() == []
        reading = await key_commands.status(settings, KeyRequest())
    keys.renew(TIME)

    assert reading["holders"] == []
    assert len(keys.directories()) == 1
    assert "keys rotate ca (process" in capsys.readouterr().out
