"""Operation keys."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from grace_common.contract.errors import Refused
from grace_crypto_signer.domain.keyring import (
    OPERATION_INFO,
    Epoch,
    Keyring,
    Limit,
    RotationPolicy,
    SigningKey,
    Use,
    derived,
)
from hypothesis import given
from hypothesis import strategies as st

from .examples import FIRST, KEYRING, OPERATION, SECOND

# RFC 8032, section 7.1: secret key, public key, message, signature.
RFC_8032 = [
    (
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46b"
        "d25bf5f0595bbe24655141438e7a100b",
    ),
    (
        "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c"
        "387b2eaeb4302aeeb00d291612bb0c00",
    ),
    (
        "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc659"
        "4a7c15e9716ed28dc027beceea1ec40a",
    ),
]


@pytest.mark.parametrize(("secret", "public", "message", "signature"), RFC_8032)
def test_a_key_signs_as_rfc_8032_has_it(secret: str, public: str, message: str, signature: str) -> None:
    key = SigningKey.of(Ed25519PrivateKey.from_private_bytes(bytes.fromhex(secret)))

    assert key.public_key.hex() == public
    assert key.sign(bytes.fromhex(message)).hex() == signature


def test_the_key_of_an_operation_is_what_the_format_says() -> None:
    raw = HKDF(SHA256(), 32, salt=OPERATION.bytes, info=OPERATION_INFO).derive(FIRST.seed)

    key = FIRST.operation_key(OPERATION)

    assert key.public_key == Ed25519PrivateKey.from_private_bytes(raw).public_key().public_bytes_raw()
    Ed25519PublicKey.from_public_bytes(key.public_key).verify(key.sign(b"fact"), b"fact")


@given(st.uuids(), st.uuids())
def test_each_operation_and_each_epoch_has_a_key_of_its_own_found_again_at_any_time(one: UUID, other: UUID) -> None:
    assert FIRST.operation_key(one) == FIRST.operation_key(one)
    assert FIRST.operation_key(one) != SECOND.operation_key(one)
    assert (FIRST.operation_key(one) == FIRST.operation_key(other)) == (one == other)


def test_the_time_of_an_event_decides_its_epoch() -> None:
    assert KEYRING.epoch_at(datetime(2026, 12, 31, 23, 59, tzinfo=UTC)) == FIRST
    assert KEYRING.epoch_at(SECOND.not_before) == SECOND
    assert KEYRING.epoch_at(datetime(1960, 1, 1, tzinfo=UTC)) == FIRST
    assert KEYRING.newest == SECOND


def test_without_a_seed_nothing_is_signed() -> None:
    with pytest.raises(Refused, match="init"):
        Keyring([])
    with pytest.raises(Refused, match="31 bytes"):
        Epoch(1, FIRST.not_before, bytes(31))


AGES = st.integers(0, 10_000).map(lambda hours: timedelta(hours=hours))


@given(st.none() | AGES, st.none() | st.integers(1, 100), AGES, st.integers(0, 200))
def test_a_key_is_due_from_the_moment_on_that_either_limit_is_met(
    most: timedelta | None, most_times: int | None, age: timedelta, times: int
) -> None:
    policy = RotationPolicy({"kek": Limit(most, most_times)})

    why = policy.due("kek", Use(FIRST.not_before, times), FIRST.not_before + age)

    by_age, by_count = most is not None and age >= most, most_times is not None and times >= most_times
    assert (why is not None) == (by_age or by_count)
    assert (why == "count") == by_count
    # Once it is due it stays so, however long it waits and however often it is used meanwhile.
    later = Use(FIRST.not_before, times + 1)
    assert why is None or policy.due("kek", later, FIRST.not_before + age + timedelta(hours=1)) is not None
    assert policy.due("ca", Use(FIRST.not_before, times), FIRST.not_before + age) is None


def test_a_key_that_has_yet_to_begin_is_never_due() -> None:
    policy = RotationPolicy({"epoch": Limit(timedelta(0), 1)})

    assert policy.due("epoch", Use(SECOND.not_before, 9), SECOND.not_before - timedelta(seconds=1)) is None
    assert policy.due("epoch", Use(SECOND.not_before, 9), SECOND.not_before) == "count"


def test_no_representation_shows_a_secret() -> None:
    assert FIRST.seed.hex() not in repr(FIRST)
    assert repr(FIRST.seed) not in repr(FIRST)
    assert "sign" not in repr(FIRST.operation_key(OPERATION))


@given(seed=st.binary(min_size=1, max_size=80), salt=st.binary(min_size=1, max_size=80), info=st.binary(max_size=80))
def test_derivation_is_the_librarys_of_one_block(seed: bytes, salt: bytes, info: bytes) -> None:
    assert derived(seed, salt, info) == HKDF(SHA256(), 32, salt, info).derive(seed)


def test_derivation_gives_the_first_block_of_the_rfcs_vector() -> None:
    # RFC 5869, appendix A.1
    salt, info = bytes(range(13)), bytes(range(0xF0, 0xFA))

    assert derived(b"\x0b" * 22, salt, info).hex() == (
        "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf"
    )
