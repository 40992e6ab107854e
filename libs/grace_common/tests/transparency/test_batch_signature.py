"""One signature over several messages: each verifies alone, and nothing else does."""

import struct

import pytest
from grace_common.testing.ledger import SeededKey
from grace_common.transparency import merkle
from grace_common.transparency.batch_signature import BATCH_TYPE, sign_batch, verify_batched
from grace_common.transparency.dsse import pae
from grace_common.transparency.ed25519 import SignatureInvalid, verify_signature
from hypothesis import given
from hypothesis import strategies as st

KEY, OTHER = SeededKey("operation"), SeededKey("another")
MESSAGES = [b"message %d" % number for number in range(5)]


def verifies(signature: bytes, message: bytes, key: SeededKey = KEY) -> bool:
    try:
        verify_batched(key.public_key, signature, message, "it")
    except SignatureInvalid:
        return False
    return True


@given(st.lists(st.binary(max_size=20), min_size=1, max_size=40))
def test_each_message_of_a_batch_verifies_with_its_own_signature_and_the_key_was_used_once(
    messages: list[bytes],
) -> None:
    used: list[bytes] = []

    def sign(message: bytes) -> bytes:
        used.append(message)
        return KEY.sign(message)

    signatures = sign_batch(messages, sign)

    assert len(used) == 1
    assert all(verifies(signature, message) for signature, message in zip(signatures, messages, strict=True))


def test_what_is_signed_alone_is_a_plain_signature() -> None:
    [signature] = sign_batch([b"alone"], KEY.sign)

    verify_signature(KEY.public_key, signature, b"alone", "it")
    assert verifies(signature, b"alone")
    assert not verifies(signature, b"another")


def test_the_signature_is_over_the_root_of_the_tree_of_rfc_6962() -> None:
    signature = sign_batch(MESSAGES, KEY.sign)[3]

    hashes = merkle.leaf_hashes(MESSAGES)
    verify_signature(KEY.public_key, signature[:64], pae(BATCH_TYPE, merkle.root_hash(hashes)), "the root")
    assert struct.unpack(">II", signature[64:72]) == (3, 5)
    assert signature[72:] == b"".join(merkle.audit_path(hashes, 3))


@given(st.integers(0, len(MESSAGES) - 1), st.data())
def test_no_changed_bit_of_a_batched_signature_passes(index: int, data: st.DataObject) -> None:
    whole = bytearray(sign_batch(MESSAGES, KEY.sign)[index])
    bit = data.draw(st.integers(0, len(whole) * 8 - 1))
    whole[bit // 8] ^= 1 << bit % 8

    # Another number of messages may lead along the same way; what is signed is the same message then.
    if verifies(bytes(whole), MESSAGES[index]):
        assert 64 <= bit // 8 < 72
    assert not any(verifies(bytes(whole), message) for message in MESSAGES if message != MESSAGES[index])


@pytest.mark.parametrize(
    "signature",
    [
        b"",
        bytes(63),
        bytes(64),
        KEY.sign(b"message 0") + b"\0",
        KEY.sign(b"message 0") + struct.pack(">II", 0, 1),
        KEY.sign(pae(BATCH_TYPE, merkle.leaf_hash(b"message 0"))) + struct.pack(">II", 0, 1),
        sign_batch(MESSAGES, KEY.sign)[0][:-1],
        sign_batch(MESSAGES, KEY.sign)[0][:-32],
        sign_batch(MESSAGES, KEY.sign)[0] + bytes(32),
        sign_batch(MESSAGES, KEY.sign)[0][:64] + struct.pack(">II", 5, 5) + sign_batch(MESSAGES, KEY.sign)[0][72:],
        sign_batch(MESSAGES, KEY.sign)[1],
        sign_batch(MESSAGES, OTHER.sign)[0],
    ],
)
def test_what_does_not_lead_to_a_signed_root_is_refused(signature: bytes) -> None:
    assert not verifies(signature, b"message 0")


def test_a_root_that_was_verified_for_one_key_is_not_for_another() -> None:
    signature = sign_batch(MESSAGES, KEY.sign)[0]

    assert verifies(signature, MESSAGES[0])
    assert not verifies(signature, MESSAGES[0], OTHER)


def test_a_root_is_no_message_and_a_message_no_root() -> None:
    root = merkle.root_hash(merkle.leaf_hashes(MESSAGES))

    assert not verifies(KEY.sign(root) + sign_batch(MESSAGES, KEY.sign)[0][64:], MESSAGES[0])
    assert not verifies(KEY.sign(pae(BATCH_TYPE, root)), MESSAGES[0])
