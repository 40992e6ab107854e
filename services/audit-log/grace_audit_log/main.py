"""Composition root: which adapter fills which port."""

import asyncio
import json
import sys
from base64 import b64decode
from collections.abc import Awaitable, Callable, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Final

from grace_common.contract import topics
from grace_common.contract.errors import GraceError, Refused
from grace_common.runtime import migrate
from grace_common.runtime.clock import SystemClock
from grace_common.runtime.database import Database
from grace_common.runtime.identity import LivingAuthorities, LivingSealer
from grace_common.runtime.producer import SealedProducer
from grace_common.runtime.service import Service
from grace_common.runtime.stream import RecordStream

from grace_audit_log.adapters import key_backup, log_key
from grace_audit_log.adapters.announcer import KafkaAnnouncer
from grace_audit_log.adapters.ledger_store import PostgresLedgerReader, PostgresLedgerWriter
from grace_audit_log.adapters.log_key import FileLogKeys
from grace_audit_log.adapters.outside_witness import HttpWitness
from grace_audit_log.adapters.publication import FolderPublication
from grace_audit_log.domain.tree import LogIdentity
from grace_audit_log.handlers.cosigned import Cosigned, Demand, Shelf
from grace_audit_log.handlers.directories import publish_every_directory
from grace_audit_log.handlers.files import publish, publish_authority, published
from grace_audit_log.handlers.publishing import Publishing
from grace_audit_log.handlers.recent import RecentEntries
from grace_audit_log.handlers.sealing import Sealing
from grace_audit_log.handlers.succession import Succession
from grace_audit_log.handlers.witnesses import LONGEST_S, Witnesses
from grace_audit_log.settings import Settings

_MIGRATIONS: Final = Path(str(files("grace_audit_log") / "migrations"))


def build(settings: Settings | None = None) -> Service:
    """Return the audit-log with everything it needs."""
    settings = settings or Settings.load()
    database_url = settings.database_url.get_secret_value()
    log = _log_keys(settings)
    # Two connections that read: start-up must not wait for a long publication.
    reader, publishing_reader = PostgresLedgerReader(database_url), PostgresLedgerReader(database_url)
    writer = PostgresLedgerWriter(database_url, log, SystemClock())
    producer = SealedProducer(settings, LivingSealer(settings.identity_dir, lambda key_id: service.knows(key_id)))
    recent = RecentEntries(publishing_reader)
    sealing = Sealing(writer, reader, log, recent)
    publication = FolderPublication(settings.publication_dir)
    announcer = KafkaAnnouncer(producer)
    publishing = Publishing(
        sealing,
        publishing_reader,
        recent,
        publication,
        announcer,
        log,
        look_every_s=settings.publish_every_s,
    )
    shelf, demand = Shelf(publication, log), _demand(settings, log.identity())
    outside = _outside(demand, publication)
    asking = Witnesses(shelf, demand, outside, patience_s=settings.witness_timeout_s) if demand and outside else None
    cosigned = Cosigned(shelf, log, demand, asking)
    policy = settings.succession
    succession = policy and Succession(
        sealing, reader, log, announcer, SystemClock(), policy, every_s=settings.log_key_every_s
    )
    service = Service(
        settings,
        Database(database_url),
        streams=[
            RecordStream(settings.service, "ledger", (topics.SIGNATURE,), sealing, most=settings.batch, guarded=True),
            RecordStream(settings.service, "cosigned", (topics.WITNESS,), cosigned),
        ],
        background=[
            publishing.run,
            *([asking.run] if asking else []),
            *([succession.run] if succession else []),
            lambda: _held(
                *(producer.close, writer.release, reader.close, publishing_reader.close),
                *(witness.close for witness in outside.values()),
            ),
        ],
        checks={"publication": publishing.check},
        package="grace_audit_log",
    )
    return service


def _demand(settings: Settings, log: LogIdentity) -> Demand | None:
    """Return the configured witness policy; raises Refused when the file is none, or one of other logs."""
    file = settings.witness_policy
    if file is None:
        return None
    try:
        demand = Demand.of(file.read_bytes())
    except (OSError, Refused) as error:
        raise Refused(f"GRACE_WITNESS_POLICY: {file} is no witness policy: {error}") from error
    if demand.policy.logs and not set(log.keys) & set(demand.policy.logs):
        raise Refused(f"GRACE_WITNESS_POLICY: {file} lists logs, but not this one, {log.key}")
    return demand


def _outside(demand: Demand | None, publication: FolderPublication) -> dict[str, HttpWitness]:
    """Return the witnesses to which the policy gives an address; raises Refused for one that is no address."""
    if demand is None:
        return {}
    keys = demand.policy.witnesses
    return {name: HttpWitness(url, keys[name], publication, LONGEST_S) for name, url in demand.policy.urls.items()}


async def _held(*closings: Callable[[], Awaitable[None]]) -> None:
    """Close everything when the service stops, which is after its consumers have."""
    try:
        await asyncio.Event().wait()
    finally:
        for close in closings:
            await close()


async def export(settings: Settings, folder: Path) -> int:
    """Write the whole committed log to a folder as it is published; return its size.

    raises  Refused when there is no log yet, or the folder holds another one
    """
    log = _log_keys(settings).identity()
    reader = PostgresLedgerReader(settings.database_url.get_secret_value())
    try:
        newest = await reader.newest()
        if newest is None:
            raise Refused("the ledger is empty: start the audit-log first")
        target = FolderPublication(folder)
        publish_authority(target, log.ca_keys())
        shown = await publish(reader, target, log.keys, published(target, (*log.keys, *log.ended)), newest)
        await publish_every_directory(reader, target, newest.size)
    finally:
        await reader.close()
    return shown.edge.size


def command(arguments: Sequence[str]) -> str | None:
    """Carry out what the command line asks for; return what went wrong, None when nothing did."""
    try:
        settings = Settings.load()
        match arguments:
            case ["migrate"]:  # before this service has an identity, so without `build`
                migrate.run(Database(settings.database_url.get_secret_value()), _MIGRATIONS)
            case ["export", folder]:
                print(f"exported {asyncio.run(export(settings, Path(folder)))} entries to {folder}")
            case ["key", "rotate"]:
                print(json.dumps(_rotate_key(settings)))
            case ["key", "backup"]:
                print(json.dumps(_back_up_keys(settings, sys.stdin.buffer.read())))
            case _:
                raise Refused(
                    f"unknown arguments {' '.join(arguments)!r}: `migrate`, `export DIR`, `key rotate`, "
                    "`key backup`, or none to run"
                )
    except GraceError as error:
        return str(error)
    return None


def _log_keys(settings: Settings) -> FileLogKeys:
    authorities = LivingAuthorities(settings.identity_dir)
    return FileLogKeys(settings.state_dir, settings.log_origin, lambda: authorities().keys, settings.publication_dir)


def _rotate_key(settings: Settings) -> dict[str, str]:
    """Make the key that shall succeed the log's; it leads once the key directory lists it."""
    leading, successor = log_key.make_successor(settings.state_dir, settings.log_origin, settings.publication_dir)
    return {"log_key": str(leading), "successor": str(successor)}


def _back_up_keys(settings: Settings, request: bytes) -> dict[str, object]:
    """Return the log's keys, sealed to the root that the request names; None before there is a key."""
    try:
        asked = json.loads(request)
        root, opening_key = str(asked["root"]), b64decode(asked["opening_key"], validate=True)
    except (ValueError, KeyError, TypeError) as error:
        raise Refused('the request is malformed: expected {"root": ID, "opening_key": BASE64}') from error
    made = key_backup.back_up(settings.state_dir, settings.log_origin, settings.publication_dir, opening_key, root)
    return {"log_keys": None if made is None else made.as_object()}
