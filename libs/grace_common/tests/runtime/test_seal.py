"""The seal covers the value, the key and the topic, alone and in a batch; no changed byte passes."""

import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from grace_common.runtime.identity import key_id
from grace_common.runtime.seal import (
    KEY_ID_HEADER,
    PATH_HEADER,
    SEAL_HEADER,
    BadSeal,
    Outgoing,
    SealCheck,
    Sealer,
    Signer,
    batch_encoding,
    encoding,
)
from grace_common.transparency import merkle
from hypothesis import given, settings
from hypothesis import strategies as st

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
ID = key_id(KEY.public_key())
SEALER = Sealer(KEY, ID)
TOPICS = st.sampled_from(["grace.task.v1", "grace.round.v1"])
RECORDS = st.builds(Outgoing, topic=TOPICS, key=st.binary(max_size=40), value=st.binary(max_size=200))

# RFC 8032, section 7.1: secret key, public key, message, signature.
RFC_8032 = [
    (
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
    ),
    (
        "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
    ),
    (
        "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
    ),
]


def check(record: Outgoing, headers: Mapping[str, bytes], checking: SealCheck | None = None) -> None:
    (checking or SealCheck()).check(record.topic, record.key, record.value, headers, KEY.public_key(), ID)


def holds(record: Outgoing, headers: Mapping[str, bytes], checking: SealCheck | None = None) -> bool:
    try:
        check(record, headers, checking)
    except BadSeal:
        return False
    return True


def sealed(records: Sequence[Outgoing]) -> list[dict[str, bytes]]:
    return [dict(headers) for headers in SEALER.seal_batch(records)]


def flipped(data: bytes, bit: int) -> bytes:
    at, mask = divmod(bit % (len(data) * 8), 8)
    return data[:at] + bytes([data[at] ^ 1 << mask]) + data[at + 1 :]


@pytest.mark.parametrize(("secret", "public", "message", "signature"), RFC_8032)
def test_keys_sign_as_rfc_8032_has_it(secret: str, public: str, message: str, signature: str) -> None:
    key = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(secret))

    assert key.public_key().public_bytes_raw().hex() == public
    assert key.sign(bytes.fromhex(message)).hex() == signature
    # The sealer signs with the very same key, over the encoding of the record.
    record = Outgoing("grace.task.v1", b"k", bytes.fromhex(message))
    [seal] = [dict(headers) for headers in Sealer(key, "k").seal_batch([record])]
    key.public_key().verify(seal[SEAL_HEADER], encoding(record.topic, record.key, record.value))


def test_the_encoding_is_the_dsse_pre_authentication_encoding() -> None:
    type_ = "application/cloudevents+json;topic=grace.task.v1;key=6b6579"

    assert encoding("grace.task.v1", b"key", b"{}") == f"DSSEv1 {len(type_)} {type_} 2 {{}}".encode()


@given(st.lists(RECORDS, min_size=1, max_size=40))
def test_every_seal_of_a_batch_covers_its_record(records: list[Outgoing]) -> None:
    for record, headers in zip(records, sealed(records), strict=True):
        check(record, headers)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 8, 9, 127, 128, 255, 256, 257, 300])
def test_batches_of_any_size_hold_and_share_the_rfc_9162_root(size: int) -> None:
    records = [Outgoing("grace.task.v1", b"%d" % number, b"v%d" % number) for number in range(size)]
    remembered = SealCheck()

    for record, headers in zip(records, sealed(records), strict=True):
        check(record, headers, remembered)

    if size > 1:
        leaves = [merkle.leaf_hash(encoding(one.topic, one.key, one.value)) for one in records]
        KEY.public_key().verify(sealed(records)[0][SEAL_HEADER], batch_encoding(merkle.root_hash(leaves)))


@settings(max_examples=50)
@given(records=st.lists(RECORDS, min_size=1, max_size=20, unique=True), data=st.data())
def test_no_changed_bit_of_value_key_signature_or_path_passes(records: list[Outgoing], data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(records) - 1))
    bit = data.draw(st.integers(0, 10_000))
    record, headers = records[at], sealed(records)[at]

    changed = [replace(record, topic=record.topic + "x"), replace(record, value=record.value + b" ")]
    changed += [replace(record, key=b""), replace(record, key=record.key + b"0")]
    if record.value:
        changed.append(replace(record, value=flipped(record.value, bit)))
    if record.key:
        changed.append(replace(record, key=flipped(record.key, bit)))
    assert not any(holds(one, headers) for one in changed if one != record)
    assert not holds(record, headers | {SEAL_HEADER: flipped(headers[SEAL_HEADER], bit)})
    if PATH_HEADER in headers:
        path = headers[PATH_HEADER]
        assert not holds(record, headers | {PATH_HEADER: path[:8] + flipped(path[8:], bit)})
        # Index and size only say how to climb; where another pair climbs to the same root, it still serves no other.
        elsewhere = headers | {PATH_HEADER: flipped(path[:8], bit) + path[8:]}
        assert not any(holds(one, elsewhere) for one in [*changed, *records] if one != record)


@given(st.lists(RECORDS, min_size=2, max_size=20, unique=True), st.integers(0, 10_000))
def test_a_seal_does_not_serve_another_record_of_its_batch(records: list[Outgoing], number: int) -> None:
    at = number % len(records)

    assert not holds(records[at - 1], sealed(records)[at])


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda path: b"", "path has 0 bytes"),
        (lambda path: path[:-1], "expected 8 and a multiple of 32"),
        (lambda path: path + bytes(32 * 40), "expected 8 and a multiple of 32"),
        (lambda path: path + bytes(32), "too long"),
        (lambda path: path[:-32], "too short"),
        (lambda path: struct.pack(">II", 9, 5) + path[8:], "names leaf 9 of 5"),
        (lambda path: struct.pack(">II", 0, 0) + path[8:], "names leaf 0 of 0"),
    ],
)
def test_a_malformed_path_is_named(spoil: Callable[[bytes], bytes], reason: str) -> None:
    records = [Outgoing("grace.task.v1", b"", b"%d" % number) for number in range(5)]
    headers = sealed(records)[2]

    with pytest.raises(BadSeal, match=reason):
        check(records[2], headers | {PATH_HEADER: spoil(headers[PATH_HEADER])})


def test_a_seal_alone_does_not_pass_as_a_batchs_nor_a_batchs_as_one_alone() -> None:
    record = Outgoing("grace.task.v1", b"k", b"v")
    [alone] = sealed([record])
    together = sealed([record, record])[0]

    assert not holds(record, alone | {PATH_HEADER: struct.pack(">II", 0, 1)})
    assert not holds(record, {name: value for name, value in together.items() if name != PATH_HEADER})


def test_another_key_does_not_pass() -> None:
    record = Outgoing("grace.task.v1", b"k", b"v")
    stranger = Sealer(Ed25519PrivateKey.generate(), ID)

    for batch in ([record], [record, record]):
        assert not holds(record, dict(stranger.seal_batch(batch)[0]))


def test_a_remembered_root_still_asks_for_the_right_path_and_the_oldest_are_forgotten() -> None:
    checking = SealCheck(remembered=2)
    batches = [[Outgoing("grace.task.v1", b"", b"%d/%d" % (batch, number)) for number in (0, 1)] for batch in range(4)]

    for batch in batches:
        first, second = sealed(batch)
        check(batch[0], first, checking)
        with pytest.raises(BadSeal):
            check(batch[0], second, checking)
        check(batch[1], second, checking)
    check(batches[0][0], sealed(batches[0])[0], checking)


@settings(max_examples=50)
@given(records=st.lists(RECORDS, min_size=2, max_size=20, unique=True), data=st.data())
def test_what_is_remembered_changes_no_verdict(records: list[Outgoing], data: st.DataObject) -> None:
    checking = SealCheck()
    for record, headers in zip(records, sealed(records), strict=True):
        check(record, headers, checking)
    record, headers = data.draw(st.sampled_from(list(zip(records, sealed(records), strict=True))))

    for bit in range(len(headers[PATH_HEADER]) * 8):
        changed = headers | {PATH_HEADER: flipped(headers[PATH_HEADER], bit)}
        assert holds(record, changed, checking) == holds(record, changed)
    assert not holds(replace(record, value=record.value + b" "), headers, checking)


def test_every_record_says_which_key_sealed_it_and_what_it_is() -> None:
    [headers] = sealed([Outgoing("grace.task.v1", b"k", b"v")])

    assert headers[KEY_ID_HEADER].decode() == ID
    assert headers["content-type"] == b"application/cloudevents+json"


@pytest.mark.parametrize(
    ("subject", "principal"), [("service/consensus", "consensus"), ("producer/build-farm", "producer")]
)
def test_a_signer_is_a_principal_of_the_topics_table(subject: str, principal: str) -> None:
    assert Signer(subject, "k").principal == principal
