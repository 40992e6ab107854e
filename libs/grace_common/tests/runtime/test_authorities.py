"""The CA's key replaced while a service runs: which certificates count before, meanwhile and afterwards."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding
from grace_common.contract import envelope, topics
from grace_common.contract.errors import Refused
from grace_common.contract.events.base import Event
from grace_common.runtime.identity import (
    Authorities,
    Directory,
    LivingAuthorities,
    LivingSealer,
    RevokedKey,
    UnknownKey,
    Workload,
    key_id,
)
from grace_common.runtime.seal import Outgoing, Signer
from grace_common.testing.certificates import Authority, certificate_issued, write, write_authorities
from grace_common.testing.events import enveloped

OLD, NEW = Authority(), Authority()
ONLY_OLD, ONLY_NEW = Authorities((OLD.certificate,)), Authorities((NEW.certificate,))
BOTH = Authorities((NEW.certificate, OLD.certificate))
OLD_ENDED = Authorities((NEW.certificate,), (OLD.certificate,))
SIGNER, GATEWAY = OLD.issue("service/crypto-signer"), OLD.issue("service/gateway")


class World:
    """A service whose identity folder names CAs, and its directory of certified keys."""

    def __init__(self, folder: Path, named: Authorities) -> None:
        self.folder = folder
        write(replace(GATEWAY, authorities=named), folder)
        self.directory = Directory(LivingAuthorities(folder), "grace.local")

    def name(self, named: Authorities) -> None:
        write_authorities(named, self.folder)

    def learn(self, workload: Workload, subject: str, sealing: Workload = SIGNER, **changes: object) -> None:
        key, value, headers = record(certificate_issued(workload, subject, **changes), sealing)
        self.directory.learn(key, value, headers, OLD.now)

    def verify(self, workload: Workload) -> Signer:
        headers = dict(workload.sealer().seal(Outgoing(topics.TASK.name, b"k", b"v")))
        return self.directory.verify(topics.TASK, b"k", b"v", headers, OLD.now)


def record(event: Event, sealing: Workload) -> tuple[bytes, bytes, Mapping[str, bytes]]:
    fact = enveloped(event)
    outgoing = Outgoing(topics.IDENTITY.name, fact.key, envelope.encode(fact))
    return outgoing.key, outgoing.value, dict(sealing.sealer().seal(outgoing))


def again(workload: Workload, subject: str) -> Workload:
    """The same key, certified by the new CA."""
    return NEW.certify(subject, workload.key)


@pytest.mark.parametrize(
    ("named", "counts"),
    [(ONLY_OLD, ("old",)), (BOTH, ("old", "new")), (ONLY_NEW, ("new",)), (OLD_ENDED, ("new",))],
    ids=["only the old one", "both", "only the new one", "the old one has ended"],
)
def test_a_certificate_counts_when_one_of_the_cas_that_count_issued_it(
    tmp_path: Path, named: Authorities, counts: tuple[str, ...]
) -> None:
    world, learned, refused = World(tmp_path, named), [], []
    for name, authority in (("old", OLD), ("new", NEW)):
        signer = authority.issue("service/crypto-signer")
        try:
            world.learn(signer, "service/crypto-signer", signer)
            learned.append(name)
        except Refused as error:
            refused.append(str(error))

    assert tuple(learned) == counts
    assert all("is not this CA's" in why for why in refused)


def test_a_foreign_ca_and_an_ended_one_are_told_apart(tmp_path: Path) -> None:
    world = World(tmp_path, OLD_ENDED)

    with pytest.raises(Refused, match="is not this CA's: it is of one that has ended"):
        world.learn(SIGNER, "service/crypto-signer")
    stranger = Authority().issue("service/crypto-signer")
    with pytest.raises(Refused, match="is not this CA's: it is of another"):
        world.learn(stranger, "service/crypto-signer", stranger)


def test_a_service_that_runs_learns_from_the_new_ca_as_soon_as_its_folder_names_it(tmp_path: Path) -> None:
    world = World(tmp_path, ONLY_OLD)
    world.learn(SIGNER, "service/crypto-signer")
    new = NEW.issue("service/gateway")
    with pytest.raises(Refused, match="of another"):
        world.learn(new, "service/gateway")

    world.name(BOTH)
    world.learn(new, "service/gateway")
    world.learn(GATEWAY, "service/gateway")

    assert world.verify(new).subject == world.verify(GATEWAY).subject == "service/gateway"


def test_a_key_that_both_cas_certified_goes_on_when_the_old_one_ends(tmp_path: Path) -> None:
    world = World(tmp_path, BOTH)
    world.learn(SIGNER, "service/crypto-signer")
    world.learn(GATEWAY, "service/gateway")
    world.learn(again(SIGNER, "service/crypto-signer"), "service/crypto-signer")
    world.learn(again(GATEWAY, "service/gateway"), "service/gateway")

    world.name(OLD_ENDED)
    world.directory.look()

    assert world.verify(GATEWAY).key_id == key_id(GATEWAY.key.public_key())


def test_what_the_old_ca_said_of_a_key_comes_too_late_once_the_new_one_has_certified_it(tmp_path: Path) -> None:
    world = World(tmp_path, BOTH)
    world.learn(SIGNER, "service/crypto-signer")
    world.learn(again(SIGNER, "service/crypto-signer"), "service/crypto-signer")
    world.learn(again(GATEWAY, "service/gateway"), "service/gateway")

    world.learn(GATEWAY, "service/gateway", roles=("operator",))  # read before the change, and stated after it
    world.name(OLD_ENDED)
    world.directory.look()

    assert world.verify(GATEWAY).roles == ()


def test_what_an_ended_ca_alone_certified_is_unknown_from_then_on(tmp_path: Path) -> None:
    world, stolen = World(tmp_path, BOTH), OLD.issue("service/gateway")
    world.learn(SIGNER, "service/crypto-signer")
    world.learn(again(SIGNER, "service/crypto-signer"), "service/crypto-signer")
    world.learn(stolen, "service/gateway")
    assert world.verify(stolen).subject == "service/gateway"

    world.name(OLD_ENDED)
    world.directory.look()

    with pytest.raises(UnknownKey):
        world.verify(stolen)
    with pytest.raises(Refused, match="has ended"):
        world.learn(stolen, "service/gateway")


@pytest.mark.parametrize("old_ca_says_so", [True, False], ids=["after the change", "before it"])
def test_a_revocation_outlives_the_ca_that_certified_the_key(tmp_path: Path, old_ca_says_so: bool) -> None:
    world = World(tmp_path, BOTH)
    world.learn(SIGNER, "service/crypto-signer")
    world.learn(again(SIGNER, "service/crypto-signer"), "service/crypto-signer")
    before, after = GATEWAY, again(GATEWAY, "service/gateway")

    for certified in (after, before) if old_ca_says_so else (before, after):
        world.learn(certified, "service/gateway", **({"revoked_at": OLD.now} if certified is before else {}))
    world.name(OLD_ENDED)
    world.directory.look()

    with pytest.raises(RevokedKey):
        world.verify(GATEWAY)


@pytest.mark.parametrize("spoil", ["another Grace's", "damaged", "empty", "gone"])
def test_what_is_no_successor_of_the_cas_that_were_known_leaves_them_as_they_are(tmp_path: Path, spoil: str) -> None:
    world = World(tmp_path, ONLY_OLD)
    match spoil:
        case "another Grace's":
            world.name(ONLY_NEW)
        case "gone":
            (tmp_path / "ca.pem").unlink()
        case _:
            (tmp_path / "ca.pem").write_bytes(b"" if spoil == "empty" else b"no certificate")

    world.learn(SIGNER, "service/crypto-signer")

    assert world.directory.authorities() == ONLY_OLD
    world.name(BOTH)
    assert world.directory.authorities() == BOTH


@pytest.mark.parametrize("sealed_between", [True, False])
def test_a_service_seals_on_with_a_renewed_key_after_the_ca_was_replaced(tmp_path: Path, sealed_between: bool) -> None:
    write(GATEWAY, tmp_path)
    sealer, one = LivingSealer(tmp_path, lambda _: True), Outgoing(topics.TASK.name, b"key", b"value")
    write(replace(again(GATEWAY, "service/gateway"), authorities=BOTH), tmp_path)
    if sealed_between:
        sealer.seal_batch([one])
    write_authorities(OLD_ENDED, tmp_path)
    renewed = NEW.issue("service/gateway")
    write(replace(renewed, authorities=OLD_ENDED), tmp_path)

    sealer.seal_batch([one])

    assert sealer.key_id == key_id(renewed.key.public_key())


def test_a_certificate_of_a_ca_that_its_folder_does_not_name_is_not_taken_up(tmp_path: Path) -> None:
    write(GATEWAY, tmp_path)
    sealer = LivingSealer(tmp_path, lambda _: True)
    write(replace(NEW.issue("service/gateway"), authorities=ONLY_OLD), tmp_path)

    sealer.seal_batch([Outgoing(topics.TASK.name, b"key", b"value")])

    assert sealer.key_id == key_id(GATEWAY.key.public_key())


def test_the_files_name_every_ca_there_ever_was_and_each_once(tmp_path: Path) -> None:
    write_authorities(Authorities((NEW.certificate, OLD.certificate), (OLD.certificate,)), tmp_path)

    keys = Authorities.load(tmp_path).keys

    assert keys == tuple(one.key.public_key().public_bytes_raw() for one in (NEW, OLD))


def test_a_ca_with_another_kind_of_key_is_refused(tmp_path: Path) -> None:
    key, name = generate_private_key(SECP256R1()), x509.Name([])
    other = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(OLD.now)
        .not_valid_after(OLD.now.replace(year=OLD.now.year + 1))
        .sign(OLD.key, None)
    )
    (tmp_path / "ca.pem").write_bytes(other.public_bytes(Encoding.PEM))

    with pytest.raises(Refused, match="damaged: issue it again"):
        Authorities.load(tmp_path)
