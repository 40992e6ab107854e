"""Composition root: which adapter fills which port."""

import asyncio
from functools import partial

from grace_common.contract.topics import LEDGER, TOPICS
from grace_common.runtime import telemetry
from grace_common.runtime.clock import SystemClock
from grace_common.runtime.database import Database
from grace_common.runtime.identity import LivingSealer
from grace_common.runtime.producer import SealedProducer
from grace_common.runtime.service import Service
from grace_common.runtime.stream import RecordStream
from grace_common.transparency.note import VerifierKey

from grace_crypto_signer.adapters import key_files
from grace_crypto_signer.adapters.certificate_store import PostgresCertificates
from grace_crypto_signer.adapters.epoch_store import PostgresEpochs
from grace_crypto_signer.adapters.key_uses import KeyUses
from grace_crypto_signer.adapters.keystore import FileKeys
from grace_crypto_signer.adapters.producer import KafkaProducer
from grace_crypto_signer.adapters.published_log import PublishedLog
from grace_crypto_signer.adapters.sealing import KeyEncryptionKey, LiveKek
from grace_crypto_signer.adapters.witness_store import PostgresWitnessMemory
from grace_crypto_signer.handlers.announcements import Announcements
from grace_crypto_signer.handlers.certifying import Restating, router
from grace_crypto_signer.handlers.notarizing import Notarizing
from grace_crypto_signer.handlers.rotating import Rotating
from grace_crypto_signer.handlers.succession import LogSuccession
from grace_crypto_signer.handlers.witnessing import Witnessing
from grace_crypto_signer.ports import Ports
from grace_crypto_signer.rotation import FileRotation, issue_apart
from grace_crypto_signer.sealed import unsealed
from grace_crypto_signer.settings import Settings


def build(settings: Settings | None = None) -> Service:
    """Return the crypto-signer with everything it needs; when it starts sealed, after it was unsealed."""
    settings = settings or Settings.load()
    if settings.sealed:
        telemetry.configure(settings.service, settings.log_level, settings.secrets)
        return compose(settings, asyncio.run(unsealed(settings)))
    return compose(settings, key_files.open_kek(settings.state_dir, settings.passphrase_file))


def compose(settings: Settings, opened: KeyEncryptionKey) -> Service:
    """Return the crypto-signer with the keys that this one opens."""
    reopen = None if settings.sealed else partial(key_files.open_kek, settings.state_dir, settings.passphrase_file)
    kek = LiveKek(opened, reopen)
    keys = FileKeys(settings, kek)
    clock = SystemClock()
    keys.own()  # what does not open is told before anything is begun
    keys.begin(clock.now())
    sealer = LivingSealer(settings.identity_dir, lambda key_id: service.knows(key_id))
    database = Database(settings.database_url.get_secret_value(), pool_size=settings.database_pool)
    certificates = PostgresCertificates(database)
    uses = KeyUses(settings.state_dir)
    # Two producers: the notary's batches need not wait for what is rare, nor fail with it.
    notary_producer, rare_producer = (SealedProducer(settings, sealer) for _ in range(2))
    notarizing = Notarizing(
        PostgresEpochs(database, kek),
        keys,
        KafkaProducer(notary_producer),
        clock,
        settings.policy,
        uses,
        keys_every_s=settings.epochs_every_s,
    )
    rotation = FileRotation(settings, kek, issue_apart)
    rotating = Rotating(rotation, uses, clock, settings.policy, every_s=settings.epochs_every_s)
    lost = asyncio.Event()
    restating = Restating(certificates, KafkaProducer(rare_producer), clock, lost, every_s=settings.restate_every_s)
    memory = PostgresWitnessMemory(database)
    succession = LogSuccession(keys, memory, clock)
    witnessing = Witnessing(
        memory,
        PublishedLog(settings.publication_dir),
        KafkaProducer(rare_producer),
        f"{settings.trust_domain}/witness",
        keys.witness,
        keys.log_keys,
        clock,
        uses,
        log_key=None if settings.witnessed_log is None else VerifierKey.parse(settings.witnessed_log),
        every_s=settings.witness_every_s,
    )
    announcements = Announcements(witnessing, succession)
    notarized = tuple(topic for topic in TOPICS if topic.notarized)
    service = Service(
        settings,
        database,
        ports=Ports(keys.authority, certificates, clock, lambda: sealer.key_id, uses),
        routers=[router],
        streams=[
            RecordStream(settings.service, "notary", notarized, notarizing, most=settings.batch),
            RecordStream(settings.service, "witness", (LEDGER,), announcements, wait_s=settings.witness_every_s / 2),
        ],
        background=[
            notarizing.follow_keys,
            rotating.run,
            restating.run,
            witnessing.run,
            succession.run,
            lambda: _held(notary_producer, rare_producer),
        ],
        checks={"witness": witnessing.check},
        identity_emptied=lost,
        package="grace_crypto_signer",
    )
    return service


async def _held(*producers: SealedProducer) -> None:
    """Close the producers when the service stops, which is after its consumers have."""
    try:
        await asyncio.Event().wait()
    finally:
        for producer in producers:
            await producer.close()
