"""The public key directory beside the log: each version that an entry names, as `keys/<version, four digits>.json`."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

import structlog
from grace_common.contract.errors import Refused, Unready
from grace_common.transparency.directory import KeyDirectory
from grace_common.transparency.dsse import DsseEnvelope
from grace_common.transparency.statement import KEY_DIRECTORY_PUBLISHED

from grace_audit_log.domain.entry import Place
from grace_audit_log.ports import LedgerReader, Publication

FOLDER: Final = "keys"
_AT_ONCE: Final = 10_000  # entries looked through at a time
_log = structlog.get_logger(__name__)


async def publish_directories(reader: LedgerReader, publication: Publication, places: Sequence[Place]) -> None:
    """Write the versions among these entries that are not published yet.

    A version once published stays: entries come again after a crash, and whoever signs the directory signs no other
    of the same number.
    """
    indices = [place.index for place in places if place.entry_type == KEY_DIRECTORY_PUBLISHED]
    if indices:
        await asyncio.to_thread(write_directories, publication, await reader.payloads_of(indices))


async def publish_every_directory(reader: LedgerReader, publication: Publication, size: int) -> None:
    """Write the versions that any of the first `size` entries names, where a folder is new or was lost."""
    for start in range(0, size, _AT_ONCE):
        await publish_directories(reader, publication, await reader.places(start, min(start + _AT_ONCE, size)))


def write_directories(publication: Publication, signed: Sequence[bytes]) -> None:
    """Write these signed versions where they are not published yet."""
    for each in signed:
        try:
            version = KeyDirectory.parse(DsseEnvelope.parse(each).payload).version
        except Refused as error:
            _log.error("key_directory_unreadable", why=str(error))
            continue
        path = f"{FOLDER}/{version:04}.json"
        with suppress(Unready):
            publication.read(path)
            continue
        publication.write([(path, each)])
