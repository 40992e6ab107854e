"""The crypto-signer's table of certificates: each row as its certificate, the CA and the ledger's entries say."""

import json
from base64 import urlsafe_b64decode
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from grace_common.contract import topics
from grace_common.contract.events.task import KeyRevocationRequested, ProducerEnrolled
from grace_common.transparency.statement import key_id

from grace_cli.verifying.database_log import DatabaseLog
from grace_cli.verifying.faults import Fault

if TYPE_CHECKING:
    import asyncpg

SCHEMA: Final = "crypto_signer"
_PRODUCER: Final = "producer/"


@dataclass(frozen=True, slots=True)
class Asked:
    """What entries of the ledger say of keys, by key id; `complete` unless the content of one of them was redacted.

    roles        of each enrolled producer's key, as any of its enrolments has them, and the entry that says so
    revocations  reasons given, and the entry
    """

    roles: dict[str, list[tuple[list[str], int]]] = field(default_factory=dict)
    revocations: dict[str, list[tuple[str, int]]] = field(default_factory=dict)
    complete: bool = True


def check_certificates(
    ledger: DatabaseLog, signer: DatabaseLog, authority: Mapping[bytes, int | None], schema: str = SCHEMA
) -> list[Fault]:
    """Return what is wrong with the certificates that a signer's table holds.

    ledger     the audit-log's tables, read first: what they ask for the signer has done by now
    authority  the CAs' public keys; of one that has ended, the entry that names the key directory which says so: by
               then the next one had certified every key again
    """
    asked = _asked(ledger)
    faults: list[Fault] = []
    for row in signer.rows(f"SELECT * FROM {schema}.certificate ORDER BY key_id"):
        what = f"the certificate of {row['key_id']} ({row['subject']})"
        faults += [Fault(index, f"{what}: {text}") for index, text in _row_faults(row, asked, authority)]
    return faults


def _asked(ledger: DatabaseLog) -> Asked:
    roles: dict[str, list[tuple[list[str], int]]] = {}
    revocations: dict[str, list[tuple[str, int]]] = {}
    complete = True
    for row in ledger.rows(
        "SELECT index, entry_type, content FROM entry LEFT JOIN payload USING (index) "
        "WHERE entry_type = ANY($1::text[]) AND service = $2 ORDER BY index",
        [ProducerEnrolled.TYPE, KeyRevocationRequested.TYPE],
        topics.GATEWAY,
    ):
        try:
            data: Mapping[str, Any] = json.loads(row["content"] or b"null")["data"]
            if row["entry_type"] == ProducerEnrolled.TYPE:
                key = key_id(urlsafe_b64decode(data["public_key"]))
                roles.setdefault(key, []).append((list(data["roles"]), row["index"]))
            else:
                revocations.setdefault(data["key_id"], []).append((data["reason"], row["index"]))
        except (ValueError, KeyError, TypeError):
            complete = False  # redacted; or changed, which is a fault of the payload and said as such
    return Asked(roles, revocations, complete)


def _row_faults(row: "asyncpg.Record", asked: Asked, authority: Mapping[bytes, int | None]) -> list[tuple[int, str]]:
    try:
        certificate = x509.load_der_x509_certificate(row["certificate"])
        public_key = certificate.public_key()
    except ValueError as error:
        return [(0, f"it cannot be read: {error}")]
    issuer = _issuer(certificate, authority)
    if not isinstance(public_key, Ed25519PublicKey) or issuer is None:
        return [(0, "it is not signed by the CA that the log names")]
    if (end := authority[issuer]) is not None:
        ca = key_id(issuer)
        return [
            (end, f"it is signed by the CA {ca}, which had ended: entry {end} names the key directory that says so")
        ]
    said = {
        "key_id": key_id(public_key.public_bytes_raw()),
        "subject": _subject(certificate),
        "not_before": certificate.not_valid_before_utc,
        "not_after": certificate.not_valid_after_utc,
    }
    faults = [
        (0, f"its column {name} is {row[name]}, the certificate says {value}")
        for name, value in said.items()
        if row[name] != value
    ]
    return [*faults, *_role_faults(row, asked), *_revocation_faults(row, asked)]


def _issuer(certificate: x509.Certificate, authority: Mapping[bytes, int | None]) -> bytes | None:
    """Return the key of the CA that signed a certificate; None when none of these did."""
    for key in authority:
        try:
            Ed25519PublicKey.from_public_bytes(key).verify(certificate.signature, certificate.tbs_certificate_bytes)
        except InvalidSignature:
            continue
        return key
    return None


def _subject(certificate: x509.Certificate) -> str:
    """Return `producer/build-farm` of `spiffe://grace.local/producer/build-farm`."""
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    [uri] = names.get_values_for_type(x509.UniformResourceIdentifier)
    return uri.removeprefix("spiffe://").partition("/")[2]


def _role_faults(row: "asyncpg.Record", asked: Asked) -> list[tuple[int, str]]:
    enrolled = asked.roles.get(row["key_id"], [])
    if not row["subject"].startswith(_PRODUCER) or (not enrolled and not asked.complete):
        return []
    if not enrolled:
        return [(0, "no entry of the ledger enrols it")]
    if sorted(row["roles"]) not in [sorted(roles) for roles, _ in enrolled]:
        roles, index = enrolled[-1]
        return [(index, f"its column roles is {row['roles']}, entry {index} enrols it with {roles}")]
    return []


def _revocation_faults(row: "asyncpg.Record", asked: Asked) -> list[tuple[int, str]]:
    wanted = asked.revocations.get(row["key_id"], [])
    if row["revoked_at"] is None:
        return [(index, f"entry {index} revokes it, and its row does not say so") for _, index in wanted[:1]]
    if wanted and row["reason"] not in [reason for reason, _ in wanted]:
        return [(wanted[0][1], f"its column reason is not what entry {wanted[0][1]} says")]
    if not wanted and asked.complete:
        return [(0, "its row says that it was revoked, and no entry of the ledger asks for that")]
    return []


def count_certificates(signer: DatabaseLog, schema: str = SCHEMA) -> int | None:
    """Return how many certificates the table holds; None when this database has no such table."""
    if signer.value("SELECT to_regclass($1)", f"{schema}.certificate") is None:
        return None
    found: int = signer.value(f"SELECT count(*) FROM {schema}.certificate")
    return found
