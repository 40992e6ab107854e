"""A certificate authority for tests, in the shape that the crypto-signer's has."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from grace_common.contract.events.identity import CertificateIssued
from grace_common.runtime.identity import ENDED_FILE, HELD_FILE, Authorities, Workload, key_id


@dataclass
class Authority:
    """Issues workload certificates for `spiffe://grace.local/…`."""

    key: Ed25519PrivateKey = field(default_factory=Ed25519PrivateKey.generate)
    now: datetime = field(default_factory=lambda: datetime.now(UTC).replace(microsecond=0))

    def __post_init__(self) -> None:
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Grace test CA")])
        self.certificate = self._build(name, name, self.key, self.key, [])

    def issue(self, subject: str, *, days: int = 1) -> Workload:
        """Return a new key with a certificate for `service/gateway` or `producer/build-farm`."""
        return self.certify(subject, Ed25519PrivateKey.generate(), days=days)

    def certify(self, subject: str, key: Ed25519PrivateKey, *, days: int = 1) -> Workload:
        """Return a key with a certificate: of a CA that follows another, of a key which that one certified."""
        names = [x509.UniformResourceIdentifier(f"spiffe://grace.local/{subject}")]
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)])
        certificate = self._build(name, self.certificate.subject, key, self.key, names, days=days)
        return Workload(key=key, certificate=certificate, authorities=Authorities((self.certificate,)))

    def _build(
        self,
        subject: x509.Name,
        issuer: x509.Name,
        key: Ed25519PrivateKey,
        signing: Ed25519PrivateKey,
        names: Sequence[x509.GeneralName],
        days: int = 1,
    ) -> x509.Certificate:
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(self.now - timedelta(days=2))
            .not_valid_after(self.now + timedelta(days=days))
        )
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=True)
        return builder.sign(signing, None)


def certificate_issued(workload: Workload, subject: str, **changes: object) -> CertificateIssued:
    """Return the fact that states a workload's certificate."""
    stated = CertificateIssued(
        key_id=key_id(workload.key.public_key()),
        subject=subject,
        certificate=workload.certificate.public_bytes(Encoding.DER),
        not_before=workload.certificate.not_valid_before_utc,
        not_after=workload.certificate.not_valid_after_utc,
    )
    return stated.model_copy(update=changes)


def write(workload: Workload, folder: Path) -> None:
    """Write key.pem, cert.pem and the files of the CAs as `issue` does."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "key.pem").write_bytes(workload.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    (folder / "cert.pem").write_bytes(workload.certificate.public_bytes(Encoding.PEM))
    write_authorities(workload.authorities, folder)


def write_authorities(authorities: Authorities, folder: Path) -> None:
    """Write which CAs there are, as a change of the CA does: each file as a whole."""
    for name, content in ((ENDED_FILE, authorities.ended_pem), (HELD_FILE, authorities.held_pem)):
        draft = folder / f".{name}"
        draft.write_bytes(content)
        draft.replace(folder / name)
