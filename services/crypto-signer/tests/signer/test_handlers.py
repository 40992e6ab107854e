"""Handlers with handwritten ports."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from uuid import UUID, uuid4

import pytest
from grace_common.contract import envelope
from grace_common.contract.errors import Refused
from grace_common.contract.events.identity import CertificateIssued
from grace_common.contract.events.round import TaskCompleted
from grace_common.contract.events.signature import ArtifactAttested, KeyDirectoryPublished, NotaryKeyPublished
from grace_common.contract.events.task import KeyRevocationRequested, ProducerEnrolled, TaskSubmitted
from grace_common.runtime.operation import Operation
from grace_common.runtime.router import Work
from grace_common.runtime.seal import SealedRecord, Signer
from grace_common.testing.clock import FixedClock
from grace_common.transparency.batch_signature import verify_batched
from grace_common.transparency.directory import KeyDirectory, digest_of, sign_directory
from grace_common.transparency.dsse import verify_envelope
from grace_common.transparency.statement import OperationKey, PublishedKey, Statement, read_leaf
from grace_crypto_signer.domain.certificate import Authority
from grace_crypto_signer.domain.keyring import Epoch, Keyring, Limit, RotationPolicy, SigningKey
from grace_crypto_signer.domain.notary import KEY_ENTRY, OwnKeys
from grace_crypto_signer.domain.root import Root
from grace_crypto_signer.handlers.certifying import Restating, certify, revoke
from grace_crypto_signer.handlers.notarizing import Notarizing
from grace_crypto_signer.ports import EpochUse, Ports

from .examples import FIRST, KEYRING, OWN, SECOND, TIME, MemoryUses, Stated, entries_of, private_key

SIGNER = Signer("service/gateway", "3f" * 16)


@dataclass
class MemoryCertificates:
    kept: dict[str, CertificateIssued] = field(default_factory=dict)

    async def find(self, key_id: str) -> CertificateIssued | None:
        return self.kept.get(key_id)

    async def keep(self, stated: CertificateIssued) -> None:
        self.kept[stated.key_id] = stated

    async def holding(self, at: datetime) -> Sequence[CertificateIssued]:
        return [stated for stated in self.kept.values() if stated.not_after > at]


@dataclass
class MemoryTopics:
    """Implements `Producer`; fails as often as told."""

    signed: list[bytes] = field(default_factory=list)
    identified: list[CertificateIssued] = field(default_factory=list)
    outages: int = 0

    async def sign(self, values: Sequence[bytes]) -> None:
        self._fail()
        self.signed += values

    async def identify(self, stated: Sequence[CertificateIssued]) -> None:
        self._fail()
        self.identified += stated

    def _fail(self) -> None:
        if self.outages:
            self.outages -= 1
            raise ConnectionError("the broker does not answer")


@dataclass
class HeldTopics(MemoryTopics):
    """Lets one call wait, once told to, until it is let go."""

    reached: asyncio.Event = field(default_factory=asyncio.Event)
    go: asyncio.Event = field(default_factory=asyncio.Event)
    held: bool = False

    def hold(self) -> None:
        self.held = True

    def let_go(self) -> None:
        self.go.set()

    async def sign(self, values: Sequence[bytes]) -> None:
        held, self.held = self.held, False
        if held:
            self.reached.set()
            await self.go.wait()
        await super().sign(values)


@dataclass
class MemoryEpochs:
    keyring: Keyring = KEYRING
    outages: int = 0
    loads: int = 0
    since: datetime = TIME
    operations: int = 0

    async def use(self, operations: int) -> EpochUse:
        self.operations += operations
        return EpochUse(self.keyring.newest.number, self.since, self.operations)

    async def rotate(self, now: datetime) -> Epoch:
        number = self.keyring.newest.number + 1
        made = Epoch(number, now + timedelta(minutes=2), bytes([number]) * 32)
        self.keyring, self.since, self.operations = Keyring([*self.keyring.epochs, made]), made.not_before, 0
        return made

    async def load(self) -> Keyring:
        self.loads += 1
        if self.outages:
            self.outages -= 1
            raise ConnectionError("PostgreSQL does not answer")
        return self.keyring


@dataclass
class MemoryKeys:
    """Implements `Keys`."""

    current: OwnKeys = OWN
    signed: list[bytes] = field(default_factory=list)
    renewed: list[datetime] = field(default_factory=list)

    def authority(self) -> Authority:
        return Authority.create(private_key("ca"), "grace.local", serial=1, now=TIME)

    def own(self) -> OwnKeys:
        return self.current

    def renew(self, now: datetime) -> None:
        self.renewed.append(now)

    def directories(self) -> Sequence[bytes]:
        return self.signed


POLICY = RotationPolicy({"epoch": Limit(timedelta(days=1), 100)})


def record(stated: Stated) -> SealedRecord:
    return SealedRecord(stated.topic, 0, 0, stated.key, stated.value, TIME, SIGNER)


def types(values: Sequence[bytes]) -> list[str]:
    return [entry.entry_type for entry in entries_of(values)]


def epochs_of(values: Sequence[bytes]) -> list[int]:
    statements = [read_leaf(entry.leaf.encode())[1] for entry in entries_of(values)]
    return [one.announced.epoch for one in statements if one and isinstance(one.announced, OperationKey)]


def notarizing(
    topics: MemoryTopics,
    epochs: MemoryEpochs | None = None,
    keys: MemoryKeys | None = None,
    now: datetime = TIME,
    uses: MemoryUses | None = None,
) -> Notarizing:
    return Notarizing(
        epochs or MemoryEpochs(),
        keys or MemoryKeys(),
        topics,
        FixedClock(now),
        POLICY,
        uses or MemoryUses(),
        keys_every_s=0.001,
    )


async def test_the_own_keys_come_first_and_then_every_record_in_order() -> None:
    topics, stated = MemoryTopics(), [Stated(TaskSubmitted.example(), id=uuid4()) for _ in range(120)]
    handler = notarizing(topics)
    assert await handler.start_at("grace.task.v1", 0) is None

    await handler.handle([record(one) for one in stated])
    await handler.handle([record(stated[0])])

    published, key, fact = NotaryKeyPublished.TYPE, KEY_ENTRY, TaskSubmitted.TYPE
    assert types(topics.signed) == [published, published, key, *[fact] * 121]
    assert [entry.entry_id for entry in entries_of(topics.signed)][3:] == [*(one.id for one in stated), stated[0].id]
    assert verified(topics.signed) == 121


async def test_a_statement_names_the_key_that_its_record_was_sealed_with() -> None:
    topics = MemoryTopics()

    await notarizing(topics).handle([record(Stated(TaskSubmitted.example()))])

    _, statement = read_leaf(entries_of(topics.signed)[-1].leaf.encode())
    assert statement is not None
    assert statement.sealed_with == SIGNER.key_id
    assert Statement.parse(statement.encode()) == statement


async def test_each_use_of_a_key_is_counted_for_whoever_writes_it_down() -> None:
    uses, topics = MemoryUses(), MemoryTopics()
    handler, approved = notarizing(topics, uses=uses), Stated(TaskCompleted.example(), id=uuid4(), operation=uuid4())
    operations = [Stated(TaskSubmitted.example(), id=uuid4(), operation=uuid4()) for _ in range(3)]

    await handler.handle([record(one) for one in (*operations, operations[0], approved)])

    attested = types(topics.signed).count(ArtifactAttested.TYPE)
    assert attested > 0
    assert uses.waiting == {OWN.notary.key_id: 4, OWN.attestation.key_id: attested, SIGNER.key_id: 5}


async def test_after_an_outage_the_same_records_give_the_same_entries() -> None:
    topics, other = MemoryTopics(outages=1), MemoryTopics()
    records = [record(Stated(TaskSubmitted.example()))]
    handler = notarizing(topics)
    for _ in range(2):
        try:
            await handler.handle(records)
        except ConnectionError:
            topics.outages = 0

    await notarizing(other).handle(records)

    assert topics.signed == other.signed


async def test_a_record_that_is_no_envelope_holds_up_nothing() -> None:
    topics, good = MemoryTopics(), record(Stated(TaskSubmitted.example()))
    handler = notarizing(topics)
    bad = SealedRecord(good.topic, 0, 1, good.key, b"not json", TIME, SIGNER)

    await handler.handle([bad])
    await handler.handle([bad, good, bad])

    assert types(topics.signed)[2:] == [KEY_ENTRY, TaskSubmitted.TYPE]


async def test_a_new_epoch_is_taken_in_while_running() -> None:
    topics, epochs = MemoryTopics(), MemoryEpochs(Keyring([FIRST]), outages=0)
    handler = notarizing(topics, epochs)
    await handler.refresh()
    await handler.handle([record(Stated(TaskSubmitted.example()))])
    epochs.keyring, epochs.outages, seen = KEYRING, 1, epochs.loads
    following = asyncio.create_task(handler.follow_keys())
    async with asyncio.timeout(10):
        while True:
            if epochs.loads >= seen + 3:
                break
            await asyncio.sleep(0.001)
    following.cancel()

    await handler.handle([record(Stated(TaskSubmitted.example(), time=SECOND.not_before))])

    assert epochs_of(topics.signed) == [1, 2]


async def test_what_does_not_open_any_more_leaves_what_is_in_memory_to_sign_on() -> None:
    class Closed(MemoryEpochs):
        async def use(self, operations: int) -> EpochUse:
            self.loads += 1
            raise Refused("sealed under another key")

    topics, epochs = MemoryTopics(), Closed()
    handler = notarizing(topics, epochs)
    await handler.handle([record(Stated(TaskSubmitted.example()))])
    following = asyncio.create_task(handler.follow_keys())
    await until(lambda: epochs.loads >= 4)
    following.cancel()

    await handler.handle([record(Stated(TaskSubmitted.example(), id=uuid4()))])

    assert types(topics.signed)[-1] == TaskSubmitted.TYPE


async def test_a_bug_ends_the_following() -> None:
    class Broken(MemoryEpochs):
        async def use(self, operations: int) -> EpochUse:
            raise KeyError("bug")

    with pytest.raises(KeyError):
        await notarizing(MemoryTopics(), Broken()).follow_keys()


async def test_the_next_epoch_is_made_by_count_and_by_age_under_load_and_every_entry_verifies() -> None:
    topics, epochs = MemoryTopics(), MemoryEpochs(Keyring([FIRST]))
    handler = notarizing(topics, epochs, now=TIME + timedelta(hours=1))
    for round_ in range(6):
        stated = [
            Stated(
                TaskSubmitted.example(), id=uuid4(), operation=uuid4(), time=TIME + timedelta(hours=1, minutes=round_)
            )
            for _ in range(60)
        ]
        await handler.handle([record(one) for one in stated])
        await handler.rotate_if_due()
        await handler.refresh()

    # 120 operations are 100 or more: one epoch by count, none while that one has yet to begin.
    assert [epoch.number for epoch in epochs.keyring.epochs] == [1, 2]
    assert set(epochs_of(topics.signed)) == {1, 2}
    assert verified(topics.signed) == 360

    later = notarizing(topics, epochs, now=TIME + timedelta(days=2))
    await later.rotate_if_due()
    assert [epoch.number for epoch in epochs.keyring.epochs] == [1, 2, 3]


async def test_a_new_notary_key_is_published_before_it_signs_and_old_entries_verify_still() -> None:
    topics, keys = MemoryTopics(), MemoryKeys()
    handler = notarizing(topics, keys=keys)
    await handler.handle([record(Stated(TaskSubmitted.example(), id=uuid4(), operation=uuid4())) for _ in range(5)])
    keys.current = replace(OWN, notary=SigningKey.of(private_key("next notary")))

    await handler.refresh()
    await handler.refresh()
    await handler.handle([record(Stated(TaskSubmitted.example(), id=uuid4(), operation=uuid4())) for _ in range(5)])

    assert types(topics.signed).count(NotaryKeyPublished.TYPE) == 4
    assert verified(topics.signed) == 10


async def test_each_version_of_the_key_directory_becomes_one_entry() -> None:
    root = Root(bytes(range(32)))
    first = KeyDirectory(
        1, "grace.local", TIME.isoformat(), (TIME + timedelta(days=9)).isoformat(), root.signing.public_key, None, ()
    )
    signed = sign_directory(first, [(root.signing.key_id, root.signing.sign)])
    topics, keys = MemoryTopics(), MemoryKeys(signed=[signed])
    handler = notarizing(topics, keys=keys)

    await handler.handle([record(Stated(TaskSubmitted.example()))])
    await handler.refresh()
    second = replace(first, version=2, previous=digest_of(signed))
    keys.signed.append(sign_directory(second, [(root.signing.key_id, root.signing.sign)]))
    await handler.refresh()

    stated = [one for one in entries_of(topics.signed) if one.entry_type == KeyDirectoryPublished.TYPE]
    assert [one.payload for one in stated] == [each.decode() for each in keys.signed]
    statements = [read_leaf(one.leaf.encode())[1] for one in stated]
    assert [(one.digest, one.subject) for one in statements if one is not None] == [
        (digest_of(each), str(version)) for version, each in enumerate(keys.signed, 1)
    ]
    assert verified(topics.signed) == 3


async def test_what_a_key_signed_stands_before_the_directory_that_ends_it() -> None:
    topics, keys = HeldTopics(), MemoryKeys()
    handler = notarizing(topics, keys=keys)
    await handler.handle([record(Stated(TaskSubmitted.example()))])
    topics.hold()
    batch = asyncio.create_task(handler.handle([record(Stated(TaskSubmitted.example(), id=uuid4()))]))
    async with asyncio.timeout(10):
        await topics.reached.wait()

    root = Root(bytes(range(32)))
    directory = KeyDirectory(
        1, "grace.local", TIME.isoformat(), (TIME + timedelta(days=9)).isoformat(), root.signing.public_key, None, ()
    )
    keys.signed.append(sign_directory(directory, [(root.signing.key_id, root.signing.sign)]))
    refreshing = asyncio.create_task(handler.refresh())
    for _ in range(20):
        await asyncio.sleep(0)
    topics.let_go()
    await asyncio.gather(batch, refreshing)

    assert types(topics.signed)[-2:] == [KEY_ENTRY, KeyDirectoryPublished.TYPE]


async def test_what_a_notary_signs_that_begins_twice_at_once_stands_before_the_directory_that_ends_its_key() -> None:
    topics, keys = HeldTopics(), MemoryKeys()
    handler = notarizing(topics, keys=keys)
    topics.hold()
    one = asyncio.create_task(handler.handle([record(Stated(TaskSubmitted.example()))]))
    async with asyncio.timeout(10):
        await topics.reached.wait()
    keys.current = replace(OWN, notary=SigningKey.of(private_key("next notary")))
    root = Root(bytes(range(32)))
    directory = KeyDirectory(
        1, "grace.local", TIME.isoformat(), (TIME + timedelta(days=9)).isoformat(), root.signing.public_key, None, ()
    )
    keys.signed = [sign_directory(directory, [(root.signing.key_id, root.signing.sign)])]

    another = asyncio.create_task(handler.handle([record(Stated(TaskSubmitted.example(), operation=uuid4()))]))
    for _ in range(20):  # a dead letter that is replayed while the first record waits for the broker
        await asyncio.sleep(0)
    topics.let_go()
    await asyncio.gather(one, another)
    await handler.refresh()

    assert types(topics.signed)[-2:] == [KEY_ENTRY, KeyDirectoryPublished.TYPE]
    assert types(topics.signed).count(KeyDirectoryPublished.TYPE) == 1
    assert verified(topics.signed) == 3


async def test_a_directory_that_cannot_be_read_holds_up_no_fact() -> None:
    topics = MemoryTopics()
    handler = notarizing(topics, keys=MemoryKeys(signed=[b"{}"]))

    await handler.handle([record(Stated(TaskSubmitted.example()))])

    assert verified(topics.signed) == 1


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while True:
            if condition():
                return
            await asyncio.sleep(0.001)


def verified(values: Sequence[bytes]) -> int:
    """Verify entries in their order as docs/ledger-format.md says; return how many facts there are among them."""
    authority = {OWN.authority.key_id: OWN.authority.public_key}
    notaries: dict[str, bytes] = {}
    operations: dict[str, dict[str, bytes]] = {}
    facts = 0
    for entry in entries_of(values):
        signed, statement = read_leaf(entry.leaf.encode())
        assert statement is not None
        announced = statement.announced
        if isinstance(announced, PublishedKey):
            verify_envelope(signed, authority, verify_batched)
            notaries[announced.key_id] = announced.public_key
        elif isinstance(announced, OperationKey):
            verify_envelope(signed, notaries, verify_batched)
            operations.setdefault(announced.operation_id, {})[announced.key_id] = announced.public_key
        else:
            verify_envelope(signed, operations[statement.operation_id], verify_batched)
            facts += 1
    return facts


@pytest.fixture
def ports() -> Ports:
    authority = Authority.create(private_key("ca"), "grace.local", serial=1, now=TIME)
    return Ports(lambda: authority, MemoryCertificates(), FixedClock(TIME), lambda: "own key", MemoryUses())


def work(event: ProducerEnrolled | KeyRevocationRequested, id_: UUID | None = None) -> Work:
    stated = Stated(event, id=id_ or uuid4())
    operation = Operation(
        id=uuid4(),
        name="crypto-signer.certify",
        service="crypto-signer",
        actor="olga",
        subject="build-farm",
        correlation="build-farm",
        why=event.TYPE,
        started_at=TIME,
    )
    return Work(envelope.open(stated.value), operation, SIGNER)


def enrolled(**changes: object) -> ProducerEnrolled:
    key = private_key("farm").public_key().public_bytes_raw()
    return ProducerEnrolled.example().model_copy(update={"public_key": key} | changes)


async def test_a_producer_is_certified_with_its_roles_until_the_time_that_was_set(ports: Ports) -> None:
    event, cause = enrolled(), uuid4()

    [issued] = await certify(event, ports, work(event, cause)) or []

    assert isinstance(issued, CertificateIssued)
    assert (issued.subject, issued.roles, issued.not_after) == (
        "producer/build-farm",
        ("requester",),
        event.valid_until,
    )
    assert await ports.certificates.find(issued.key_id) == issued
    assert await certify(event, ports, work(event, cause)) == [issued]


async def test_a_key_of_somebody_else_or_a_revoked_one_is_not_certified(ports: Ports) -> None:
    event = enrolled()
    [issued] = await certify(event, ports, work(event)) or []
    assert isinstance(issued, CertificateIssued)
    taken = enrolled(name="another")
    with pytest.raises(Refused, match="producer/build-farm"):
        await certify(taken, ports, work(taken))

    revocation = KeyRevocationRequested(key_id=issued.key_id, reason="lost", by="olga")
    await revoke(revocation, ports, work(revocation))

    with pytest.raises(Refused, match="revoked"):
        await certify(event, ports, work(event))


async def test_an_enrolment_that_has_ended_already_is_refused(ports: Ports) -> None:
    event = enrolled(valid_until=TIME - timedelta(days=1))

    with pytest.raises(Refused, match="before it begins"):
        await certify(event, ports, work(event))


async def test_a_revocation_states_the_key_with_the_time(ports: Ports) -> None:
    event = enrolled()
    [issued] = await certify(event, ports, work(event)) or []
    assert isinstance(issued, CertificateIssued)
    revocation = KeyRevocationRequested(key_id=issued.key_id, reason="laptop lost", by="olga")

    [revoked] = await revoke(revocation, ports, work(revocation)) or []

    assert revoked == issued.model_copy(update={"revoked_at": TIME, "reason": "laptop lost"})
    assert await revoke(revocation, ports, work(revocation)) == []


@pytest.mark.parametrize(("key_id", "why"), [("nobody's", "ever certified"), ("own key", "new one first")])
async def test_neither_an_unknown_key_nor_the_own_one_is_revoked(ports: Ports, key_id: str, why: str) -> None:
    await ports.certificates.keep(CertificateIssued.example().model_copy(update={"key_id": "own key"}))
    event = KeyRevocationRequested(key_id=key_id, reason="lost", by="olga")

    with pytest.raises(Refused, match=why):
        await revoke(event, ports, work(event))


async def test_certificates_that_hold_are_stated_again_after_an_outage_too() -> None:
    certificates, topics = MemoryCertificates(), MemoryTopics(outages=1)
    await certificates.keep(CertificateIssued.example())
    await certificates.keep(CertificateIssued.example().model_copy(update={"key_id": "old", "not_after": TIME}))
    loop = asyncio.create_task(Restating(certificates, topics, FixedClock(TIME), asyncio.Event(), every_s=0.001).run())
    async with asyncio.timeout(10):
        while True:
            if len(topics.identified) >= 2:
                break
            await asyncio.sleep(0.001)
    loop.cancel()

    assert {one.key_id for one in topics.identified} == {"3f2a"}


async def test_certificates_are_stated_again_at_once_when_the_broker_has_lost_them() -> None:
    certificates, topics, lost = MemoryCertificates(), MemoryTopics(), asyncio.Event()
    await certificates.keep(CertificateIssued.example())
    loop = asyncio.create_task(Restating(certificates, topics, FixedClock(TIME), lost, every_s=3600).run())
    async with asyncio.timeout(10):
        while True:
            if len(topics.identified) >= 3:
                break
            lost.set()
            await asyncio.sleep(0.001)
    loop.cancel()

    assert len(topics.identified) >= 3


async def test_a_revocation_in_the_midst_of_restating_is_the_last_word() -> None:
    certificates = MemoryCertificates()
    revoked = CertificateIssued.example().model_copy(update={"revoked_at": TIME})
    await certificates.keep(CertificateIssued.example())

    class Meanwhile(MemoryTopics):
        async def identify(self, stated: Sequence[CertificateIssued]) -> None:
            await certificates.keep(revoked)
            await super().identify(stated)

    topics = Meanwhile()
    await Restating(certificates, topics, FixedClock(TIME), asyncio.Event(), every_s=1).restate()

    assert topics.identified == [CertificateIssued.example(), revoked]


async def test_a_bug_ends_the_restating() -> None:
    class Broken(MemoryCertificates):
        async def holding(self, at: datetime) -> Sequence[CertificateIssued]:
            raise KeyError("bug")

    with pytest.raises(KeyError):
        await Restating(Broken(), MemoryTopics(), FixedClock(TIME), asyncio.Event(), every_s=0.001).run()
