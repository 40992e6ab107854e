"""The commands of deployment: keys, certificates, epochs, tables. They need no broker, and load nothing that does."""

import asyncio
from collections.abc import AsyncIterator, Coroutine, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding
from grace_common.contract.errors import GraceError, Refused
from grace_common.contract.topics import SERVICES
from grace_common.runtime import migrate
from grace_common.runtime.clock import SystemClock
from grace_common.runtime.database import Database
from grace_common.runtime.identity import Authorities
from grace_common.transparency.directory import KeyDirectory

from grace_crypto_signer.adapters import backup_file, directory_files, identity_files, key_files, key_uses
from grace_crypto_signer.adapters.certificate_store import PostgresCertificates
from grace_crypto_signer.adapters.directory_files import SignedMeanwhile
from grace_crypto_signer.adapters.epoch_store import PostgresEpochs
from grace_crypto_signer.adapters.key_files import Vault
from grace_crypto_signer.adapters.sealing import KeyEncryptionKey, seals_made
from grace_crypto_signer.adapters.state_lock import waiting_to_change
from grace_crypto_signer.domain.certificate import WORKLOAD_LIFE, identified, lasts, service_subject, stated
from grace_crypto_signer.domain.root import Root
from grace_crypto_signer.ports import Kek
from grace_crypto_signer.settings import Settings

_MIGRATIONS: Final = Path(str(files("grace_crypto_signer") / "migrations"))
_TRIES: Final = 5
EPOCHS_LEFT_OUT: Final = 100_000  # after a restoration; more than anybody makes between two backups
_USAGE: Final = (
    "`init`, `init SERVICE... --out-root DIR`, `issue SERVICE --out DIR`, `rotate`, `keys VERB`, `migrate`, "
    "or none to run the service"
)


@asynccontextmanager
async def changing_keys(settings: Settings, what: str) -> AsyncIterator[None]:
    """Be the only one that changes the keys, after a while of waiting, and write down the seals that this takes.

    raises  Busy, and Refused where the folder is an older copy that cannot go on from what the log has
    """
    async with waiting_to_change(settings.state_dir, what):
        directory_files.adopt(settings.state_dir, settings.publication_dir)
        try:
            yield
        finally:
            key_uses.add(settings.state_dir, seals_made())


async def init(settings: Settings, identities: Mapping[str, Path], kek: KeyEncryptionKey | None = None) -> None:
    """Make what is missing of the signer's keys, the first epoch seed and the services' identities.

    identities  each service's folder; one whose key and certificate are there, stated and far from their end is left
    kek         where people have opened it; None: the passphrase is in the signer's own file
    raises      Refused for a service that Grace does not have, or when the signer is sealed and a key is needed, Busy;
                needs migrated tables
    """
    _known_services(identities)
    async with changing_keys(settings, "init"):
        await _make_what_is_missing(settings, identities, kek)


async def _make_what_is_missing(
    settings: Settings, identities: Mapping[str, Path], kek: KeyEncryptionKey | None
) -> None:
    database = _database(settings)
    try:
        if kek is None and settings.sealed and not settings.passphrase_file.exists():
            await _need_no_key(settings, database, identities)
            return
        if kek is None:
            made = key_files.create(settings.state_dir, settings.passphrase_file, settings.trust_domain, SystemClock())
            vault = _vault(settings)
        else:
            made = bool(key_files.missing(settings.state_dir))
            key_files.complete(settings.state_dir, kek, settings.trust_domain, SystemClock(), None)
            vault = key_files.open_vault(settings.state_dir, kek, settings.trust_domain)
        epochs = PostgresEpochs(database, vault.kek)
        await _put_back(settings.state_dir, database, epochs)
        first = await epochs.ensure_first()
        told = {True: "made", False: "present"}
        print(f"keys in {settings.state_dir}: {told[made]}; first epoch: {told[first]}")
        if vault.root is not None:
            renew_directory(settings, vault.kek, vault.root)
        tell_authorities(vault.authorities, identities)
        now = SystemClock().now()
        lacking, revoked = await _lacking(vault.authorities, database, identities, now)
        _tell_revoked(revoked)
        if lacking:
            _tell_issued(lacking, await _issue(settings, vault, database, lacking, now))
    finally:
        await database.close()


def renew_directory(settings: Settings, kek: Kek, root: Root | None) -> KeyDirectory | None:
    """Sign the next version of the key directory where one is due; return it.

    The running signer looks at the same files: whoever comes second reads them again, and lists what is left to list.
    """
    log, life = directory_files.log_key(settings.publication_dir), timedelta(days=settings.directory_days)
    tries = 0
    while True:
        vault = key_files.open_vault(settings.state_dir, kek, settings.trust_domain)
        now = SystemClock().now().replace(microsecond=0)
        try:
            return directory_files.renew(settings.state_dir, vault, root, log, now, life)
        except SignedMeanwhile:
            if (tries := tries + 1) == _TRIES:
                raise


async def _need_no_key(settings: Settings, database: Database, identities: Mapping[str, Path]) -> None:
    """Return when nothing is missing that the keys would have to be opened for; raise Refused otherwise."""
    authorities = key_files.authorities(settings.state_dir)
    tell_authorities(authorities, identities)
    lacking, revoked = await _lacking(authorities, database, identities, SystemClock().now())
    _tell_revoked(revoked)
    waiting, _ = backup_file.waiting_rows(settings.state_dir)
    absent = key_files.missing(settings.state_dir)
    if lacking or waiting or absent:
        what = f"no certificate that lasts: {', '.join(lacking)}" if lacking else "the backup's rows are to be put back"
        what = f"keys are to be made: {', '.join(absent)}" if absent else what
        raise Refused(f"{what}; the keys are sealed: bring the passphrase or three shares with `grace keys renew`")
    print(f"keys in {settings.state_dir}: sealed; nothing needs them")


async def issue(settings: Settings, service: str, folder: Path) -> None:
    """Give a service a new key and a certificate of 30 days, and state it on grace.identity.v1 through the outbox.

    raises  Refused for a service that Grace does not have, Busy
    """
    _known_services([service])
    async with changing_keys(settings, f"issue {service}"):  # the CA may be about to change
        vault, database = _vault(settings), _database(settings)
        try:
            until = await _issue(settings, vault, database, {service: folder}, SystemClock().now())
            _tell_issued({service: folder}, until)
        finally:
            await database.close()


async def _put_back(folder: Path, database: Database, epochs: PostgresEpochs) -> None:
    """Put into the database what a restoration from a backup left to be put there."""
    rows, facts = backup_file.waiting_rows(folder)
    if not rows:
        return
    missing = await epochs.restore(rows)
    if missing:
        # Epochs younger than the backup are lost, and so are their numbers: no other seed may go by one of them.
        await epochs.rotate(SystemClock().now(), step=EPOCHS_LEFT_OUT)
    async with database.transaction():
        certificates = PostgresCertificates(database)
        for fact in facts:
            if await certificates.find(fact.key_id) is None:
                await certificates.keep(fact)
    backup_file.rows_are_back(folder)
    print(f"put back from the backup: {missing} of {len(rows)} epochs, and the certificates that were missing")


async def _lacking(
    authorities: Authorities, database: Database, identities: Mapping[str, Path], now: datetime
) -> tuple[dict[str, Path], dict[str, Path]]:
    """Return those identities that are absent, damaged, another's, not stated by this signer, or near their end.

    returns  them, and those that are revoked: by an operator, so it is an operator who gives such a one another key
    """
    facts = {fact.certificate: fact for fact in await PostgresCertificates(database).holding(now)}
    lacking, revoked = {}, {}
    for service, folder in identities.items():
        present = identity_files.read(folder, authorities)
        fact = facts.get(present.public_bytes(Encoding.DER)) if present else None
        if present is None or fact is None or fact.subject != service_subject(service) or not lasts(present, now):
            lacking[service] = folder
        elif fact.revoked_at:
            revoked[service] = folder
    return lacking, revoked


def _tell_revoked(revoked: Mapping[str, Path]) -> None:
    for service, folder in revoked.items():
        print(f"the key of {service} is revoked; `issue {service} --out {folder}` gives it another")


def tell_authorities(authorities: Authorities, identities: Mapping[str, Path]) -> None:
    """Write into the folders that are there which CAs there are; a change of the CA may have been cut short.

    raises  Refused when one cannot be written
    """
    for folder in identities.values():
        try:
            if folder.is_dir():
                identity_files.write_authorities(folder, authorities)
        except OSError as error:
            raise Refused(
                f"{folder} cannot be told which CAs there are: {error.strerror}; make it writable and give the command "
                "again: until then everything counts that did"
            ) from error


async def certify_again(vault: Vault, database: Database, identities: Mapping[str, Path]) -> int:
    """Let the CA that certifies now certify whatever another one did, as it was; return how many keys these are.

    The keys are the same, and so are the times: nothing that they seal or have sealed counts less. Begun again it goes
    on.
    """
    from grace_common.runtime.outbox import Outbox  # loads the broker's library, and is rarely needed

    authority, certificates = vault.authority, PostgresCertificates(database)
    mine = Authorities((authority.certificate,))

    def again(certificate: x509.Certificate) -> x509.Certificate | None:
        return None if mine.issuer_of(certificate) is not None else authority.certify_again(certificate)

    async with database.transaction():
        facts = await certificates.certify_again(again)
        await Outbox(database).add([identified(fact) for fact in facts])
    for folder in identities.values():
        present = identity_files.certificate(folder, vault.authorities)
        if present is not None and (made := again(present)) is not None:
            identity_files.write_certificate(folder, made)
    return len(facts)


async def _issue(
    settings: Settings, vault: Vault, database: Database, identities: Mapping[str, Path], now: datetime
) -> datetime:
    """Give each service another key and certificate; return until when it lasts."""
    from grace_common.runtime.outbox import Outbox  # loads the broker's library, and is rarely needed

    clock, authority = SystemClock(), vault.authority
    until = min(now + WORKLOAD_LIFE, authority.certificate.not_valid_after_utc)
    keys = {service: Ed25519PrivateKey.generate() for service in identities}
    certificates = {
        service: authority.issue(
            service_subject(service), key.public_key(), serial=clock.new_id().int, now=now, until=until
        )
        for service, key in keys.items()
    }
    facts = [stated(certificate, service_subject(service)) for service, certificate in certificates.items()]
    # Stated first: a certificate whose key was lost harms nobody, a key without one would be refused by all.
    async with database.transaction():
        for fact in facts:
            await PostgresCertificates(database).keep(fact)
        await Outbox(database).add([identified(fact) for fact in facts])
    key_uses.add(settings.state_dir, {vault.own.authority.key_id: len(facts)})
    for service, folder in identities.items():
        identity_files.write(folder, keys[service], certificates[service], vault.authorities)
    return until


def _tell_issued(identities: Mapping[str, Path], until: datetime) -> None:
    for service, folder in identities.items():
        print(f"certificate of {service_subject(service)} until {until.isoformat(timespec='seconds')} in {folder}")


async def rotate(settings: Settings) -> None:
    """Make the next epoch seed, in use from two minutes hence."""
    async with changing_keys(settings, "rotate"):
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
                work = init(settings, {})
            case ["init", *services, "--out-root", root]:
                work = init(settings, {service: Path(root) / service for service in services})
            case ["issue", service, "--out", folder]:
                work = issue(settings, service, Path(folder))
            case ["rotate"]:
                work = rotate(settings)
            case ["keys", verb]:
                from grace_crypto_signer.key_commands import key_command  # rarely needed

                return key_command(settings, verb)
            case ["migrate"]:  # before this service has keys or an identity, so without `build`
                migrate.run(_database(settings), _MIGRATIONS)
                return None
            case _:
                raise Refused(f"unknown arguments {' '.join(arguments)!r}: {_USAGE}")
        asyncio.run(work)
    except GraceError as error:
        return str(error)
    return None


def _known_services(services: Iterable[str]) -> None:
    for service in services:
        if service not in SERVICES:
            raise Refused(f"Grace has no service {service!r}; it has {', '.join(SERVICES)}")


def _vault(settings: Settings) -> Vault:
    return key_files.load(settings.state_dir, settings.passphrase_file, settings.trust_domain)


def _database(settings: Settings) -> Database:
    return Database(settings.database_url.get_secret_value(), pool_size=2)
