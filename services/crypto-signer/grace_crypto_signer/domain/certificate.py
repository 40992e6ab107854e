"""Grace's certificate authority: X.509 with Ed25519, one URI name each (SPIFFE style)."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Final
from uuid import NAMESPACE_URL, uuid5

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from grace_common.contract import topics
from grace_common.contract.envelope import Envelope
from grace_common.contract.errors import Refused
from grace_common.contract.events.identity import CertificateIssued
from grace_common.transparency.statement import key_id

AUTHORITY_LIFE: Final = timedelta(days=3650)
WORKLOAD_LIFE: Final = timedelta(days=30)
_PURPOSES: Final = (ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH)
_CLOCK_SKEW: Final = timedelta(minutes=5)  # the broker's clock decides whether a certificate holds


@dataclass(frozen=True)
class Authority:
    """The CA's key and self-signed certificate."""

    key: Ed25519PrivateKey = field(repr=False)
    certificate: x509.Certificate
    trust_domain: str

    @property
    def key_id(self) -> str:
        return key_id(self.key.public_key().public_bytes_raw())

    @classmethod
    def create(cls, key: Ed25519PrivateKey, trust_domain: str, *, serial: int, now: datetime) -> "Authority":
        """Return a CA with a self-signed certificate."""
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"Grace CA of {trust_domain}")])
        certificate = (
            _builder(name, name, key.public_key(), serial, now, now + AUTHORITY_LIFE)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(certificates=True), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .sign(key, None)
        )
        return cls(key, certificate, trust_domain)

    def issue(
        self, subject: str, public_key: Ed25519PublicKey, *, serial: int, now: datetime, until: datetime
    ) -> x509.Certificate:
        """Return the certificate of `service/gateway` or `producer/build-farm`.

        raises  Refused when it would end before it begins, or after the CA's own
        """
        if not now < until <= self.certificate.not_valid_after_utc:
            raise Refused(
                f"a certificate until {until.isoformat()} would end before it begins, or outlive the CA's "
                f"({self.certificate.not_valid_after_utc.isoformat()})"
            )
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject.replace("/", " "))])
        uri = x509.UniformResourceIdentifier(f"spiffe://{self.trust_domain}/{subject}")
        return (
            _builder(name, self.certificate.subject, public_key, serial, now, until)
            .add_extension(x509.SubjectAlternativeName([uri]), critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(certificates=False), critical=True)
            .add_extension(
                x509.ExtendedKeyUsage(_PURPOSES),
                critical=False,
            )
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), critical=False)
            .sign(self.key, None)
        )

    def certify_again(self, certificate: x509.Certificate) -> x509.Certificate:
        """Return what another CA certified, certified by this one: the same key, name and time, a serial of its own.

        So the key's holder goes on with it, and whatever it sealed before stays sealed by who it was. Asked again, it
        returns the same certificate.

        raises  Refused when it would outlive the CA's own
        """
        if certificate.not_valid_after_utc > self.certificate.not_valid_after_utc:
            raise Refused(
                f"the certificate of {certificate.subject.rfc4514_string()} would outlive the CA's "
                f"({self.certificate.not_valid_after_utc.isoformat()})"
            )
        mine = x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key())
        once = f"grace-certificate:{self.key_id}|{certificate.serial_number}"
        builder = (
            x509.CertificateBuilder()
            .subject_name(certificate.subject)
            .issuer_name(self.certificate.subject)
            .public_key(certificate.public_key())
            .serial_number(uuid5(NAMESPACE_URL, once).int)
            .not_valid_before(certificate.not_valid_before_utc)
            .not_valid_after(certificate.not_valid_after_utc)
        )
        for extension in certificate.extensions:
            ours = isinstance(extension.value, x509.AuthorityKeyIdentifier)
            builder = builder.add_extension(mine if ours else extension.value, critical=extension.critical)
        return builder.sign(self.key, None)


def service_subject(service: str) -> str:
    """Return the name by which a service is certified."""
    return f"service/{service}"


def lasts(certificate: x509.Certificate, now: datetime) -> bool:
    """Tell whether a certificate holds now and has more than a third of its life left: else it is time for the next."""
    begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    return begin <= now and end - now > (end - begin) / 3


def stated(certificate: x509.Certificate, subject: str, roles: tuple[str, ...] = ()) -> CertificateIssued:
    """Return the fact that states a certificate."""
    public_key = certificate.public_key()
    if not isinstance(public_key, Ed25519PublicKey):
        raise Refused("only Ed25519 keys are certified")
    return CertificateIssued(
        key_id=key_id(public_key.public_bytes_raw()),
        subject=subject,
        certificate=certificate.public_bytes(Encoding.DER),
        not_before=certificate.not_valid_before_utc,
        not_after=certificate.not_valid_after_utc,
        roles=roles,
    )


def identified(stated: CertificateIssued) -> Envelope:
    """Return the envelope of a certificate; its id and time derive from what it states."""
    operation = uuid5(NAMESPACE_URL, f"grace-key:{stated.key_id}")
    digest = sha256(stated.certificate).hexdigest()  # one key may be certified again, by another CA
    return Envelope(
        id=uuid5(operation, f"{stated.TYPE}#{stated.revoked_at.isoformat() if stated.revoked_at else ''}#{digest}"),
        source=f"/grace/{topics.CRYPTO_SIGNER}",
        time=stated.revoked_at or stated.not_before,
        correlation=stated.key_id,
        causation=None,
        operation=operation,
        actor=topics.CRYPTO_SIGNER,
        traceparent=None,
        event=stated,
    )


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    public_key: Ed25519PublicKey,
    serial: int,
    now: datetime,
    until: datetime,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(serial)
        .not_valid_before(now - _CLOCK_SKEW)
        .not_valid_after(until)
    )


def _usage(*, certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not certificates,
        key_cert_sign=certificates,
        crl_sign=certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
