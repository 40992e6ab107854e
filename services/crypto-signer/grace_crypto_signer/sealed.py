"""Starting sealed: the process has no key, says so, and waits for people to bring a passphrase or three shares.

They come over a Unix socket of mode 0600 in the state folder, which whoever reaches it could read as well: nothing is
added to who can open the keys. Until then no broker and no database is spoken to, so nothing can be signed.
"""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Final

import orjson
import structlog
from grace_common.contract.errors import GraceError, Refused
from grace_common.runtime.health import listening, probes, server

from grace_crypto_signer.adapters import key_files
from grace_crypto_signer.adapters.sealing import KeyEncryptionKey
from grace_crypto_signer.requests import KeyRequest
from grace_crypto_signer.settings import Settings

SOCKET: Final = "unseal.sock"
MISSING: Final = "sealed: bring the passphrase or three shares with `grace keys unseal`"
_MOST_BYTES: Final = 256 * 1024
_LONGEST_PATH: Final = 100  # bytes of a Unix socket's address, on all systems
_PATIENCE_S: Final = 60.0
Hear = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
_log = structlog.get_logger(__name__)


async def unsealed(settings: Settings) -> KeyEncryptionKey:
    """Return the key-encryption key once somebody has brought what opens it.

    raises  Refused when the socket cannot be had, SystemExit on SIGTERM
    """
    place = settings.state_dir / SOCKET
    if len(os.fsencode(place)) > _LONGEST_PATH:
        raise Refused(f"{place} is too long for a Unix socket; set GRACE_STATE_DIR to a shorter path")
    found: asyncio.Future[KeyEncryptionKey] = asyncio.get_running_loop().create_future()
    one_at_a_time = asyncio.Lock()  # each attempt costs the memory of scrypt

    async def hear(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(_PATIENCE_S):
                line = await reader.readline()
            async with one_at_a_time:
                kek, said = await _attempt(settings, line)
            writer.write(orjson.dumps(said) + b"\n")
            await writer.drain()
        except (TimeoutError, OSError, ValueError) as error:  # a line too long is a ValueError
            _log.warning("unsealing_broken_off", why=type(error).__name__)
            return
        finally:
            writer.close()
        if kek is not None and not found.done():
            found.set_result(kek)

    async def readiness() -> Mapping[str, str | None]:
        return {"keys": MISSING}

    http = server(probes(settings.service, readiness))
    serving = asyncio.create_task(http.serve([listening(settings.http_host, settings.http_port)]))
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, _give_up, found)
    place.unlink(missing_ok=True)  # of a process that was killed
    door = await _listen(place, hear)
    _log.info("sealed", socket=str(place))
    try:
        kek = await found
        _log.info("unsealed", kek=kek.id)
        return kek
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is None or not task.cancelling():  # it was a signal that ended the waiting
            raise SystemExit(0) from None
        raise
    finally:
        door.close()
        place.unlink(missing_ok=True)
        http.should_exit = True
        await serving


async def _attempt(settings: Settings, line: bytes) -> tuple[KeyEncryptionKey | None, dict[str, object]]:
    try:
        request = KeyRequest.parse(line)
        if not request.shares and request.passphrase is None:
            raise Refused("bring the passphrase or three shares")
        kek = await asyncio.to_thread(request.open_kek, settings.state_dir, settings.passphrase_file)
        await asyncio.to_thread(key_files.open_vault, settings.state_dir, kek, settings.trust_domain)
    except GraceError as error:
        _log.warning("unsealing_refused")
        return None, {"error": str(error)}
    return kek, {"unsealed": True, "kek": kek.id}


async def _listen(place: Path, hear: Hear) -> asyncio.AbstractServer:
    before = os.umask(0o177)
    try:
        return await asyncio.start_unix_server(hear, place, limit=_MOST_BYTES)
    except OSError as error:
        raise Refused(f"{place} cannot be listened on: {error.strerror}") from error
    finally:
        os.umask(before)


def _give_up(found: "asyncio.Future[KeyEncryptionKey]") -> None:
    found.cancel()
