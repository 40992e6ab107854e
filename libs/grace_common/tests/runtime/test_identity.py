"""Whose seals count: what the directory learns from the identity topic, and what it lets pass."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from grace_common.contract import envelope, topics
from grace_common.contract.errors import Refused
from grace_common.contract.events.base import Event
from grace_common.contract.topics import Topic
from grace_common.runtime.identity import (
    Authorities,
    Directory,
    LivingSealer,
    RevokedKey,
    UnknownKey,
    Workload,
    WrongWriter,
    key_id,
    subject_of,
)
from grace_common.runtime.seal import KEY_ID_HEADER, SEAL_HEADER, BadSeal, Outgoing, Signer, Unsealed
from grace_common.testing.certificates import Authority, certificate_issued, write
from grace_common.testing.events import enveloped, task_submitted
from hypothesis import given, settings
from hypothesis import strategies as st


@dataclass
class World:
    """A CA, the crypto-signer's identity, and a directory that has learned nothing yet."""

    authority: Authority = field(default_factory=Authority)

    def __post_init__(self) -> None:
        self.signer = self.authority.issue("service/crypto-signer")
        self.authorities = Authorities((self.authority.certificate,))
        self.directory = Directory(lambda: self.authorities, "grace.local")

    @property
    def now(self) -> datetime:
        return self.authority.now

    def state(self, event: Event, sealing: Workload | None = None) -> tuple[bytes, bytes, Mapping[str, bytes]]:
        """A record of the identity topic, sealed by the crypto-signer unless told otherwise."""
        fact = enveloped(event)
        record = Outgoing(topics.IDENTITY.name, fact.key, envelope.encode(fact))
        return record.key, record.value, dict((sealing or self.signer).sealer().seal(record))

    def learn(self, workload: Workload, subject: str, sealing: Workload | None = None, **changes: object) -> None:
        self.directory.learn(*self.state(certificate_issued(workload, subject, **changes), sealing), self.now)

    def knowing(self, subject: str, **changes: object) -> Workload:
        """The directory knows the crypto-signer and a new workload of this subject, which is returned."""
        workload = self.authority.issue(subject)
        self.learn(self.signer, "service/crypto-signer")
        self.learn(workload, subject, **changes)
        return workload

    def verify(self, workload: Workload, topic: Topic = topics.TASK, at: datetime | None = None) -> Signer:
        record = Outgoing(topic.name, b"k", b"v")
        headers = dict(workload.sealer().seal(record))
        return self.directory.verify(topic, b"k", b"v", headers, at or self.now)


KNOWN = World()
KNOWN.learn(KNOWN.signer, "service/crypto-signer")
GATEWAY = KNOWN.authority.issue("service/gateway")


@pytest.fixture
def world() -> World:
    return World()


def test_a_certified_service_may_write_its_topic(world: World) -> None:
    gateway = world.knowing("service/gateway")

    assert world.verify(gateway) == Signer("service/gateway", key_id(gateway.key.public_key()))


def test_a_service_may_not_write_anothers_topic(world: World) -> None:
    with pytest.raises(WrongWriter, match=r"service/gateway may not write grace\.round\.v1"):
        world.verify(world.knowing("service/gateway"), topics.ROUND)


def test_an_outside_producer_writes_the_intake_alone_and_its_roles_are_known(world: World) -> None:
    farm = world.knowing("producer/build-farm", roles=("requester",))

    assert world.verify(farm, topics.INTAKE).roles == ("requester",)
    with pytest.raises(WrongWriter):
        world.verify(farm, topics.TASK)


def test_a_key_is_unknown_until_its_certificate_arrives(world: World) -> None:
    with pytest.raises(UnknownKey):
        world.verify(world.authority.issue("service/gateway"))


def test_a_revoked_key_counts_until_the_moment_of_its_revocation(world: World) -> None:
    gateway = world.knowing("service/gateway")
    world.learn(gateway, "service/gateway", revoked_at=world.now)

    assert world.verify(gateway, at=world.now - timedelta(microseconds=1)).subject == "service/gateway"
    with pytest.raises(RevokedKey, match="was revoked"):
        world.verify(gateway, at=world.now)


def test_nobody_takes_a_revocation_back(world: World) -> None:
    gateway = world.knowing("service/gateway")
    for revoked_at in (world.now, None, world.now + timedelta(hours=1)):
        world.learn(gateway, "service/gateway", revoked_at=revoked_at)

    with pytest.raises(RevokedKey, match="was revoked"):
        world.verify(gateway, at=world.now)


def test_a_revoked_crypto_signers_key_states_no_certificates_any_more(world: World) -> None:
    old, farm = world.signer, world.authority.issue("producer/build-farm")
    world.learn(old, "service/crypto-signer")
    world.signer = world.authority.issue("service/crypto-signer")
    world.learn(world.signer, "service/crypto-signer")
    world.learn(old, "service/crypto-signer", revoked_at=world.now)

    with pytest.raises(RevokedKey, match="was revoked"):
        world.learn(farm, "producer/build-farm", sealing=old)
    with pytest.raises(UnknownKey):
        world.verify(farm, topics.INTAKE)


def test_a_certificate_counts_from_its_first_to_its_last_second_by_the_brokers_time(world: World) -> None:
    gateway = world.knowing("service/gateway")
    first, last = gateway.certificate.not_valid_before_utc, gateway.certificate.not_valid_after_utc

    assert world.verify(gateway, at=first) == world.verify(gateway, at=last)
    for outside in (first - timedelta(seconds=1), last + timedelta(seconds=1)):
        with pytest.raises(RevokedKey, match="did not hold"):
            world.verify(gateway, at=outside)


def test_the_dates_of_the_certificate_count_and_not_those_that_are_stated(world: World) -> None:
    gateway = world.knowing("service/gateway", not_after=world.now + timedelta(days=9999))

    with pytest.raises(RevokedKey):
        world.verify(gateway, at=world.now + timedelta(days=30))


def test_the_certificates_name_counts_and_not_the_one_that_is_stated(world: World) -> None:
    farm = world.authority.issue("producer/build-farm")
    world.learn(world.signer, "service/crypto-signer")
    world.learn(farm, "service/gateway")

    with pytest.raises(WrongWriter, match="producer/build-farm"):
        world.verify(farm, topics.TASK)


def test_certificates_that_come_before_the_signers_own_wait_for_it(world: World) -> None:
    gateway, consensus = (world.authority.issue(f"service/{name}") for name in ("gateway", "consensus"))
    world.learn(gateway, "service/gateway")
    world.learn(consensus, "service/consensus")
    with pytest.raises(UnknownKey):
        world.verify(gateway)

    world.learn(world.signer, "service/crypto-signer")

    assert world.verify(gateway).subject == "service/gateway"
    assert world.verify(consensus, topics.DECISION).subject == "service/consensus"


def test_one_bad_certificate_costs_those_that_waited_with_it_nothing(world: World) -> None:
    gateway, consensus = (world.authority.issue(f"service/{name}") for name in ("gateway", "consensus"))
    key, value, headers = world.state(certificate_issued(gateway, "service/gateway"))
    world.directory.learn(key, value, {**headers, SEAL_HEADER: bytes(64)}, world.now)
    world.learn(consensus, "service/consensus")

    with pytest.raises(BadSeal):
        world.learn(world.signer, "service/crypto-signer")

    assert world.verify(consensus, topics.DECISION).subject == "service/consensus"
    with pytest.raises(UnknownKey):
        world.verify(gateway)


def test_only_the_crypto_signer_states_certificates(world: World) -> None:
    gateway = world.knowing("service/gateway")
    accomplice = world.authority.issue("service/consensus")

    with pytest.raises(WrongWriter, match="service/gateway may not state certificates"):
        world.learn(accomplice, "service/consensus", sealing=gateway)


def test_a_service_cannot_state_its_own_certificate(world: World) -> None:
    gateway = world.authority.issue("service/gateway")

    with pytest.raises(WrongWriter):
        world.learn(gateway, "service/gateway", sealing=gateway)


def test_a_certificate_of_another_ca_is_refused(world: World) -> None:
    stranger = Authority().issue("service/gateway")

    with pytest.raises(Refused, match="is not this CA's"):
        world.learn(stranger, "service/gateway")


def test_a_certificate_of_another_trust_domain_is_refused(world: World) -> None:
    world.directory.trust_domain = "elsewhere.example"

    with pytest.raises(Refused, match=r"spiffe://elsewhere\.example/"):
        world.learn(world.signer, "service/crypto-signer")


def test_a_certificate_without_a_name_is_refused(world: World) -> None:
    with pytest.raises(Refused, match="no subject alternative name"):
        subject_of(world.authority.certificate, "grace.local")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [({"key_id": "00" * 16}, "is not about key"), ({"certificate": b"no DER"}, "is not this CA's")],
)
def test_a_certificate_that_is_not_what_is_stated_is_refused(
    world: World, changes: dict[str, object], reason: str
) -> None:
    with pytest.raises(Refused, match=reason):
        world.learn(world.signer, "service/crypto-signer", **changes)


@pytest.mark.filterwarnings("ignore:Parsed a serial number")
@given(st.data())
@settings(max_examples=300)
def test_a_damaged_certificate_is_refused_whatever_the_damage(data: st.DataObject) -> None:
    damaged = bytearray(GATEWAY.certificate.public_bytes(Encoding.DER))
    at = data.draw(st.integers(0, len(damaged) - 1))
    damaged[at] ^= data.draw(st.integers(1, 255))
    stated = certificate_issued(GATEWAY, "service/gateway", certificate=bytes(damaged))

    with pytest.raises(Refused):
        KNOWN.directory.learn(*KNOWN.state(stated), KNOWN.now)


def test_a_certificate_whose_signature_is_written_in_another_way_is_refused() -> None:
    world = World()
    while world.signer.certificate.signature[-1] & 1:  # a last bit that is zero may be said to be unused
        world = World()
    der = bytearray(world.signer.certificate.public_bytes(Encoding.DER))
    der[-65] = 1

    with pytest.raises(Refused, match="64 whole bytes"):
        world.learn(world.signer, "service/crypto-signer", certificate=bytes(der))


def test_a_certificate_of_no_known_version_is_refused(world: World) -> None:
    der = world.signer.certificate.public_bytes(Encoding.DER)
    version = b"\xa0\x03\x02\x01"  # [0] EXPLICIT INTEGER, RFC 5280 section 4.1
    assert der.count(version + b"\x02") == 1

    with pytest.raises(Refused, match="is not this CA's"):
        world.learn(
            world.signer, "service/crypto-signer", certificate=der.replace(version + b"\x02", version + b"\x09")
        )


def test_other_facts_do_not_belong_on_the_identity_topic(world: World) -> None:
    with pytest.raises(Refused, match="TaskSubmitted does not belong"):
        world.directory.learn(*world.state(task_submitted()), world.now)


@pytest.mark.parametrize("missing", [KEY_ID_HEADER, SEAL_HEADER])
def test_a_record_without_a_seal_is_unsealed(world: World, missing: str) -> None:
    headers = {KEY_ID_HEADER: b"k", SEAL_HEADER: b"s"}
    del headers[missing]

    with pytest.raises(Unsealed, match="carries no seal"):
        world.directory.verify(topics.TASK, b"", b"", headers, world.now)


def test_a_workload_reads_what_was_issued_to_it(world: World, tmp_path: Path) -> None:
    write(world.signer, tmp_path)

    loaded = Workload.load(tmp_path)

    assert loaded.certificate == world.signer.certificate
    assert loaded.authorities.keys == (world.authority.key.public_key().public_bytes_raw(),)
    assert loaded.sealer().key_id == world.signer.sealer().key_id


@pytest.mark.parametrize("missing", ["key.pem", "cert.pem", "ca.pem"])
def test_a_missing_file_is_named_with_the_command_that_writes_it(world: World, tmp_path: Path, missing: str) -> None:
    write(world.signer, tmp_path)
    (tmp_path / missing).unlink()

    with pytest.raises(Refused, match=f"{missing} is missing: issue it with"):
        Workload.load(tmp_path)


def test_a_key_of_another_kind_is_refused(world: World, tmp_path: Path) -> None:
    write(world.signer, tmp_path)
    other = generate_private_key(SECP256R1()).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (tmp_path / "key.pem").write_bytes(other)

    with pytest.raises(Refused, match="no Ed25519 key"):
        Workload.load(tmp_path)


@pytest.mark.parametrize("damaged", ["key.pem", "cert.pem", "ca.pem"])
def test_a_damaged_file_is_refused_without_being_quoted(world: World, tmp_path: Path, damaged: str) -> None:
    write(world.signer, tmp_path)
    (tmp_path / damaged).write_bytes(b"hunter2")

    with pytest.raises(Refused, match="issue it again") as refused:
        Workload.load(tmp_path)
    assert "hunter2" not in str(refused.value)


def test_a_key_that_no_ed25519_holder_made_is_refused(world: World) -> None:
    other = generate_private_key(SECP256R1())
    name = world.authority.certificate.subject
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(other.public_key())
        .serial_number(1)
        .not_valid_before(world.now)
        .not_valid_after(world.now + timedelta(days=1))
        .sign(world.authority.key, None)
    )
    stated = certificate_issued(world.signer, "service/x", certificate=certificate.public_bytes(Encoding.DER))

    with pytest.raises(Refused, match="is not about key"):
        world.directory.learn(*world.state(stated), world.now)


def test_a_renewed_certificate_is_taken_up_with_the_next_batch(world: World, tmp_path: Path) -> None:
    first, second = world.knowing("service/gateway"), world.knowing("service/gateway")
    write(first, tmp_path)
    sealer = LivingSealer(tmp_path, lambda _: True)
    records = [Outgoing(topics.TASK.name, b"key", b"%d" % number) for number in range(3)]

    def signers() -> set[str]:
        return {
            world.directory.verify(topics.TASK, one.key, one.value, dict(headers), world.now).key_id
            for one, headers in zip(records, sealer.seal_batch(records), strict=True)
        }

    assert signers() == {key_id(first.key.public_key())}
    write(second, tmp_path)
    assert signers() == {key_id(second.key.public_key())}
    for name in ("key.pem", "cert.pem"):
        (tmp_path / name).unlink()
    assert signers() == {key_id(second.key.public_key())}


def test_another_key_seals_once_its_certificate_is_on_the_bus(world: World, tmp_path: Path) -> None:
    first, second = world.knowing("service/gateway"), world.knowing("service/gateway")
    known: set[str] = set()
    write(first, tmp_path)
    sealer = LivingSealer(tmp_path, known.__contains__)
    write(second, tmp_path)

    def sealed_with() -> str:
        sealer.seal_batch([Outgoing(topics.TASK.name, b"key", b"value")])
        return sealer.key_id

    assert [sealed_with(), sealed_with()] == [key_id(first.key.public_key())] * 2
    known.add(key_id(second.key.public_key()))
    assert sealed_with() == key_id(second.key.public_key())


@pytest.mark.parametrize("spoil", ["another CA", "another key", "another service", "damaged"])
def test_files_that_do_not_belong_together_leave_the_key_as_it_is(world: World, tmp_path: Path, spoil: str) -> None:
    first, other = world.knowing("service/gateway"), Authority().issue("service/gateway")
    write(first, tmp_path)
    sealer = LivingSealer(tmp_path, lambda _: True)
    renewed = world.knowing("service/consensus" if spoil == "another service" else "service/gateway")
    write(other if spoil == "another CA" else renewed, tmp_path)
    if spoil == "another key":
        write(replace(first, key=other.key), tmp_path)
    if spoil == "damaged":
        (tmp_path / "key.pem").write_text("no key")

    sealer.seal_batch([Outgoing(topics.TASK.name, b"key", b"value")])

    assert sealer.key_id == key_id(first.key.public_key())
