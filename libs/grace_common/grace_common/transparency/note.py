"""C2SP signed-note: text under one or more signature lines, the keys that verify them, and tlog-cosignatures.

Source: c2sp.org/signed-note, c2sp.org/tlog-cosignature.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from hashlib import sha256
from typing import Final

from grace_common.contract.errors import Refused
from grace_common.transparency.ed25519 import (
    PUBLIC_KEY_BYTES,
    SIGNATURE_BYTES,
    Sign,
    SignatureInvalid,
    verify_signature,
)
from grace_common.transparency.strict import Malformed, decode_base64, encode_base64

KEY_ID_BYTES: Final = 4
MAX_SIGNATURES: Final = 100  # as golang.org/x/mod/sumdb/note; the specification asks for 16 at least
_MAX_TIME_S: Final = (1 << 63) - 1
_DASH: Final = "— "


class SignatureType(IntEnum):
    """The signature types that Grace makes and checks."""

    ED25519 = 0x01
    COSIGNATURE = 0x04  # Ed25519 with a time, c2sp.org/tlog-cosignature


def _check_name(name: str) -> str:
    if not name or "+" in name or any(sign.isspace() or sign < " " or "\ud800" <= sign <= "\udfff" for sign in name):
        raise Malformed(f"{name!r} is no key name: it must have a sign, be UTF-8, and have neither blanks nor a plus")
    return name


@dataclass(frozen=True, slots=True)
class VerifierKey:
    """A public key with the name it signs under; its text form is the vkey `name+hex key id+base64(type ‖ key)`."""

    name: str
    public_key: bytes
    type: SignatureType = SignatureType.ED25519

    def __post_init__(self) -> None:
        _check_name(self.name)
        if len(self.public_key) != PUBLIC_KEY_BYTES:
            raise Malformed(f"a public key of {len(self.public_key)} bytes; expected {PUBLIC_KEY_BYTES}")

    @property
    def key_id(self) -> bytes:
        """SHA-256(name ‖ 0A ‖ type ‖ key)[:4]."""
        return sha256(self.name.encode() + b"\n" + bytes([self.type]) + self.public_key).digest()[:KEY_ID_BYTES]

    def __str__(self) -> str:
        return f"{self.name}+{self.key_id.hex()}+{encode_base64(bytes([self.type]) + self.public_key)}"

    @classmethod
    def parse(cls, vkey: str) -> "VerifierKey":
        """Return the key of a vkey; raises Malformed for a type other than 01 and 04, or a key id of another key."""
        parts = vkey.split("+", 2)  # base64 may contain a plus, a name cannot
        if len(parts) != 3:
            raise Malformed(f"{vkey!r} is no vkey of the form name+key id+key")
        material = decode_base64(parts[2], "the vkey's key")
        if not material or material[0] not in list(SignatureType):
            raise Malformed("the vkey's signature type is neither 01 (Ed25519) nor 04 (cosignature)")
        key = cls(parts[0], material[1:], SignatureType(material[0]))
        if parts[1] != key.key_id.hex():
            raise Malformed(f"the vkey's key id is {parts[1]}; its name and key have {key.key_id.hex()}")
        return key


@dataclass(frozen=True, slots=True)
class NoteSignature:
    """One signature line; `signature` is what follows the key id."""

    name: str
    key_id: bytes
    signature: bytes

    @property
    def line(self) -> str:
        """The line without its newline."""
        return f"{_DASH}{self.name} {encode_base64(self.key_id + self.signature)}"

    def is_by(self, key: VerifierKey) -> bool:
        """Return whether the line names this key; the signature is not looked at."""
        return (self.name, self.key_id) == (key.name, key.key_id)


@dataclass(frozen=True, slots=True)
class Note:
    """A text, ending in a newline, with its signatures in order."""

    text: str
    signatures: tuple[NoteSignature, ...]

    def encode(self) -> bytes:
        """Return the signed note's bytes."""
        return (self.text + "\n" + "".join(signature.line + "\n" for signature in self.signatures)).encode()

    @classmethod
    def parse(cls, data: bytes) -> "Note":
        """Return the note of these bytes, whose signatures are not yet verified; raises Malformed."""
        try:
            whole = data.decode("utf-8")
        except UnicodeDecodeError as error:
            raise Malformed("the note is not UTF-8") from error
        if any(sign < " " and sign != "\n" for sign in whole):
            raise Malformed("the note contains a control character")
        text, blank, lines = whole.rpartition("\n\n")
        if not blank or not lines.endswith("\n"):
            raise Malformed("the note has no blank line followed by signature lines")
        signatures = tuple(_parse_line(line) for line in lines[:-1].split("\n"))
        if len(signatures) > MAX_SIGNATURES:
            raise Malformed(f"the note has {len(signatures)} signatures; at most {MAX_SIGNATURES} are read")
        return cls(text + "\n", signatures)

    def with_signature(self, signature: NoteSignature) -> "Note":
        """Return the note with one more signature line."""
        return replace(self, signatures=(*self.signatures, signature))

    def verified_by(self, keys: Sequence[VerifierKey]) -> list[NoteSignature]:
        """Return the signatures that these keys made, the first of each key; lines of unknown keys are passed over.

        raises  SignatureInvalid when a line names one of the keys and does not verify
        """
        verified: list[NoteSignature] = []
        for key in keys:
            for signature in [line for line in self.signatures if line.is_by(key)][:1]:
                _verify(key, signature, self.text)
                verified.append(signature)
        return verified


def _parse_line(line: str) -> NoteSignature:
    name, blank, encoded = line.removeprefix(_DASH).partition(" ")
    if not line.startswith(_DASH) or not blank:
        raise Malformed(f"{line!r} is no signature line of a note")
    data = decode_base64(encoded, f"the signature of {name}")
    if len(data) <= KEY_ID_BYTES:
        raise Malformed(f"the signature of {name} has {len(data)} bytes; a key id and a signature are more")
    return NoteSignature(_check_name(name), data[:KEY_ID_BYTES], data[KEY_ID_BYTES:])


def _verify(key: VerifierKey, signature: NoteSignature, text: str) -> None:
    what = f"the note, by {key.name}"
    if key.type is SignatureType.ED25519:
        verify_signature(key.public_key, signature.signature, text.encode(), what)
        return
    if len(signature.signature) != 8 + SIGNATURE_BYTES:
        raise SignatureInvalid(f"the cosignature on {what} has {len(signature.signature)} bytes; expected 72")
    message = cosigned_message(text, cosignature_time_s(signature))
    verify_signature(key.public_key, signature.signature[8:], message, what)


def sign_note(text: str, key: VerifierKey, sign: Sign) -> NoteSignature:
    """Return the Ed25519 signature line of `key` over a note's text, made by `sign`."""
    if key.type is not SignatureType.ED25519:
        raise Refused(f"the key {key.name} makes cosignatures; a note is signed with type 01")
    return NoteSignature(key.name, key.key_id, sign(text.encode()))


def cosign(text: str, key: VerifierKey, sign: Sign, time_s: int) -> NoteSignature:
    """Return the cosignature/v1 line of a witness over a checkpoint's text.

    time_s  POSIX seconds at which the witness saw no larger tree
    """
    if key.type is not SignatureType.COSIGNATURE:
        raise Refused(f"the key {key.name} signs notes; a cosignature is made with type 04")
    if not 0 <= time_s <= _MAX_TIME_S:
        raise Refused(f"the time {time_s} of a cosignature lies outside 0 to 2^63 - 1")
    return NoteSignature(key.name, key.key_id, time_s.to_bytes(8, "big") + sign(cosigned_message(text, time_s)))


def cosigned_message(text: str, time_s: int) -> bytes:
    """Return the bytes that a cosignature/v1 signs."""
    return f"cosignature/v1\ntime {time_s}\n{text}".encode()


def cosignature_time_s(signature: NoteSignature) -> int:
    """Return the POSIX seconds stated in a cosignature."""
    return int.from_bytes(signature.signature[:8], "big")
