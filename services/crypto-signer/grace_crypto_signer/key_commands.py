"""The commands about keys: `python -m grace_crypto_signer keys VERB < request.json`, which answer with a JSON object.

Each is one function from settings and request to the answer, which holds no secret.
"""

import asyncio
import contextlib
import os
import secrets
import sys
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime, timedelta
from functools import wraps
from typing import Any, Final, TypeAlias

import orjson
from grace_common.contract.errors import GraceError, Refused, Unready
from grace_common.runtime.clock import SystemClock
from grace_common.runtime.database import Database
from grace_common.runtime.outage import describe_outage, is_outage
from grace_common.runtime.root_seal import LEADING, LogKeys, SealedLogKeys
from grace_common.transparency.note import VerifierKey
from grace_common.transparency.statement import key_id
from grace_common.transparency.strict import encode_base64

from grace_crypto_signer import ca_change, commands, key_change, rotation
from grace_crypto_signer import drill as drills
from grace_crypto_signer.adapters import backup_file, directory_files, key_files, log_due, log_keys, root_files
from grace_crypto_signer.adapters.backup_file import Backup
from grace_crypto_signer.adapters.certificate_store import PostgresCertificates
from grace_crypto_signer.adapters.epoch_store import PostgresEpochs
from grace_crypto_signer.adapters.sealing import KeyEncryptionKey, write_private
from grace_crypto_signer.adapters.share_files import HeldShare, split_root
from grace_crypto_signer.adapters.witness_store import PostgresWitnessMemory
from grace_crypto_signer.domain.root import Root
from grace_crypto_signer.requests import KeyRequest
from grace_crypto_signer.settings import Settings

Answer = dict[str, Any]
Verb: TypeAlias = Callable[[Settings, KeyRequest], Awaitable[Answer]]
_MADE_PASSPHRASE_BYTES: Final = 32


def alone(work: Verb) -> Verb:
    """Let a command be the only one that changes the state folder; it waits a while for another, then says Busy."""

    @wraps(work)
    async def one_at_a_time(settings: Settings, request: KeyRequest) -> Answer:
        what = " ".join(["keys", work.__name__, *([request.level] if request.level else [])])
        async with commands.changing_keys(settings, what):
            return await work(settings, request)

    return one_at_a_time


@alone
async def split(settings: Settings, request: KeyRequest) -> Answer:
    """Hand out shares of the root, check that they make it again, and take the root out of the state folder."""
    folder = request.folder
    if folder is None:
        raise Refused("the request names no folder for the shares")
    public = root_files.read_public(settings.state_dir)
    kept = None if request.shares else root_files.load(settings.state_dir, _kek(settings, request))
    root = request.open_root(public, kept)
    holders = [(holder.name, holder.passphrase.get_secret_value().encode()) for holder in request.holders]
    made = split_root(root, holders)
    there = [name for name in made.files if (folder / name).exists()]
    if there:
        raise Refused(f"{folder} holds {', '.join(there)} already: name another folder, shares are never overwritten")
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for name, data in made.files.items():
        write_private(folder / name, data)
    written = [
        HeldShare(name, (folder / name).read_bytes(), passphrase)
        for name, (_, passphrase) in zip(made.files, holders, strict=True)
    ]
    public.combine(written)  # before the root itself goes
    root_files.record_split(settings.state_dir, made)
    return {"root": public.id, "folder": str(folder), "shares": list(made.files)}


@alone
async def passphrase(settings: Settings, request: KeyRequest) -> Answer:
    """Give the key-encryption key another passphrase: the one in the request, else one made and kept in the file."""
    kek, new, file = _kek(settings, request), _made_passphrase(request), settings.passphrase_file
    draft = key_files.next_passphrase_file(file)
    if key_files.kek_by_next(settings.state_dir, file) is not None:
        draft.replace(file)  # before another one is written in its place
    if request.new_passphrase is None:
        write_private(draft, new)  # before it is needed: a crash in between must not lose it
    key_files.write_kek(settings.state_dir, kek, new)
    if request.new_passphrase is None:
        draft.replace(file)
    else:
        for kept in (file, draft):
            kept.unlink(missing_ok=True)
    return {"kek": kek.id, "kept_in": _kept_in(settings, request)}


@alone
async def backup(settings: Settings, request: KeyRequest) -> Answer:
    """Write all keys, sealed as they are, into one file that three shares open."""
    file, kek = request.need_file(), _kek(settings, request)
    database = _database(settings)
    try:
        epochs = await PostgresEpochs(database, kek).sealed()
        certificates = await PostgresCertificates(database).every()
    finally:
        await database.close()
    log = None if request.log_keys is None else SealedLogKeys.parse(request.log_keys)
    made = backup_file.make(settings.state_dir, kek, epochs, certificates, SystemClock().now(), log)
    try:
        write_private(file, made.encode())
    except OSError as error:
        raise Refused(f"{file} cannot be written: {error.strerror}; name another place") from error
    return {
        "file": str(file),
        "root": made.root.id,
        "epochs": len(epochs),
        "certificates": len(certificates),
        "log_key": log.vkeys[LEADING] if log is not None else None,
    }


async def restore(settings: Settings, request: KeyRequest) -> Answer:
    """Put the keys of a backup into an empty state folder, under a new passphrase; the log's into the audit-log's.

    A folder with keys of a log is left as it is. With the level `log` the log's keys alone are put back, or refused.
    """
    found = _backup(request)
    root = found.root.combine(request.held)
    log = None if found.log is None else log_keys.opened(found.log, root)
    if request.level == "log":
        if log is None:
            raise Refused(f"{request.file} holds no key of the log: it was made without it")
        return _restore_log(log, request)
    new = _made_passphrase(request)
    async with commands.changing_keys(settings, "keys restore"):  # what was refused until here left no folder
        kek = backup_file.restore(found, root, new, settings.state_dir, settings.trust_domain, SystemClock())
        if request.new_passphrase is None:
            write_private(settings.passphrase_file, new)
    return {
        "folder": str(settings.state_dir),
        "kek": kek.id,
        "epochs": len(found.epochs),
        "certificates": len(found.certificates),
        "kept_in": _kept_in(settings, request),
        **_restore_log_where_there_is_none(log, request),
    }


def _restore_log_where_there_is_none(log: LogKeys | None, request: KeyRequest) -> Answer:
    if log is None or request.log_folder is None:
        return {"log": "not in the backup" if log is None else "no folder named"}
    if log_keys.present(request.log_folder):
        return {"log": "left as it is"}
    return _restore_log(log, request)


def _restore_log(log: LogKeys, request: KeyRequest) -> Answer:
    if request.log_folder is None:
        raise Refused("the request names no log_folder, where the log's keys belong: the audit-log's state folder")
    log_keys.restore(request.log_folder, log)
    return {"log": "restored", "log_folder": str(request.log_folder), "log_entries": log_keys.entries(log)}


async def drill(settings: Settings, request: KeyRequest) -> Answer:
    """Show that backup and shares suffice: restore elsewhere, sign, verify, forget."""
    found = _backup(request)
    done = await asyncio.to_thread(drills.drill, found, request.held, settings.trust_domain)
    return {
        "file": str(request.file),
        "taken_at": found.made_at.isoformat(),
        "epochs": done.epochs,
        "entries_signed_and_verified": done.entries,
        "log_key": done.log_key,
        "seconds": done.seconds,
    }


async def renew(settings: Settings, request: KeyRequest) -> Answer:
    """Do what `init` does, with the keys that people open: identities near their end, rows of a restoration."""
    if request.folder is None:
        raise Refused("the request names no folder with the services' identities")
    identities = request.identities
    with contextlib.redirect_stdout(sys.stderr):  # standard output is the answer's
        await commands.init(settings, identities, _kek(settings, request))
    return {"services": sorted(identities)}


@alone
async def rotate(settings: Settings, request: KeyRequest) -> Answer:
    """Replace the key of one level; the running signer takes it up at its next look (GRACE_EPOCHS_EVERY_S)."""
    match request.level:
        case "epoch":
            database = _database(settings)
            try:
                made = await PostgresEpochs(database, _kek(settings, request)).rotate(SystemClock().now())
            finally:
                await database.close()
            return {"level": "epoch", "number": made.number, "not_before": made.not_before.isoformat()}
        case "notary" | "attestation" | "witness" as purpose:
            return await _rotate_own(settings, request, purpose)
        case "log":
            return await _rotate_log(settings, request)
        case "root":
            return await _rotate_root(settings, request)
        case "kek":
            return await _rotate_kek(settings, request)
        case "ca":
            return await ca_change.rotate(settings, *_kek_and_root(settings, request), request)
        case other:
            raise Refused(f"no level {other!r} to rotate: epoch, notary, attestation, witness, log, kek, ca, root")


@alone
async def retire(settings: Settings, request: KeyRequest) -> Answer:
    """End what goes on beside its successor: the log's older key, or the CA before the one that certifies."""
    match request.level:
        case "log":
            return await _retire_log(settings, request)
        case "ca":
            return await ca_change.retire(settings, *_kek_and_root(settings, request), request)
        case other:
            raise Refused(f"a key of level {other!r} ends when it is replaced: only `log` and `ca` are retired")


async def _rotate_own(settings: Settings, request: KeyRequest, purpose: str) -> Answer:
    kek, root = _kek_and_root(settings, request)
    made = key_files.make_key(settings.state_dir, kek, purpose, SystemClock().now().replace(microsecond=0))
    directory = commands.renew_directory(settings, kek, root)
    return {"level": purpose, "key_id": made.key_id, "directory": directory.version if directory else None}


async def _rotate_log(settings: Settings, request: KeyRequest) -> Answer:
    """List the key that shall succeed the log's in the key directory; the audit-log, which made it, reads it there."""
    if request.log_key is None:
        raise Refused(
            "the request names no log_key: make the log's next key with `python -m grace_audit_log key rotate`, which "
            "prints it as `successor`"
        )
    successor = VerifierKey.parse(request.log_key.strip())
    kek, now = _kek(settings, request), SystemClock().now().replace(microsecond=0)
    root = request.open_root(root_files.read_public(settings.state_dir), root_files.load(settings.state_dir, kek))
    vault = key_files.open_vault(settings.state_dir, kek, settings.trust_domain)
    life = timedelta(days=settings.directory_days)
    directory = directory_files.succeed_log(settings.state_dir, vault, root, successor, now, life)
    return {"level": "log", "log_key": str(successor), "directory": directory.version}


async def _retire_log(settings: Settings, request: KeyRequest) -> Answer:
    """End the log's older key in the key directory, once the witness goes by the newer one."""
    newest, older = directory_files.older_log_keys(settings.state_dir)
    kek, now = _kek(settings, request), SystemClock().now().replace(microsecond=0)
    root = request.open_root(root_files.read_public(settings.state_dir), root_files.load(settings.state_dir, kek))
    database = _database(settings)
    try:
        witnessed = await PostgresWitnessMemory(database).newest(newest.name)
    finally:
        await database.close()
    vault = key_files.open_vault(settings.state_dir, kek, settings.trust_domain)
    life = timedelta(days=settings.directory_days)
    witness_goes_by = witnessed.log_key if witnessed is not None else None
    directory = directory_files.retire_log(settings.state_dir, vault, root, witness_goes_by, now, life)
    return {
        "level": "log",
        "log_key": str(newest),
        "ended": [str(key) for key in older],
        "directory": directory.version,
    }


async def _rotate_root(settings: Settings, request: KeyRequest) -> Answer:
    """Make another root, which the one before certifies in the key directory; begun again it goes on."""
    kek = _kek(settings, request)
    public, newest = key_change.rotate_root(
        settings,
        kek,
        lambda: request.open_root(root_files.read_public(settings.state_dir), root_files.load(settings.state_dir, kek)),
    )
    return {
        "level": "root",
        "root": public.id,
        "root_key": encode_base64(public.public_key),
        "directory": newest.version if newest else None,
    }


async def _rotate_kek(settings: Settings, request: KeyRequest) -> Answer:
    """Change the key-encryption key; begun again it goes on."""
    chosen = request.new_passphrase or request.passphrase
    new = chosen.get_secret_value().encode() if chosen else None
    finished, seeds = await key_change.rotate_kek(settings, _kek(settings, request), new)
    return {"level": "kek", "kek": finished.id, "epochs": seeds}


@alone
async def directory(settings: Settings, request: KeyRequest) -> Answer:
    """Sign the next version of the public key directory where one is due, and return the newest."""
    kek = _kek(settings, request)
    root = root_files.load(settings.state_dir, kek)
    if request.shares:
        root = root_files.read_public(settings.state_dir).combine(request.held)
    commands.renew_directory(settings, kek, root)
    newest = directory_files.newest(settings.state_dir)
    assert newest is not None  # it was signed now, or there was one
    return {
        "version": newest.version,
        "expires": newest.expires,
        "root": key_id(newest.root),
        "keys": [key.as_object() for key in newest.keys],
    }


async def status(settings: Settings, request: KeyRequest) -> Answer:
    """Say which keys there are, how old and how much used, and what is due by which command, without opening any."""
    public = root_files.read_public(settings.state_dir)
    now, policy = datetime.now(UTC), settings.policy
    newest = list(public.splits.values())[-1] if public.splits else ()
    return {
        "root": public.id,
        "root_key": encode_base64(public.public_key),
        "root_opening_key": encode_base64(public.opening_key),
        "root_kept_by_the_signer": root_files.sealed_file(settings.state_dir).exists(),
        "holders": [share["holder"] for share in newest],
        "passphrase_kept_by_the_signer": settings.passphrase_file.exists(),
        "authorities": ca_change.told(settings.state_dir),
        "keys": {
            level: {
                "made_at": use.since.isoformat(),
                "age_days": (now - use.since).days,
                "uses": use.times,
                "due": policy.due(level, use, now),
                "command": rotation.command(settings, level),
            }
            for level, use in rotation.used(settings).items()
        },
        "log": _log_keys(settings),
        "log_due": due.as_object() if (due := log_due.read(settings.state_dir)) is not None else None,
    }


def _log_keys(settings: Settings) -> list[dict[str, str | None]]:
    """Return the log's keys as the newest key directory lists them, the newest last."""
    directory = directory_files.newest(settings.state_dir)
    return [
        {
            "log_key": str(VerifierKey(key.name, key.public_key)),
            "not_before": key.not_before,
            "not_after": key.not_after,
        }
        for key in (directory.of("log") if directory is not None else ())
        if key.name is not None
    ]


VERBS: Final[Mapping[str, Verb]] = {
    "split": split,
    "passphrase": passphrase,
    "backup": backup,
    "restore": restore,
    "drill": drill,
    "renew": renew,
    "rotate": rotate,
    "retire": retire,
    "directory": directory,
    "status": status,
}


def key_command(settings: Settings, verb: str) -> str | None:
    """Carry out one command on the request in standard input; return what went wrong, None when nothing did."""
    os.umask(0o077)
    try:
        work = VERBS.get(verb)
        if work is None:
            raise Refused(f"there is no command `keys {verb}`: {', '.join(VERBS)}")
        said = asyncio.run(answer(work, settings, KeyRequest.parse(sys.stdin.buffer.read())))
    except GraceError as error:
        print(orjson.dumps({"error": str(error), "passes": isinstance(error, Unready)}).decode())
        return str(error)
    print(orjson.dumps(said).decode())
    return None


async def answer(work: Verb, settings: Settings, request: KeyRequest) -> Answer:
    """Return what a command answers; raises Unready while the database is away."""
    try:
        return await work(settings, request)
    except Exception as error:
        if not is_outage(error):
            raise
        raise Unready(f"the database does not answer: {describe_outage(error)}") from error


def _kek(settings: Settings, request: KeyRequest) -> KeyEncryptionKey:
    return request.open_kek(settings.state_dir, settings.passphrase_file)


def _kek_and_root(settings: Settings, request: KeyRequest) -> tuple[KeyEncryptionKey, Root]:
    """Return both, before anything is changed; raises Refused."""
    kek = _kek(settings, request)
    kept = root_files.load(settings.state_dir, kek)
    return kek, request.open_root(root_files.read_public(settings.state_dir), kept)


def _backup(request: KeyRequest) -> Backup:
    file = request.need_file()
    try:
        return Backup.parse(file.read_bytes(), str(file))
    except OSError as error:
        raise Refused(f"{file} cannot be read: {error.strerror}") from error


def _made_passphrase(request: KeyRequest) -> bytes:
    if request.new_passphrase is not None:
        return request.new_passphrase.get_secret_value().encode()
    return secrets.token_urlsafe(_MADE_PASSPHRASE_BYTES).encode()


def _kept_in(settings: Settings, request: KeyRequest) -> str | None:
    return None if request.new_passphrase is not None else str(settings.passphrase_file)


def _database(settings: Settings) -> Database:
    return Database(settings.database_url.get_secret_value(), pool_size=2)
