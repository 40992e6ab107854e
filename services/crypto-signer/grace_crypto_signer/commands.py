"""The commands of deployment: keys, certificates, epochs, tables. They need no broker, and load nothing that does."""

import asyncio
from collections.abc import Coroutine, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from grace_common.contract.errors import GraceError, Refused
from grace_common.contract.events.identity import CertificateIssued
from grace_common.contract.topics import SERVICES
from grace_common.runtime import migrate
from grace_common.runtime.clock import SystemClock
from grace_common.runtime.database import Database
from grace_common.runtime.outbox import Outbox

from grace_crypto_signer.adapters import identity_files, key_files
from grace_crypto_signer.adapters.certificate_store import PostgresCertificates
from grace_crypto_signer.adapters.epoch_store import PostgresEpochs
from grace_crypto_signer.adapters.key_files import Vault
from grace_crypto_signer.domain.certificate import WORKLOAD_LIFE, identified, stated
from grace_crypto_signer.settings import Settings

_MIGRATIONS: Final = Path(str(files("grace_crypto_signer") / "migrations"))
_USAGE: Final = "`init`, `issue SERVICE --out DIR`, `rotate`, `migrate`, or none to run the service"


async def init(settings: Settings) -> None:
    """Make the signer's keys and the first epoch seed, unless they are there; needs migrated tables."""
    made = key_files.create(settings.state_dir, settings.passphrase_file, settings.trust_domain, SystemClock())
    kek = key_files.open_kek(settings.state_dir, settings.passphrase_file)
    database = _database(settings)
    try:
        first = await PostgresEpochs(database, kek).ensure_first()
    finally:
        await database.close()
    told = {True: "made", False: "present"}
    print(f"keys in {settings.state_dir}: {told[made]}; first epoch: {told[first]}")


async def issue(settings: Settings, service: str, folder: Path) -> CertificateIssued:
    """Give a service a new key and a certificate of 30 days, and state it on grace.identity.v1 through the outbox.

    raises  Refused for a service that Grace does not have
    """
    if service not in SERVICES:
        raise Refused(f"Grace has no service {service!r}; it has {', '.join(SERVICES)}")
    vault, clock, database = _vault(settings), SystemClock(), _database(settings)
    key, now, subject = Ed25519PrivateKey.generate(), clock.now(), f"service/{service}"
    until = min(now + WORKLOAD_LIFE, vault.authority.certificate.not_valid_after_utc)
    certificate = vault.authority.issue(subject, key.public_key(), serial=clock.new_id().int, now=now, until=until)
    issued = stated(certificate, subject)
    try:
        # Stated first: a certificate whose key was lost harms nobody, a key without one would be refused by all.
        async with database.transaction():
            await PostgresCertificates(database).keep(issued)
            await Outbox(database).add([identified(issued)])
    finally:
        await database.close()
    identity_files.write(folder, key, certificate, vault.authority.certificate)
    print(f"certificate of {subject} until {until.isoformat(timespec='seconds')} in {folder}")
    return issued


async def rotate(settings: Settings) -> None:
    """Make the next epoch seed, in use from two minutes hence."""
    database = _database(settings)
    try:
        epoch = await PostgresEpochs(database, _vault(settings).kek).rotate(SystemClock().now())
    finally:
        await database.close()
    print(f"epoch {epoch.number} begins at {epoch.not_before.isoformat(timespec='seconds')}")


def command(arguments: Sequence[str]) -> str | None:
    """Carry out what the command line asks for; return what went wrong, None when nothing did."""
    try:
        settings = Settings.load()
        work: Coroutine[Any, Any, Any]
        match arguments:
            case ["init"]:
                work = init(settings)
            case ["issue", service, "--out", folder]:
                work = issue(settings, service, Path(folder))
            case ["rotate"]:
                work = rotate(settings)
            case ["migrate"]:  # before this service has keys or an identity, so without `build`
                migrate.run(_database(settings), _MIGRATIONS)
                return None
            case _:
                raise Refused(f"unknown arguments {' '.join(arguments)!r}: {_USAGE}")
        asyncio.run(work)
    except GraceError as error:
        return str(error)
    return None


def _vault(settings: Settings) -> Vault:
    return key_files.load(settings.state_dir, settings.passphrase_file, settings.trust_domain)


def _database(settings: Settings) -> Database:
    return Database(settings.database_url.get_secret_value(), pool_size=2)
