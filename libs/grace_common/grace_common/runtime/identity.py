"""Who this process is, and who else may seal records.

The workload's key, certificate and the CAs' certificates are files written at deployment. Everybody else's certificates
arrive on the compacted topic `grace.identity.v1`, which every service follows from its beginning.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import Final, Self

import structlog
from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from grace_common.contract import envelope, topics
from grace_common.contract.errors import Refused, Unready
from grace_common.contract.events.identity import CertificateIssued
from grace_common.contract.topics import Topic
from grace_common.runtime.seal import (
    KEY_ID_HEADER,
    SEAL_HEADER,
    BadSeal,
    Headers,
    Outgoing,
    SealCheck,
    Sealer,
    Signer,
    Unsealed,
)

# All that bytes which are no certificate of ours make the library raise: found by changing bytes of a good one.
_MALFORMED: Final = (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm, x509.InvalidVersion)

_log = structlog.get_logger(__name__)
HELD_FILE: Final = "ca.pem"
ENDED_FILE: Final = "ca-ended.pem"
_WHOLE_BYTES: Final = b"\x03\x41\x00"  # BIT STRING of 65 bytes, no bit of them unused (X.690, section 8.6)


class RevokedKey(Refused):
    """The seal's key was revoked before the broker took the record, or its certificate did not hold then."""


class WrongWriter(Refused):
    """The seal is good, but its maker may not write this topic."""


def key_id(public_key: Ed25519PublicKey) -> str:
    """Return the key's id: the first 16 bytes of SHA-256 over its 32 raw bytes, in hex."""
    return sha256(public_key.public_bytes(Encoding.Raw, PublicFormat.Raw)).hexdigest()[:32]


def subject_of(certificate: x509.Certificate, trust_domain: str) -> str:
    """Return `service/gateway` for the URI name `spiffe://<trust domain>/service/gateway`."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound as error:
        raise Refused("the certificate has no subject alternative name") from error
    uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    prefix = f"spiffe://{trust_domain}/"
    if len(uris) != 1 or not uris[0].startswith(prefix):
        raise Refused(f"the certificate names {uris}, expected one URI that begins with {prefix}")
    return uris[0].removeprefix(prefix)


@dataclass(frozen=True, slots=True)
class Authorities:
    """Grace's CAs by their certificates, the newest first.

    held   whose certificates count: one, or two while the CA's key is replaced
    ended  those before: what they certified counts no more, what the ledger has of them verifies for ever
    """

    held: tuple[x509.Certificate, ...]
    ended: tuple[x509.Certificate, ...] = ()

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read `ca.pem` and, where there is one, `ca-ended.pem`; raises Refused."""
        with _read_from(folder):
            # In this order: a CA that ends is written to the second file before it leaves the first.
            held = (folder / HELD_FILE).read_bytes()
            return cls.parse(held, ended.read_bytes() if (ended := folder / ENDED_FILE).exists() else b"")

    @classmethod
    def parse(cls, held: bytes, ended: bytes = b"") -> Self:
        """Return the CAs of two PEM files, the second of which may be empty; raises ValueError."""
        read = cls(
            tuple(x509.load_pem_x509_certificates(held)), tuple(x509.load_pem_x509_certificates(ended)) if ended else ()
        )
        if not all(isinstance(one.public_key(), Ed25519PublicKey) for one in (*read.held, *read.ended)):
            raise ValueError("a CA's key is no Ed25519 key")
        return read

    @property
    def held_pem(self) -> bytes:
        """The bytes of `ca.pem`."""
        return b"".join(one.public_bytes(Encoding.PEM) for one in self.held)

    @property
    def ended_pem(self) -> bytes:
        """The bytes of `ca-ended.pem`."""
        return b"".join(one.public_bytes(Encoding.PEM) for one in self.ended)

    @property
    def held_keys(self) -> tuple[bytes, ...]:
        """The public keys of those whose certificates count, 32 raw bytes each."""
        return tuple(_raw_key(one) for one in self.held)

    @property
    def keys(self) -> tuple[bytes, ...]:
        """The public key of every CA there ever was, 32 raw bytes each."""
        return tuple(dict.fromkeys((*self.held_keys, *(_raw_key(one) for one in self.ended))))

    def issuer_of(self, certificate: x509.Certificate) -> bytes | None:
        """Return the public key of the CA that issued a certificate; None where none did whose certificates count."""
        return _issuer(certificate, self.held)

    def has_ended(self, certificate: x509.Certificate) -> bool:
        """Tell whether a CA issued it whose certificates count no more."""
        return _issuer(certificate, self.ended) is not None

    def continues(self, before: "Authorities") -> bool:
        """Tell whether these are the same Grace's CAs as those before: one of them is named here still, or as ended."""
        return not set(before.held_keys).isdisjoint(self.keys)


class LivingAuthorities:
    """The CAs that an identity folder names now: the CA's key is replaced while the process runs.

    A look costs one `stat`. What is damaged, or another Grace's, is not taken up.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._seen = _stamp(folder / HELD_FILE)
        self._known = Authorities.load(folder)

    def __call__(self) -> Authorities:
        stamp = _stamp(self._folder / HELD_FILE)
        if stamp is not None and stamp != self._seen:
            self._seen = stamp
            self._take_up()
        return self._known

    def _take_up(self) -> None:
        try:
            new = Authorities.load(self._folder)
        except (Refused, OSError) as error:
            _log.warning("authorities_not_taken_up", why=str(error))
            return
        if not new.continues(self._known):
            why = (
                f"{self._folder / HELD_FILE} names no CA that was known before: it is another Grace's. Put back the "
                "files that `python -m grace_crypto_signer issue` wrote, or restart the service to trust these"
            )
            _log.warning("authorities_not_taken_up", why=why)
            return
        self._known = new
        _log.info("authorities_taken_up", held=len(new.held), ended=len(new.ended))


@dataclass(frozen=True)
class Workload:
    """This process's own identity, read from `key.pem`, `cert.pem` and the files of the CAs."""

    key: Ed25519PrivateKey
    certificate: x509.Certificate
    authorities: Authorities

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read the files; Refused says which is missing and which command writes it."""
        with _read_from(folder):
            key = load_pem_private_key((folder / "key.pem").read_bytes(), password=None)
            certificate = x509.load_pem_x509_certificate((folder / "cert.pem").read_bytes())
        authorities = Authorities.load(folder)
        if not isinstance(key, Ed25519PrivateKey):
            raise Refused(f"{folder}/key.pem holds no Ed25519 key")
        return cls(key=key, certificate=certificate, authorities=authorities)

    def sealer(self) -> Sealer:
        return Sealer(self.key, key_id(self.key.public_key()))


@contextmanager
def _read_from(folder: Path) -> Iterator[None]:
    """Say of a file that is missing or damaged which command writes it."""
    try:
        yield
    except FileNotFoundError as error:
        raise Refused(
            f"{error.filename} is missing: issue it with `python -m grace_crypto_signer issue SERVICE --out {folder}`"
        ) from error
    except (ValueError, TypeError):
        # Without the cause: it must not quote a key.
        raise Refused(f"a PEM file in {folder} is damaged: issue it again") from None


def _stamp(file: Path) -> tuple[int, int] | None:
    """Return what changes whenever a file is replaced; None while it cannot be seen."""
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns


def _raw_key(certificate: x509.Certificate) -> bytes:
    return certificate.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)


def _issuer(certificate: x509.Certificate, authorities: Iterable[x509.Certificate]) -> bytes | None:
    for authority in authorities:
        try:
            certificate.verify_directly_issued_by(authority)
        except _MALFORMED:
            continue
        return _raw_key(authority)
    return None


class LivingSealer(Sealer):
    """Seals with the key that the workload's files hold now: `issue` replaces them while the process runs.

    Looked at before each batch, which costs one `stat`: the certificate is written last, so once it has changed all
    files are there. What does not belong together, or to these CAs and this service, leaves the key as it is. Another
    key seals once its certificate is on the bus: what it sealed before, nobody there could check.

    knows  tells whether a key, by its id, is known from the bus
    """

    def __init__(self, folder: Path, knows: Callable[[str], bool]) -> None:
        self._folder = folder
        self._knows = knows
        self._seen = _stamp(folder / "cert.pem")
        self._waiting: str | None = None  # the key that was said to wait
        workload = Workload.load(folder)
        self._authorities, self._subject = workload.authorities, workload.certificate.subject
        super().__init__(workload.key, key_id(workload.key.public_key()))

    def seal_batch(self, records: Sequence[Outgoing]) -> list[Headers]:
        stamp = _stamp(self._folder / "cert.pem")
        if stamp is not None and stamp != self._seen and self._take_up():
            self._seen = stamp
        return super().seal_batch(records)

    def _take_up(self) -> bool:
        """Take up what the files hold; return whether that is done with, and not to be tried again."""
        try:
            new = Workload.load(self._folder)
        except (Refused, OSError) as error:
            _log.warning("certificate_not_taken_up", why=str(error))
            return True
        known = new.authorities.continues(self._authorities) and new.authorities.issuer_of(new.certificate) is not None
        same = known and new.certificate.subject == self._subject
        if not same or new.certificate.public_key() != new.key.public_key():
            why = f"the files in {self._folder} are another CA's or service's, or do not belong together"
            _log.warning("certificate_not_taken_up", why=why)
            return True
        found = key_id(new.key.public_key())
        if found != self.key_id and not self._knows(found):
            if found != self._waiting:
                _log.info(
                    "certificate_waits", key_id=found, why="it is not on the bus yet: the key before goes on sealing"
                )
            self._waiting = found
            return False
        self._authorities = new.authorities
        self._key, self.key_id = new.key, found
        _log.info("certificate_taken_up", key_id=self.key_id, until=new.certificate.not_valid_after_utc.isoformat())
        return True


@dataclass(frozen=True, slots=True)
class Certified:
    """One certified key as the identity topic states it; `issuer` is the CA's public key."""

    signer: Signer
    issuer: bytes
    public_key: Ed25519PublicKey
    not_before: datetime
    not_after: datetime
    revoked_at: datetime | None

    def require_held(self, at: datetime) -> None:
        """Raise RevokedKey when the key was revoked by then, or its certificate did not hold."""
        if self.revoked_at is not None and at >= self.revoked_at:
            raise RevokedKey(f"key {self.signer.key_id} of {self.signer.subject} was revoked")
        if not self.not_before <= at <= self.not_after:
            raise RevokedKey(
                f"the certificate of key {self.signer.key_id} did not hold when the broker took the record"
            )

    def withdrawn_as(self, known: "Certified") -> "Certified":
        """Return this, revoked when what was known of the key before is: nobody takes a revocation back."""
        times = [at for at in (self.revoked_at, known.revoked_at) if at is not None]
        return replace(self, revoked_at=min(times, default=None))


@dataclass
class Directory:
    """Every certified key by id, and the check of a record's seal against them.

    authorities  returns the CAs as they are now
    """

    authorities: Callable[[], Authorities]
    trust_domain: str
    keys: dict[str, Certified] = field(default_factory=dict)
    _waiting: list[tuple[bytes, bytes, Mapping[str, bytes], datetime]] = field(default_factory=list)
    _check: SealCheck = field(default_factory=SealCheck)

    def __post_init__(self) -> None:
        self._now = self.authorities()

    def look(self) -> None:
        """Take up which CAs hold now; a key that only one certified which has ended is known no more."""
        now = self.authorities()
        if now == self._now:
            return
        self._now = now
        self.keys = {id_: certified for id_, certified in self.keys.items() if certified.issuer in now.held_keys}

    def learn(self, key: bytes, value: bytes, headers: Mapping[str, bytes], timestamp: datetime) -> None:
        """Take one record of the identity topic; those whose sealing key is not known yet wait for it.

        timestamp  the broker's time of the record
        raises     Refused when the record is no certificate of this CA, or not sealed by the crypto-signer with a key
                   that held then
        """
        self.look()  # whoever states a new CA's certificate has written that CA to every folder before
        sealing_key = _header_key_id(headers)
        stated = envelope.open(value).event
        if not isinstance(stated, CertificateIssued):
            raise Refused(f"{type(stated).__name__} does not belong on {topics.IDENTITY}")
        certified = self._certify(stated)
        # The crypto-signer's own certificate comes sealed with the very key that it certifies.
        sealer = self.keys.get(sealing_key) or (certified if stated.key_id == sealing_key else None)
        if sealer is None:
            self._waiting.append((key, value, headers, timestamp))
            return
        if sealer.signer.subject != f"service/{topics.CRYPTO_SIGNER}":
            raise WrongWriter(f"{sealer.signer.subject} may not state certificates")
        sealer.require_held(timestamp)
        self._check.check(topics.IDENTITY.name, key, value, headers, sealer.public_key, sealing_key)
        known = self.keys.get(stated.key_id)
        self.keys[stated.key_id] = certified if known is None else self._succeeded(known, certified)
        waiting, self._waiting = self._waiting, []
        refused: Refused | None = None
        for record in waiting:
            try:
                self.learn(*record)
            except Refused as error:  # one bad record must not cost those that waited with it
                refused = error
        if refused is not None:
            raise refused

    def verify(
        self, topic: Topic, key: bytes, value: bytes, headers: Mapping[str, bytes], timestamp: datetime
    ) -> Signer:
        """Return who sealed a record.

        raises  Unsealed, BadSeal, RevokedKey, WrongWriter: the record has no effect
                UnknownKey: no certificate is known yet; catch up with the identity topic and ask again
        """
        sealing_key = _header_key_id(headers)
        certified = self.keys.get(sealing_key)
        if certified is None:
            raise UnknownKey(f"no certificate of key {sealing_key} is known")
        certified.require_held(timestamp)
        if certified.signer.principal not in topic.writers:
            raise WrongWriter(f"{certified.signer.subject} may not write {topic}")
        self._check.check(topic.name, key, value, headers, certified.public_key, sealing_key)
        return certified.signer

    def _succeeded(self, known: Certified, new: Certified) -> Certified:
        """Return what counts of two statements about one key; an older CA's changes nothing, unless it revokes."""
        rank = self._now.held_keys.index
        if rank(known.issuer) < rank(new.issuer):
            return known.withdrawn_as(new)
        return new.withdrawn_as(known)

    def _certify(self, stated: CertificateIssued) -> Certified:
        try:
            certificate = x509.load_der_x509_certificate(stated.certificate)
            issuer = self._now.issuer_of(certificate)
        except _MALFORMED as error:
            raise Refused(f"the certificate of key {stated.key_id} is not this CA's: {error}") from error
        if issuer is None:
            why = "it is of one that has ended" if self._now.has_ended(certificate) else "it is of another"
            raise Refused(f"the certificate of key {stated.key_id} is not this CA's: {why}")
        if not stated.certificate.endswith(_WHOLE_BYTES + certificate.signature):
            # Unused bits of a BIT STRING are ignored where they are zero: one certificate, but not the same bytes.
            raise Refused(f"the certificate of key {stated.key_id} does not end with its signature's 64 whole bytes")
        public_key = certificate.public_key()
        if not isinstance(public_key, Ed25519PublicKey) or key_id(public_key) != stated.key_id:
            raise Refused(f"the certificate is not about key {stated.key_id}")
        subject = subject_of(certificate, self.trust_domain)
        return Certified(
            signer=Signer(subject=subject, key_id=stated.key_id, roles=stated.roles),
            issuer=issuer,
            public_key=public_key,
            not_before=certificate.not_valid_before_utc,
            not_after=certificate.not_valid_after_utc,
            revoked_at=stated.revoked_at,
        )


class UnknownKey(Unready):
    """The identity topic has not (yet) shown this key."""


def _header_key_id(headers: Mapping[str, bytes]) -> str:
    if SEAL_HEADER not in headers or KEY_ID_HEADER not in headers:
        raise Unsealed(f"the record carries no seal (headers {SEAL_HEADER} and {KEY_ID_HEADER})")
    try:
        return headers[KEY_ID_HEADER].decode("ascii")
    except UnicodeDecodeError as error:
        raise BadSeal("the seal's key id is not ASCII") from error
