"""DSSE: the specification's own vector, one spelling, and every changed byte found."""

import json
from base64 import b64decode

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from grace_common.contract.errors import Refused
from grace_common.testing.ledger import SeededKey
from grace_common.transparency.dsse import (
    DsseEnvelope,
    EnvelopeSignature,
    encode_signed,
    pae,
    sign_envelope,
    verify_envelope,
)
from grace_common.transparency.ed25519 import SignatureInvalid
from grace_common.transparency.strict import Malformed
from hypothesis import given
from hypothesis import strategies as st
from securesystemslib.dsse import Envelope
from securesystemslib.signer._key import SSlibKey

# protocol.md of github.com/secure-systems-lab/dsse, "Test Vectors".
TYPE = "http://example.com/HelloWorld"
X = 46950820868899156662930047687818585632848591499744589407958293238635476079160
Y = 5640078356564379163099075877009565129882514886557779369047442380624545832820
SIGNATURE = "A3JqsQGtVsJ2O2xqrI5IcnXip5GToJ3F+FnZ+O88SjtR6rDAajabZKciJTfUiHqJPcIAriEGAHTVeCUjW2JIZA=="
VECTOR = {"payload": "aGVsbG8gd29ybGQ=", "payloadType": TYPE, "signatures": [{"sig": SIGNATURE}]}
KEY = SeededKey("notary")


def test_the_specifications_vector_is_read_and_its_signature_is_over_our_encoding() -> None:
    envelope = DsseEnvelope.parse(json.dumps(VECTOR, indent=1).encode())

    message = pae(envelope.payload_type, envelope.payload)
    assert message == b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    signature = envelope.signatures[0].signature
    r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
    key = ec.EllipticCurvePublicNumbers(X, Y, ec.SECP256R1()).public_key()
    key.verify(encode_dss_signature(r, s), message, ec.ECDSA(hashes.SHA256()))
    assert json.loads(envelope.encode()) == VECTOR
    assert envelope.key_ids == ("",)


def test_the_type_is_counted_in_bytes_and_the_payload_may_be_anything() -> None:
    assert pae("é", b"\x00\n") == b"DSSEv1 2 \xc3\xa9 2 \x00\n"
    assert pae("", b"") == b"DSSEv1 0  0 "


def test_an_envelope_has_one_spelling() -> None:
    envelope = sign_envelope("text/plain", b"hello", KEY.key_id, KEY.sign)

    assert envelope.encode().startswith(
        b'{"payload":"aGVsbG8=","payloadType":"text/plain","signatures":[{"keyid":"' + KEY.key_id.encode()
    )
    assert DsseEnvelope.parse(envelope.encode()) == envelope
    assert verify_envelope(envelope, {KEY.key_id: KEY.public_key}) == [KEY.key_id]


@given(type_=st.text(), payload=st.binary(), key_id=st.text(min_size=1), signature=st.binary())
def test_the_short_way_to_an_envelope_of_one_signature_spells_it_as_the_long_one(
    type_: str, payload: bytes, key_id: str, signature: bytes
) -> None:
    envelope = DsseEnvelope(type_, payload, (EnvelopeSignature(key_id, signature),))

    assert encode_signed(type_, payload, key_id, signature) == envelope.encode()


@given(st.binary(max_size=40), st.data())
def test_no_changed_bit_of_an_envelope_passes(payload: bytes, data: st.DataObject) -> None:
    whole = sign_envelope("text/plain", payload, KEY.key_id, KEY.sign).encode()
    bit = data.draw(st.integers(0, len(whole) * 8 - 1))
    changed = bytearray(whole)
    changed[bit // 8] ^= 1 << bit % 8

    with pytest.raises(Refused):
        verify_envelope(DsseEnvelope.parse(bytes(changed)), {KEY.key_id: KEY.public_key})


def test_a_key_that_is_not_known_proves_nothing() -> None:
    envelope = sign_envelope("text/plain", b"hello", KEY.key_id, KEY.sign)
    with pytest.raises(SignatureInvalid, match="none of which is known"):
        verify_envelope(envelope, {"another": KEY.public_key})
    with pytest.raises(SignatureInvalid, match="is not by the key it names"):
        verify_envelope(envelope, {KEY.key_id: SeededKey("other").public_key})
    with pytest.raises(SignatureInvalid, match="is not by the key it names"):
        verify_envelope(envelope, {KEY.key_id: b"short"})


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"\xff",
        b'{"payload":"","payloadType":"t","signatures":[]}',
        b'{"payload":1,"payloadType":"t","signatures":[{"sig":"AA=="}]}',
        b'{"payload":"","payloadType":"","signatures":[{"sig":"AA=="}]}',
        b'{"payload":"","payloadType":"t","signatures":{}}',
        b'{"payload":"","payloadType":"t","signatures":[{"sig":"AA"}]}',
        b'{"payload":"","payloadType":"t","signatures":[{"sig":"AB=="}]}',
        b'{"payload":"","payloadType":"t","signatures":[{"sig":"_w=="}]}',
        b'{"payload":"","payloadType":"t","signatures":[{"sig":"AA==","keyid":""}]}',
        b'{"payload":"","payload":"","payloadType":"t","signatures":[{"sig":"AA=="}]}',
        b'{"payload":NaN,"payloadType":"t","signatures":[{"sig":"AA=="}]}',
        b"[" * 100_000,
    ],
)
def test_a_malformed_envelope_is_refused(data: bytes) -> None:
    with pytest.raises(Malformed):
        DsseEnvelope.parse(data)


def test_a_foreign_reader_accepts_the_envelope() -> None:
    envelope = sign_envelope("text/plain", b"hello", KEY.key_id, KEY.sign)

    foreign = Envelope.from_dict(json.loads(envelope.encode()))

    key = SSlibKey(KEY.key_id, "ed25519", "ed25519", {"public": KEY.public_key.hex()})
    assert list(foreign.verify([key], 1)) == [KEY.key_id]
    assert foreign.payload == b64decode("aGVsbG8=")
