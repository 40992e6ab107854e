"""C2SP signed-note, tlog-checkpoint and tlog-cosignature: the specifications' own examples, RFC 8032, and refusals."""

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from grace_common.contract.errors import Refused
from grace_common.testing.ledger import SeededKey
from grace_common.transparency.checkpoint import (
    Checkpoint,
    QuorumMissing,
    ca_extension,
    open_checkpoint,
    previous_extension,
    sign_checkpoint,
)
from grace_common.transparency.ed25519 import SignatureInvalid, verify_signature
from grace_common.transparency.note import (
    Note,
    NoteSignature,
    SignatureType,
    VerifierKey,
    cosign,
    cosignature_time_s,
    cosigned_message,
    sign_note,
)
from grace_common.transparency.strict import Malformed
from hypothesis import given
from hypothesis import strategies as st

# The example of c2sp.org/signed-note, "Verifier keys".
EXAMPLE_VKEY = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
EXAMPLE_NOTE = """This is an example message.

— example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=
""".encode()
# The example of c2sp.org/tlog-cosignature.
COSIGNED = (
    "example.com/behind-the-sofa\n"
    "20852163\n"
    "CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n"
    "\n"
    "— example.com/behind-the-sofa "
    "Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n"
    "— witness.example.com/w1 "
    "jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oyin1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA==\n"
).encode()
# RFC 8032, section 7.1, tests 1 to 3: secret key, public key, message, signature.
RFC_8032 = [
    (
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155"
        "5fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
    ),
    (
        "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
        "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
    ),
    (
        "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac"
        "18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
    ),
]
LOG = SeededKey("log")
WITNESS = SeededKey("witness")
LOG_KEY = LOG.named("log.example")
WITNESS_KEY = WITNESS.named("witness.example", SignatureType.COSIGNATURE)
CHECKPOINT = Checkpoint("log.example", 7, b"r" * 32)


def cosigned(time_s: int = 1_679_315_147) -> bytes:
    note = Note.parse(sign_checkpoint(CHECKPOINT, LOG_KEY, LOG.sign))
    return note.with_signature(cosign(note.text, WITNESS_KEY, WITNESS.sign, time_s)).encode()


@pytest.mark.parametrize(("secret", "public", "message", "signature"), RFC_8032)
def test_the_vectors_of_rfc_8032_sign_and_verify(secret: str, public: str, message: str, signature: str) -> None:
    made = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(secret)).sign(bytes.fromhex(message))

    assert made.hex() == signature
    verify_signature(bytes.fromhex(public), made, bytes.fromhex(message), "the vector")
    with pytest.raises(SignatureInvalid, match="the vector"):
        verify_signature(bytes.fromhex(public), made, bytes.fromhex(message) + b"x", "the vector")


def test_the_specifications_note_verifies_and_is_written_back() -> None:
    key = VerifierKey.parse(EXAMPLE_VKEY)
    note = Note.parse(EXAMPLE_NOTE)

    assert str(key) == EXAMPLE_VKEY
    assert [line.name for line in note.verified_by([key])] == ["example.com/foo"]
    assert note.encode() == EXAMPLE_NOTE


def test_the_specifications_cosigned_checkpoint_is_read() -> None:
    note = Note.parse(COSIGNED)
    checkpoint = Checkpoint.parse(note.text)

    assert (checkpoint.origin, checkpoint.size, checkpoint.text) == (
        "example.com/behind-the-sofa",
        20_852_163,
        note.text,
    )
    assert cosignature_time_s(note.signatures[1]) == 1_679_315_147
    assert cosigned_message(note.text, 1_679_315_147) == (
        b"cosignature/v1\ntime 1679315147\nexample.com/behind-the-sofa\n20852163\n"
        b"CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n"
    )


@given(st.data())
def test_no_changed_bit_of_a_signed_note_passes(data: st.DataObject) -> None:
    whole = cosigned()
    bit = data.draw(st.integers(0, len(whole) * 8 - 1))
    changed = bytearray(whole)
    changed[bit // 8] ^= 1 << bit % 8

    with pytest.raises(Refused):
        open_checkpoint(bytes(changed), LOG_KEY, [WITNESS_KEY], quorum=1)


def test_a_checkpoint_is_opened_with_the_times_of_its_witnesses() -> None:
    opened = open_checkpoint(cosigned(), LOG_KEY, [WITNESS_KEY], quorum=1)

    assert opened.checkpoint == CHECKPOINT
    assert [(each.name, each.time_s) for each in opened.cosigners] == [("witness.example", 1_679_315_147)]
    assert open_checkpoint(cosigned(), LOG_KEY).cosigners == ()
    with pytest.raises(QuorumMissing, match="1 of the 2 witnesses"):
        open_checkpoint(cosigned(), LOG_KEY, [WITNESS_KEY, WITNESS_KEY], quorum=2)


def test_a_checkpoint_by_nobody_known_or_of_another_log_is_refused() -> None:
    with pytest.raises(SignatureInvalid, match="no signature by"):
        open_checkpoint(cosigned(), WITNESS.named("log.example"))
    with pytest.raises(SignatureInvalid, match=r"is of log\.example"):
        open_checkpoint(cosigned(), LOG.named("other.example"))
    with pytest.raises(Refused, match="another origin"):
        sign_checkpoint(CHECKPOINT, LOG.named("other.example"), LOG.sign)


def test_a_checkpoint_that_two_keys_of_the_log_signed_opens_with_either_and_with_both() -> None:
    next_one = SeededKey("next")
    key = next_one.named("log.example")
    both = sign_checkpoint(CHECKPOINT, key, next_one.sign, (LOG_KEY, LOG.sign))

    assert [line.key_id for line in Note.parse(both).signatures] == [key.key_id, LOG_KEY.key_id]
    assert open_checkpoint(both, key).signers == (key,)
    assert open_checkpoint(both, LOG_KEY).signers == (LOG_KEY,)
    assert open_checkpoint(both, [LOG_KEY, key]).signers == (LOG_KEY, key)
    assert open_checkpoint(cosigned(), [key, LOG_KEY]).signers == (LOG_KEY,)
    with pytest.raises(SignatureInvalid, match=r"no signature by .* or "):
        open_checkpoint(both, [SeededKey("x").named("log.example"), SeededKey("y").named("log.example")])
    with pytest.raises(SignatureInvalid, match="that of nobody"):
        open_checkpoint(both, [])


def test_a_wrong_line_of_one_known_key_spoils_what_the_other_signed() -> None:
    key = SeededKey("next").named("log.example")
    forged = sign_checkpoint(CHECKPOINT, LOG_KEY, LOG.sign, (key, LOG.sign))

    assert open_checkpoint(forged, LOG_KEY).signers == (LOG_KEY,)
    with pytest.raises(SignatureInvalid):
        open_checkpoint(forged, [LOG_KEY, key])
    with pytest.raises(Refused, match="another origin"):
        sign_checkpoint(CHECKPOINT, LOG_KEY, LOG.sign, (LOG.named("other.example"), LOG.sign))


def test_keys_of_the_wrong_type_neither_sign_nor_verify() -> None:
    with pytest.raises(Refused, match="signed with type 01"):
        sign_note("text\n", WITNESS_KEY, WITNESS.sign)
    with pytest.raises(Refused, match="made with type 04"):
        cosign("text\n", LOG_KEY, LOG.sign, 0)
    with pytest.raises(Refused, match="another type than 01"):
        open_checkpoint(cosigned(), WITNESS_KEY)
    with pytest.raises(Refused, match="another type than 04"):
        open_checkpoint(cosigned(), LOG_KEY, [LOG_KEY])
    for time_s in (-1, 1 << 63):
        with pytest.raises(Refused, match="lies outside"):
            cosign("text\n", WITNESS_KEY, WITNESS.sign, time_s)


def test_a_cosignature_without_its_time_is_refused() -> None:
    note = Note("text\n", (NoteSignature(WITNESS_KEY.name, WITNESS_KEY.key_id, b"x" * 64),))
    with pytest.raises(SignatureInvalid, match="64 bytes; expected 72"):
        note.verified_by([WITNESS_KEY])


def test_extension_lines_name_the_ca_and_the_checkpoint_before() -> None:
    ca = b"c" * 32
    checkpoint = Checkpoint("log.example", 8, b"s" * 32, (ca_extension(ca), previous_extension(CHECKPOINT)))

    assert Checkpoint.parse(checkpoint.text) == checkpoint
    assert checkpoint.names_ca(ca)
    assert not checkpoint.names_ca(b"d" * 32)
    assert checkpoint.values("grace-previous") == [CHECKPOINT.digest]


@pytest.mark.parametrize(
    "text",
    [
        "log.example\n7\n",
        "log.example\n07\ncnJycnJycnJycnJycnJycnJycnJycnJycnJycnJycnI=\n",
        "log.example\n+7\ncnJycnJycnJycnJycnJycnJycnJycnJycnJycnJycnI=\n",
        "log.example\n9223372036854775808\ncnJycnJycnJycnJycnJycnJycnJycnJycnJycnJycnI=\n",
        "log.example\n7\ncnJycg==\n",
        "log.example\n7\ncnJycnJycnJycnJycnJycnJycnJycnJycnJycnJycnJ=\n",
        "log.example\n7\ncnJycnJycnJycnJycnJycnJycnJycnJycnJycnJycnI=",
        "log.example\n7\ncnJycnJycnJycnJycnJycnJycnJycnJycnJycnJycnI=\n\n",
        "\n7\ncnJycnJycnJycnJycnJycnJycnJycnJycnJycnJycnI=\n",
    ],
)
def test_a_malformed_checkpoint_is_refused(text: str) -> None:
    with pytest.raises(Malformed):
        Checkpoint.parse(text)


def test_an_impossible_checkpoint_is_not_made() -> None:
    with pytest.raises(Malformed, match="31 bytes are no checkpoint"):
        Checkpoint("log.example", 7, b"r" * 31)
    with pytest.raises(Malformed, match="empty or broken"):
        Checkpoint("log.example", 7, b"r" * 32, ("two\nlines",))


@pytest.mark.parametrize(
    "data",
    [
        b"text\n",
        b"text\n\n",
        b"text\n\n\xe2\x80\x94 a AAAAAAA=",
        b"text\n\n- a AAAAAAA=\n",
        b"text\n\n\xe2\x80\x94 aAAAAAAA=\n",
        b"text\n\n\xe2\x80\x94 a+b AAAAAAA=\n",
        b"text\n\n\xe2\x80\x94 a\xc2\xa0b AAAAAAA=\n",
        b"text\n\n\xe2\x80\x94  AAAAAAA=\n",
        b"text\n\n\xe2\x80\x94 a AAAAAA==\n",
        b"text\n\n\xe2\x80\x94 a AAAAAAAAA\n",
        b"te\txt\n\n\xe2\x80\x94 a AAAAAAA=\n",
        b"te\xffxt\n\n\xe2\x80\x94 a AAAAAAA=\n",
        b"text\n\n" + b"\xe2\x80\x94 a AAAAAAA=\n" * 101,
    ],
)
def test_a_malformed_note_is_refused(data: bytes) -> None:
    with pytest.raises(Malformed):
        Note.parse(data)


@pytest.mark.parametrize(
    "vkey",
    [
        "example.com/foo",
        "example.com/foo+530d903b+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
        "example.com/foo+530D903A+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
        "example.com/bar+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
        "example.com/foo+530d903a+AukyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
        "example.com/foo+530d903a+",
        "example.com/foo+530d903a+Aeky",
        "+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
    ],
)
def test_a_malformed_vkey_is_refused(vkey: str) -> None:
    with pytest.raises(Malformed):
        VerifierKey.parse(vkey)
