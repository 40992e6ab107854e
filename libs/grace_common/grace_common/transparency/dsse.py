"""DSSE 1.0: the pre-authentication encoding and the JSON envelope, in one exact form.

The specification lets readers accept URL-safe base64 and unknown members; Grace emits neither and reads neither, so
that an envelope has one spelling. Source: github.com/secure-systems-lab/dsse, protocol.md and envelope.md.
"""

from binascii import b2a_base64
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from grace_common.transparency.ed25519 import Sign, SignatureInvalid, Verify, verify_signature
from grace_common.transparency.strict import (
    Malformed,
    compact_json,
    decode_base64,
    encode_base64,
    parse_json,
    read_list,
    read_object,
    read_string,
)


def pae(payload_type: str, payload: bytes) -> bytes:
    """Return the bytes that a DSSE signature is made over: `DSSEv1 <length> <type> <length> <payload>`."""
    name = payload_type.encode()
    return b"DSSEv1 %d %s %d %s" % (len(name), name, len(payload), payload)


@dataclass(frozen=True, slots=True)
class EnvelopeSignature:
    """One signature; `key_id` is a hint, empty where the envelope gives none."""

    key_id: str
    signature: bytes


@dataclass(frozen=True, slots=True)
class DsseEnvelope:
    """A payload of any bytes, its media type, and the signatures over both."""

    payload_type: str
    payload: bytes
    signatures: tuple[EnvelopeSignature, ...]

    @property
    def key_ids(self) -> tuple[str, ...]:
        """The key ids named, in order."""
        return tuple(signature.key_id for signature in self.signatures)

    def as_object(self) -> dict[str, Any]:
        """Return the envelope as the JSON object that `encode` writes."""
        return {
            "payload": encode_base64(self.payload),
            "payloadType": self.payload_type,
            "signatures": [
                {"keyid": signature.key_id, "sig": encode_base64(signature.signature)}
                if signature.key_id
                else {"sig": encode_base64(signature.signature)}
                for signature in self.signatures
            ],
        }

    def encode(self) -> bytes:
        """Return the envelope's exact bytes: compact JSON, members in the order of the specification's example."""
        return compact_json(self.as_object())

    @classmethod
    def of_object(cls, value: object) -> "DsseEnvelope":
        """Return the envelope of a parsed JSON object; raises Malformed."""
        members = read_object(value, "the DSSE envelope", ("payload", "payloadType", "signatures"))
        signatures: list[EnvelopeSignature] = []
        for item in read_list(members["signatures"], "the envelope's signatures"):
            signature = read_object(item, "the envelope's signature", ("sig",), ("keyid",))
            key_id = read_string(signature["keyid"], "the signature's keyid") if "keyid" in signature else ""
            sig = decode_base64(read_string(signature["sig"], "the signature"), "the signature")
            signatures.append(EnvelopeSignature(key_id, sig))
        if not signatures:
            raise Malformed("the DSSE envelope has no signature")
        payload = members["payload"]
        if not isinstance(payload, str):
            raise Malformed("the envelope's payload is no text")
        payload_type = read_string(members["payloadType"], "the envelope's payloadType")
        return cls(payload_type, decode_base64(payload, "the envelope's payload"), tuple(signatures))

    @classmethod
    def parse(cls, data: bytes) -> "DsseEnvelope":
        """Return the envelope of these JSON bytes; raises Malformed."""
        return cls.of_object(parse_json(data, "the DSSE envelope"))


def encode_signed(payload_type: str, payload: bytes, key_id: str, signature: bytes) -> bytes:
    """Return `DsseEnvelope.encode` of one signature by a named key, at a quarter of its cost: every entry is one."""
    return b'{"payload":"%b","payloadType":%b,"signatures":[{"keyid":%b,"sig":"%b"}]}' % (
        b2a_base64(payload, newline=False),
        _json_text(payload_type),
        _json_text(key_id),
        b2a_base64(signature, newline=False),
    )


@lru_cache(maxsize=1024)
def _json_text(text: str) -> bytes:
    return compact_json(text)


def sign_envelope(payload_type: str, payload: bytes, key_id: str, sign: Sign) -> DsseEnvelope:
    """Return the envelope of a payload with one signature, made by `sign`."""
    signature = EnvelopeSignature(key_id, sign(pae(payload_type, payload)))
    return DsseEnvelope(payload_type, payload, (signature,))


def verify_envelope(
    envelope: DsseEnvelope, public_keys: Mapping[str, bytes], verify: Verify = verify_signature
) -> list[str]:
    """Return the ids of the known keys that signed, in the envelope's order.

    public_keys  raw Ed25519 keys of 32 bytes by key id
    verify       how one signature is verified; statements take those of a batch as well
    raises       SignatureInvalid when a signature names a known key and is not by it, or when none names one
    """
    message = pae(envelope.payload_type, envelope.payload)
    verified: list[str] = []
    for signature in envelope.signatures:
        if signature.key_id in public_keys:
            what = f"the envelope, by key {signature.key_id}"
            verify(public_keys[signature.key_id], signature.signature, message, what)
            verified.append(signature.key_id)
    if not verified:
        raise SignatureInvalid(f"the envelope names the keys {list(envelope.key_ids)}, none of which is known")
    return verified
