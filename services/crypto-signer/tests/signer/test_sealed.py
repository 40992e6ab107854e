"""A signer that starts sealed: it says what is missing, and opens its keys for those who may."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from itertools import repeat
from pathlib import Path
from socket import create_server

import orjson
import pytest
from grace_common.contract.errors import Refused
from grace_common.testing.clock import FixedClock
from grace_crypto_signer.adapters import key_files, root_files
from grace_crypto_signer.adapters.sealing import KeyEncryptionKey, write_private
from grace_crypto_signer.adapters.share_files import split_root
from grace_crypto_signer.sealed import MISSING, SOCKET, unsealed
from grace_crypto_signer.settings import Settings

from .test_backup import COST, DOMAIN, PEOPLE, settings_of

WORDS = b"kept by people"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A sealed signer: its passphrase is in nobody's file, its root is handed out."""
    with create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    settings = settings_of(tmp_path).model_copy(update={"sealed": True, "http_port": port})
    key_files.create(settings.state_dir, settings.passphrase_file, DOMAIN, FixedClock())
    vault = key_files.load(settings.state_dir, settings.passphrase_file, DOMAIN)
    key_files.write_kek(settings.state_dir, vault.kek, WORDS)
    settings.passphrase_file.unlink()
    assert vault.root is not None
    split = split_root(vault.root, PEOPLE, COST)
    root_files.record_split(settings.state_dir, split)
    for name, data in split.files.items():
        write_private(tmp_path / name, data)
    return settings


async def there(socket: Path) -> None:
    """Return once a process listens on the socket."""
    async with asyncio.timeout(60):
        for pause_s in repeat(0.02):
            if await asyncio.to_thread(socket.is_socket):
                return
            await asyncio.sleep(pause_s)


@asynccontextmanager
async def waiting(settings: Settings) -> AsyncIterator["asyncio.Task[KeyEncryptionKey]"]:
    """Yield a signer that waits to be unsealed, once it listens."""
    place = settings.state_dir / SOCKET
    task = asyncio.create_task(unsealed(settings))
    await there(place)
    yield task
    if not task.done():
        task.cancel()
    await asyncio.wait([task])


async def bring(settings: Settings, request: bytes) -> dict[str, object]:
    reader, writer = await asyncio.open_unix_connection(settings.state_dir / SOCKET)
    writer.write(request + b"\n")
    answer = await reader.readline()
    writer.close()
    return orjson.loads(answer) if answer else {}  # type: ignore[no-any-return]


async def ready(settings: Settings) -> tuple[bytes, dict[str, object]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", settings.http_port)
    writer.write(b"GET /ready HTTP/1.0\r\n\r\n")
    head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    writer.close()
    return head.split(b"\r\n")[0], orjson.loads(body)


def shares(folder: Path, count: int) -> bytes:
    brought = [
        {"name": file.name, "content": file.read_text(), "passphrase": PEOPLE[index][1].decode()}
        for index, file in enumerate(sorted(folder.glob("share-*.json"))[:count])
    ]
    return orjson.dumps({"shares": brought})


async def test_a_sealed_signer_is_alive_not_ready_and_says_what_is_missing(settings: Settings) -> None:
    async with waiting(settings):
        status, body = await ready(settings)

    assert status == b"HTTP/1.1 503 Service Unavailable"
    assert body == {"service": "crypto-signer", "ready": False, "components": {"keys": MISSING}}


async def test_the_passphrase_unseals_it(settings: Settings) -> None:
    async with waiting(settings) as task:
        assert await bring(settings, b'{"passphrase": "guess"}') == {
            "error": f"the passphrase does not open {settings.state_dir / 'kek.sealed.json'}"
        }
        assert not task.done()
        said = await bring(settings, orjson.dumps({"passphrase": WORDS.decode()}))
        kek = await task

    assert said == {"unsealed": True, "kek": kek.id}
    assert kek == key_files.kek_by_passphrase(settings.state_dir, WORDS)
    assert not (settings.state_dir / SOCKET).exists()


async def test_three_shares_unseal_it_and_two_do_not(settings: Settings, tmp_path: Path) -> None:
    async with waiting(settings) as task:
        said = await bring(settings, shares(tmp_path, 2))
        assert said == {"error": "2 shares do not suffice: 3 are needed, 1 more"}
        await bring(settings, shares(tmp_path, 3))
        assert await task == key_files.kek_by_passphrase(settings.state_dir, WORDS)


async def test_only_the_owner_reaches_the_socket(settings: Settings) -> None:
    async with waiting(settings):
        assert (settings.state_dir / SOCKET).stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("request_", "why"),
    [
        (b"{}", "bring the passphrase or three shares"),
        (b"not json", "malformed"),
        (b'{"passphrase": 3}', "malformed"),
        (b'{"password": "x"}', "malformed"),
    ],
)
async def test_what_is_no_key_is_refused_and_it_waits_on(settings: Settings, request_: bytes, why: str) -> None:
    # Even where somebody left a passphrase beside the keys: a sealed signer opens for people alone.
    write_private(settings.passphrase_file, WORDS)
    async with waiting(settings) as task:
        assert why in str((await bring(settings, request_))["error"])
        assert not task.done()


async def test_a_caller_who_floods_or_leaves_does_no_harm(settings: Settings) -> None:
    async with waiting(settings) as task:
        _, writer = await asyncio.open_unix_connection(settings.state_dir / SOCKET)
        writer.close()
        reader, writer = await asyncio.open_unix_connection(settings.state_dir / SOCKET)
        writer.write(b"x" * 1_000_000)
        with suppress(ConnectionResetError):
            assert await reader.read() == b""
        writer.close()
        await bring(settings, orjson.dumps({"passphrase": WORDS.decode()}))
        await task


async def test_a_state_folder_too_deep_for_a_socket_is_refused(settings: Settings, tmp_path: Path) -> None:
    deep = settings.model_copy(update={"state_dir": tmp_path / ("d" * 100)})

    with pytest.raises(Refused, match="too long for a Unix socket; set GRACE_STATE_DIR"):
        await unsealed(deep)


async def test_it_can_be_told_to_stop_while_it_waits(settings: Settings, tmp_path: Path) -> None:
    given = {
        f"GRACE_{name.upper()}": str(value)
        for name, value in settings.model_dump(exclude_none=True).items()
        if name != "database_url"
    }
    environment = dict(os.environ) | given | {"GRACE_DATABASE_URL": "postgresql://127.0.0.1:1/grace"}
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", "grace_crypto_signer", env=environment)
    await there(settings.state_dir / SOCKET)
    assert b"503" in (await ready(settings))[0]

    process.send_signal(signal.SIGTERM)

    assert await process.wait() == 0
