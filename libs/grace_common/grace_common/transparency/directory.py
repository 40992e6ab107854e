"""The public key directory: which keys speak for Grace, from when to when, signed by the root.

In the manner of TUF: versions count up by one, each names the one before by its digest, each expires, and a new root
counts only when the old one has signed as well. A directory is the payload of a DSSE envelope. The digest of the
envelope's bytes stands in the ledger (`grace.key-directory-published.v1`), so that nobody is shown one of their own.
The format, for those who write their own verifier: docs/keys.md.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Any, Final, Literal, get_args

from grace_common.contract.errors import Refused
from grace_common.transparency.dsse import DsseEnvelope, EnvelopeSignature, pae, verify_envelope
from grace_common.transparency.ed25519 import PUBLIC_KEY_BYTES, Sign, SignatureInvalid
from grace_common.transparency.note import VerifierKey
from grace_common.transparency.statement import RFC_3339, key_id
from grace_common.transparency.strict import (
    Malformed,
    compact_json,
    decode_base64,
    encode_base64,
    parse_json,
    read_list,
    read_number,
    read_object,
    read_optional_string,
    read_sha256,
    read_string,
)

PAYLOAD_TYPE: Final = "application/vnd.grace.key-directory.v1+json"
FORMAT: Final = 1

KeyPurpose = Literal["ca", "notary", "attestation", "log", "witness"]
_NAMED: Final = ("log", "witness")


class DirectoryExpired(Refused):
    """A directory that should have been replaced by now: who shows it may be hiding a newer one."""


@dataclass(frozen=True, slots=True)
class DirectoryKey:
    """One public key and its time, RFC 3339; `not_after` is None while it is in use.

    name  that a log's or a witness's key signs notes under; None for the others
    """

    purpose: KeyPurpose
    public_key: bytes
    not_before: str
    not_after: str | None = None
    name: str | None = None

    @property
    def key_id(self) -> str:
        return key_id(self.public_key)

    def held_at(self, time: datetime) -> bool:
        """Tell whether the key was in use at a time."""
        after_start = datetime.fromisoformat(self.not_before) <= time
        return after_start and (self.not_after is None or time < datetime.fromisoformat(self.not_after))

    def as_object(self) -> dict[str, Any]:
        return {
            "key_id": self.key_id,
            "public_key": encode_base64(self.public_key),
            "purpose": self.purpose,
            "name": self.name,
            "not_before": self.not_before,
            "not_after": self.not_after,
        }


@dataclass(frozen=True, slots=True)
class KeyDirectory:
    """One version of the directory.

    issued, expires  RFC 3339
    root             the raw public key that signs this version and the next
    previous         SHA-256 of the envelope's bytes of the version before; None for the first
    """

    version: int
    trust_domain: str
    issued: str
    expires: str
    root: bytes
    previous: str | None
    keys: tuple[DirectoryKey, ...]

    def __post_init__(self) -> None:
        if self.version < 1 or (self.version == 1) != (self.previous is None):
            raise Malformed(f"version {self.version} of a key directory names {self.previous} as the one before")
        if _time(self.issued, "issued") >= _time(self.expires, "expires"):
            raise Malformed(f"the key directory expires at {self.expires}, before it was issued at {self.issued}")
        ids = [(key.purpose, key.key_id, key.name) for key in self.keys]
        if len(set(ids)) != len(ids):
            raise Malformed("the key directory lists a key twice")

    def of(self, purpose: KeyPurpose, time: datetime | None = None) -> list[DirectoryKey]:
        """Return the keys for a purpose, those in use at a time where one is given."""
        return [key for key in self.keys if key.purpose == purpose and (time is None or key.held_at(time))]

    def log_keys(self, origin: str, *, in_use: bool = False) -> list[VerifierKey]:
        """Return the keys that a log of this origin signs with or signed with, the newest last.

        in_use  only those that have not ended
        """
        return [
            VerifierKey(origin, key.public_key)
            for key in self.of("log")
            if key.name == origin and not (in_use and key.not_after is not None)
        ]

    def require_current(self, now: datetime) -> None:
        """Raise DirectoryExpired when it should have been replaced by now."""
        if now >= _time(self.expires, "expires"):
            raise DirectoryExpired(
                f"version {self.version} of the key directory expired at {self.expires}: get a newer"
            )

    def encode(self) -> bytes:
        """Return the payload's exact bytes: compact JSON, members in this order."""
        return compact_json(
            {
                "v": FORMAT,
                "version": self.version,
                "trust_domain": self.trust_domain,
                "issued": self.issued,
                "expires": self.expires,
                "root": {"key_id": key_id(self.root), "public_key": encode_base64(self.root)},
                "previous": self.previous,
                "keys": [key.as_object() for key in self.keys],
            }
        )

    @classmethod
    def parse(cls, payload: bytes) -> "KeyDirectory":
        """Return the directory of these JSON bytes, whose signature is not looked at; raises Malformed."""
        what = "the key directory"
        names = ("v", "version", "trust_domain", "issued", "expires", "root", "previous", "keys")
        members = read_object(parse_json(payload, what), what, names)
        if read_number(members["v"], "the key directory's format") != FORMAT:
            raise Malformed(f"the key directory is of format {members['v']}; this code reads {FORMAT}")
        root = read_object(members["root"], "root", ("key_id", "public_key"))
        previous = members["previous"]
        return cls(
            version=read_number(members["version"], "version"),
            trust_domain=read_string(members["trust_domain"], "trust_domain"),
            issued=read_string(members["issued"], "issued"),
            expires=read_string(members["expires"], "expires"),
            root=_parse_key(root, "root"),
            previous=None if previous is None else read_sha256(previous, "previous"),
            keys=tuple(_parse_entry(item) for item in read_list(members["keys"], "keys")),
        )


def sign_directory(directory: KeyDirectory, signers: Sequence[tuple[str, Sign]]) -> bytes:
    """Return the signed directory: the exact bytes of its DSSE envelope.

    signers  key id and `sign` of the root; of the old root as well where the root itself is replaced
    """
    payload = directory.encode()
    message = pae(PAYLOAD_TYPE, payload)
    signatures = tuple(EnvelopeSignature(signer, sign(message)) for signer, sign in signers)
    return DsseEnvelope(PAYLOAD_TYPE, payload, signatures).encode()


def open_directory(data: bytes, trusted_root: bytes) -> KeyDirectory:
    """Return the directory of a signed envelope, once the root's signature is verified.

    trusted_root  32 raw bytes, known from elsewhere or from the version before
    raises        SignatureInvalid when the trusted root, or the root that the directory names, did not sign;
                  Malformed
    """
    envelope = DsseEnvelope.parse(data)
    if envelope.payload_type != PAYLOAD_TYPE:
        raise Malformed(f"a payload of type {envelope.payload_type} is no key directory")
    directory = KeyDirectory.parse(envelope.payload)
    needed = {key_id(root): root for root in (trusted_root, directory.root)}
    missing = set(needed) - set(verify_envelope(envelope, needed))
    if missing:
        raise SignatureInvalid(f"the key directory is not signed by the root {', '.join(sorted(missing))}")
    return directory


def digest_of(data: bytes) -> str:
    """Return what names a signed directory in the ledger and in the version after it: SHA-256 of its bytes."""
    return sha256(data).hexdigest()


def follow(known: bytes, trusted_root: bytes, newer: Sequence[bytes]) -> KeyDirectory:
    """Return the newest directory, reached version by version from one that is trusted.

    known   the signed directory that the reader has
    newer   the signed directories after it, in order
    raises  Refused where a version is left out, does not name the one before, is not signed by its root, or drops a
            key: keys end, they do not vanish
    """
    directory = open_directory(known, trusted_root)
    for data in newer:
        following = open_directory(data, directory.root)
        if following.version != directory.version + 1 or following.previous != digest_of(known):
            raise Refused(
                f"version {following.version} of the key directory does not follow version {directory.version}"
            )
        listed = {(key.purpose, key.public_key, key.name, key.not_before) for key in following.keys}
        gone = [key for key in directory.keys if (key.purpose, key.public_key, key.name, key.not_before) not in listed]
        if gone or following.trust_domain != directory.trust_domain:
            raise Refused(f"version {following.version} of the key directory drops or changes what was listed before")
        known, directory = data, following
    return directory


def follow_all(signed: Sequence[bytes]) -> KeyDirectory:
    """Return the newest of all versions from the first on, whose root is taken from itself; raises Refused."""
    root = KeyDirectory.parse(DsseEnvelope.parse(signed[0]).payload).root
    newest = follow(signed[0], root, signed[1:])
    if newest.version != len(signed):
        raise Refused(f"{len(signed)} versions of the key directory are there, and the last is {newest.version}")
    return newest


def _parse_entry(item: object) -> DirectoryKey:
    names = ("key_id", "public_key", "purpose", "name", "not_before", "not_after")
    members = read_object(item, "a key of the directory", names)
    purpose = members["purpose"]
    if purpose not in get_args(KeyPurpose):
        raise Malformed(f"a key's purpose is {purpose!r}; expected one of {', '.join(get_args(KeyPurpose))}")
    key = DirectoryKey(
        purpose,
        _parse_key(members, "a key"),
        read_string(members["not_before"], "not_before"),
        read_optional_string(members["not_after"], "not_after"),
        read_optional_string(members["name"], "name"),
    )
    if (purpose in _NAMED) != (key.name is not None):
        raise Malformed(f"a key for {purpose} is called {key.name!r}: keys that sign notes have names, no other has")
    begin = _time(key.not_before, "not_before")
    if key.not_after is not None and _time(key.not_after, "not_after") < begin:
        raise Malformed(f"key {key.key_id} ends before it begins")
    return key


def _parse_key(members: Any, what: str) -> bytes:
    text = read_string(members["public_key"], f"{what}.public_key")
    public_key = decode_base64(text, f"{what}.public_key", PUBLIC_KEY_BYTES)
    if members["key_id"] != key_id(public_key):
        raise Malformed(f"{what}.key_id is {members['key_id']!r}; the key's is {key_id(public_key)}")
    return public_key


def _time(text: str, what: str) -> datetime:
    try:
        if RFC_3339.fullmatch(text):
            return datetime.fromisoformat(text)
    except ValueError as error:
        raise Malformed(f"{what} is {text!r}, a time that does not exist") from error
    raise Malformed(f"{what} is {text!r}, not a time of RFC 3339")
