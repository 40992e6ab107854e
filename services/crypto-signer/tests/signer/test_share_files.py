"""The root as shares: three of five make it, two do not, and a wrong one is named."""

from dataclasses import replace
from hashlib import sha256

import orjson
import pytest
from grace_common.contract.errors import Refused
from grace_crypto_signer.adapters.sealing import pretty
from grace_crypto_signer.adapters.share_files import HeldShare, SplitRoot, combine_shares, split_root
from grace_crypto_signer.domain.root import Root
from shamir_mnemonic import combine_mnemonics

ROOT = Root(sha256(b"root").digest())
OTHER = Root(sha256(b"another root").digest())
COST = {"n": 1 << 10, "r": 8, "p": 1}
PEOPLE = [(name, f"{name}'s passphrase".encode()) for name in ("ada", "grace", "olga", "anton", "emmy")]


def shares(split: SplitRoot) -> list[HeldShare]:
    return [
        HeldShare(name, data, passphrase)
        for (name, data), (_, passphrase) in zip(split.files.items(), PEOPLE, strict=True)
    ]


SPLIT = split_root(ROOT, PEOPLE, COST)
SHARES = shares(SPLIT)
KNOWN = {SPLIT.split: SPLIT.commitments}


def combine(*given: HeldShare) -> Root:
    return combine_shares(given, ROOT.signing.key_id, KNOWN)


@pytest.mark.parametrize("chosen", [(0, 1, 2), (4, 2, 0), (1, 3, 4), (0, 1, 2, 3), (0, 1, 2, 3, 4)])
def test_any_three_shares_make_the_root(chosen: tuple[int, ...]) -> None:
    assert combine(*(SHARES[index] for index in chosen)) == ROOT


@pytest.mark.parametrize("count", [0, 1, 2])
def test_fewer_than_three_shares_do_not_suffice(count: int) -> None:
    with pytest.raises(Refused, match=rf"{count} shares do not suffice: 3 are needed, {3 - count} more"):
        combine(*SHARES[:count])


def test_a_wrong_passphrase_is_named_with_its_holder() -> None:
    with pytest.raises(Refused, match=r"share-2-grace\.json, the share of grace, does not open"):
        combine(SHARES[0], replace(SHARES[1], passphrase=b"guess"), SHARES[2])


@pytest.mark.parametrize("member", ["index", "threshold", "of", "holder", "sealed", "nonce", "salt"])
def test_a_changed_share_is_named(member: str) -> None:
    stored = orjson.loads(SHARES[1].data)
    value = stored[member]
    stored[member] = value + 1 if isinstance(value, int) else ("B" if value[0] == "A" else "A") + value[1:]

    with pytest.raises(Refused, match=r"share-2-grace\.json, .*does not open"):
        combine(SHARES[0], replace(SHARES[1], data=pretty(stored)), SHARES[2])


def test_a_share_that_opens_but_is_not_the_one_handed_out_is_named() -> None:
    # Whoever holds a share could seal other words under the same header; the commitment tells.
    forged = shares(split_root(OTHER, PEOPLE, COST))[1]
    known = {SPLIT.split: [*SPLIT.commitments[:1], {**SPLIT.commitments[1], "sha256": "00" * 32}]}

    with pytest.raises(Refused, match=r"share-2-grace\.json is a wrong share: .*handed out to grace"):
        combine_shares([SHARES[0], SHARES[1]], ROOT.signing.key_id, known)
    with pytest.raises(Refused, match=r"share-2-grace\.json is a share of the root .*, not of"):
        combine(SHARES[0], forged)


def test_shares_of_two_splits_do_not_go_together() -> None:
    again = shares(split_root(ROOT, PEOPLE, COST))

    with pytest.raises(Refused, match=r"share-2-grace\.json is of split .*only shares of one split go together"):
        combine(SHARES[0], again[1], SHARES[2])
    assert combine(*again[:3]) == ROOT


def test_the_same_share_twice_counts_once_and_is_told() -> None:
    with pytest.raises(Refused, match=r"copy\.json is the same share as share-1-ada\.json"):
        combine(SHARES[0], replace(SHARES[0], name="copy.json"), SHARES[1])


@pytest.mark.parametrize("data", [b"", b"not json", b"[]", b'{"version": 1}', b'{"version": 1, "kind": "letter"}'])
def test_a_file_that_is_no_share_is_named(data: bytes) -> None:
    with pytest.raises(Refused, match=r"letter\.json is no"):
        combine(HeldShare("letter.json", data, b"x"))


def test_a_share_that_asks_for_all_memory_is_refused() -> None:
    stored = orjson.loads(SHARES[0].data) | {"scrypt": {"n": 1 << 30, "r": 8, "p": 1}}

    with pytest.raises(Refused, match=r"share-1-ada\.json is no share of the root: its scrypt cost"):
        combine(replace(SHARES[0], data=pretty(stored)))


def test_no_file_shows_the_root_or_the_words_of_a_share() -> None:
    for data in SPLIT.files.values():
        assert ROOT.secret.hex().encode() not in data
    assert ROOT.secret.hex() not in repr(ROOT)
    assert repr(ROOT.secret) not in repr(ROOT)
    assert "passphrase" not in repr(SHARES[0])
    assert len({one["sha256"] for one in SPLIT.commitments}) == 5


@pytest.mark.parametrize(
    ("people", "why"),
    [
        ([("ada", b"x"), ("ada", b"y"), ("olga", b"z")], "each once"),
        ([("../ada", b"x"), ("grace", b"y"), ("olga", b"z")], "letters and digits"),
        ([("ada", b"x"), ("grace", b""), ("olga", b"z")], "the share of grace needs a passphrase"),
        ([("ada", b"x"), ("grace", b"y")], "3 of 2 shares cannot be made: name 3 to 16 holders"),
    ],
)
def test_a_split_that_makes_no_sense_is_refused(people: list[tuple[str, bytes]], why: str) -> None:
    with pytest.raises(Refused, match=why):
        split_root(ROOT, people, COST)


def test_shares_are_those_of_slip_39() -> None:
    # SLIP-39, vectors.json: a secret of 256 bits, two of three shares, passphrase TREZOR.
    words = [
        "humidity disease academic always aluminum jewelry energy woman receiver strategy amuse duckling lying "
        "evidence network walnut tactics forget hairy rebound impulse brother survive clothes stadium mailman rival "
        "ocean reward venture always armed unwrap",
        "humidity disease academic agency actress jacket gross physics cylinder solution fake mortgage benefit "
        "public busy prepare sharp friar change work slow purchase ruler again tricycle involve viral wireless "
        "mixture anatomy desert cargo upgrade",
    ]

    assert combine_mnemonics(words, b"TREZOR").hex() == (
        "c938b319067687e990e05e0da0ecce1278f75ff58d9853f19dcaeed5de104aae"
    )
