"""Replacing the CA's key, in two commands between which both CAs' certificates count.

`rotate` makes the next CA and names it in every service's folder before it certifies anything; then it certifies the
keys that the one before did, as they are: nobody gets another key, and no seal counts less than it did. `retire` ends
the one before. A service that runs looks into its folder whenever it learns a certificate, so it needs no restart.
Each step leaves everybody at work; a command that was cut short goes on when it is given again.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from grace_common.contract import topics
from grace_common.contract.errors import Refused, Unready
from grace_common.runtime import failpoint
from grace_common.runtime.clock import SystemClock
from grace_common.runtime.database import Database
from grace_common.runtime.tables import outbox
from grace_common.transparency.statement import key_id
from sqlalchemy import func, select

from grace_crypto_signer import commands
from grace_crypto_signer.adapters import key_files
from grace_crypto_signer.adapters.key_files import Vault
from grace_crypto_signer.adapters.sealing import KeyEncryptionKey
from grace_crypto_signer.domain.root import Root
from grace_crypto_signer.requests import KeyRequest
from grace_crypto_signer.settings import Settings

Answer = dict[str, Any]
_UNDER_THE_CA: Final = ("notary", "attestation")  # keys that it publishes in the ledger
PATIENCE_S: Final = 15.0
_LOOK_EVERY_S: Final = 0.2


async def rotate(settings: Settings, kek: KeyEncryptionKey, root: Root, request: KeyRequest) -> Answer:
    """Let another CA certify; the one before counts until it is retired.

    returns  after the first half, where nobody has said that the services' folders name the next one: what to do
    """
    folder, clock = settings.state_dir, SystemClock()
    async with _reached(settings) as database:
        if key_files.next_ca_file(folder).exists() or len(key_files.authorities(folder).held) == 1:
            before = key_files.authorities(folder)
            key_files.prepare_ca(folder, kek, settings.trust_domain, clock)
            failpoint.reached("ca", "prepared")
            named = key_files.authorities(folder)
            commands.tell_authorities(named, request.identities)
            # Nobody can have been told of a CA that there was not before.
            if request.folder is None and not (request.told and named == before):
                return {"level": "ca", "waits": True, "authorities": told(folder), "bring": _public_files(folder)}
            key_files.enter_ca(folder, kek, clock.now().replace(microsecond=0))
            failpoint.reached("ca", "entered")
        since = key_files.made_at(folder, "ca")
        for purpose in _UNDER_THE_CA:
            if key_files.made_at(folder, purpose) <= since:
                # Never of the same second, else it would be replaced once more when this is begun again.
                made = max(clock.now().replace(microsecond=0), since + timedelta(seconds=1))
                key_files.make_key(folder, kek, purpose, made)
        directory = commands.renew_directory(settings, kek, root)
        vault = _vault(settings, kek)
        certified = await commands.certify_again(vault, database, request.identities)
    return {
        "level": "ca",
        "waits": False,
        "key_id": vault.own.authority.key_id,
        "directory": directory.version if directory else None,
        "certificates": certified,
        "authorities": told(folder),
    }


async def retire(
    settings: Settings, kek: KeyEncryptionKey, root: Root, request: KeyRequest, *, patience_s: float = PATIENCE_S
) -> Answer:
    """End every CA but the one that certifies, once nothing that it certified rests on it alone.

    raises  Unready when the bus has not heard of all certificates in time: a service would know nobody without them
    """
    folder = settings.state_dir
    if key_files.next_ca_file(folder).exists():
        raise Refused("the CA is being replaced: finish that first with `grace keys rotate ca`")
    if len(key_files.authorities(folder).keys) == 1:
        raise Refused("there is one CA, and none before it: `grace keys rotate ca` replaces it")
    if request.folder is None and not request.told:
        raise Refused(f"{_public_files(folder)}; then say so with `told`")
    async with _reached(settings) as database:
        certified = await commands.certify_again(_vault(settings, kek), database, request.identities)
        await _heard(database, patience_s)
    key_files.end_other_cas(folder, kek)
    failpoint.reached("ca", "ended")
    commands.tell_authorities(key_files.authorities(folder), request.identities)
    directory = commands.renew_directory(settings, kek, root)
    return {
        "level": "ca",
        "directory": directory.version if directory else None,
        "certificates": certified,
        "authorities": told(folder),
    }


def told(folder: Path) -> list[dict[str, str]]:
    """Return every CA, the newest first, with what it is: `next`, `certifies`, `counts` or `ended`."""
    known, certifies = key_files.authorities(folder), key_files.ca_id(folder)
    waiting = key_files.ca_id(folder, waiting=True) if key_files.next_ca_file(folder).exists() else None
    states = {key_id(key): "ended" for key in known.keys} | {key_id(key): "counts" for key in known.held_keys}
    states |= ({waiting: "next"} if waiting else {}) | {certifies: "certifies"}
    return [{"key_id": id_, "state": state} for id_, state in states.items()]


@asynccontextmanager
async def _reached(settings: Settings) -> AsyncIterator[Database]:
    """Yield the database once it has answered: else nothing is begun."""
    database = Database(settings.database_url.get_secret_value(), pool_size=2)
    try:
        await _waiting(database)
        yield database
    finally:
        await database.close()


async def _heard(database: Database, patience_s: float) -> None:
    """Return when all certificates were sent."""
    for _ in range(round(patience_s / _LOOK_EVERY_S)):
        if not await _waiting(database):
            return
        await asyncio.sleep(_LOOK_EVERY_S)
    if waiting := await _waiting(database):
        raise Unready(
            f"{waiting} certificates wait to be sent to {topics.IDENTITY}: start the crypto-signer and give the "
            "command again; until then everything counts that did"
        )


async def _waiting(database: Database) -> int:
    unsent = select(func.count()).select_from(outbox).where(outbox.c.topic == topics.IDENTITY.name)
    async with database.reading() as connection:
        return int(await connection.scalar(unsent) or 0)


def _public_files(folder: Path) -> str:
    return (
        f"bring ca.pem and, where there is one, ca-ended.pem of {folder}, which are public, to every service's identity"
    )


def _vault(settings: Settings, kek: KeyEncryptionKey) -> Vault:
    return key_files.open_vault(settings.state_dir, kek, settings.trust_domain)
