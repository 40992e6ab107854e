"""C2SP tlog-witness: what a witness cosigns, checked against every pair of trees, and the form of a submission."""

import pytest
from grace_common.contract.errors import Refused
from grace_common.testing.ledger import MemoryLog, SeededKey
from grace_common.transparency import merkle
from grace_common.transparency.checkpoint import Checkpoint, open_checkpoint, sign_checkpoint
from grace_common.transparency.ed25519 import SignatureInvalid
from grace_common.transparency.merkle import EMPTY_ROOT, ProofInvalid
from grace_common.transparency.note import Note, NoteSignature, SignatureType, sign_note
from grace_common.transparency.strict import Malformed
from grace_common.transparency.witness import (
    OriginUnknown,
    Seen,
    SignedTree,
    SizeConflict,
    Submission,
    check_growth,
    open_signed,
    origin_hash,
    submission_from_tiles,
    succeed,
    trusted_since,
)
from hypothesis import given
from hypothesis import strategies as st

LOG = SeededKey("log.example")
LOG_KEY = LOG.named("log.example")
WITNESS = SeededKey("witness")
WITNESS_KEY = WITNESS.named("witness.example", SignatureType.COSIGNATURE)
LEAVES = merkle.leaf_hashes(b"entry %d" % number for number in range(70))
FORKED = [*LEAVES[:20], *merkle.leaf_hashes(b"other %d" % number for number in range(20, 70))]

# The example request of c2sp.org/tlog-witness.
EXAMPLE = """old 20852014
PlRNCrwHpqhGrupue0L7gxbjbMiKA9temvuZZDDpkaw=
jrJZDmY8Y7SyJE0MWLpLozkIVMSMZcD5kvuKxPC3swk=
5+pKlUdi2LeF/BcMHBn+Ku6yhPGNCswZZD1X/6QgPd8=
/6WVhPs2CwSsb5rYBH5cjHV/wSmA79abXAwhXw3Kj/0=

example.com/behind-the-sofa
20852163
CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=

— example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=
— example.com/behind-the-sofa opLqBQsREYCgu6xQkYQwJr9fo45a62DN9EdmHXnZdXNqlcVGlCum2Wks+49/V6267UEjw6QUXTS5Rovnzv++qbSzm9Q=
""".encode()  # noqa: E501


def signed(leaves: list[bytes], size: int) -> bytes:
    checkpoint = Checkpoint("log.example", size, merkle.root_hash(leaves[:size]))
    return sign_checkpoint(checkpoint, LOG_KEY, LOG.sign)


def submitted(leaves: list[bytes], old_size: int, size: int) -> tuple[Submission, SignedTree]:
    proof = tuple(merkle.consistency_proof(leaves[:size], old_size))
    submission = Submission(old_size, proof, signed(leaves, size))
    return submission, open_signed(submission.checkpoint, [LOG_KEY])


def seen(leaves: list[bytes], size: int) -> Seen:
    return Seen(size, merkle.root_hash(leaves[:size]))


@given(st.integers(0, 70), st.integers(0, 70))
def test_a_tree_that_continues_the_one_seen_may_be_cosigned(one: int, other: int) -> None:
    old_size, size = sorted((one, other))

    check_growth(*submitted(LEAVES, old_size, size), seen(LEAVES, old_size))


@given(st.integers(21, 70), st.integers(21, 70))
def test_a_fork_is_refused_at_every_size(one: int, other: int) -> None:
    old_size, size = sorted((one, other))

    with pytest.raises(ProofInvalid):
        check_growth(*submitted(FORKED, old_size, size), seen(LEAVES, old_size))


@given(st.integers(0, 70), st.integers(0, 70), st.integers(0, 70))
def test_a_proof_from_another_size_than_the_one_seen_conflicts_and_learns_the_size(
    one: int, other: int, remembered: int
) -> None:
    old_size, size = sorted((one, other))
    if remembered == old_size:
        remembered += 1

    with pytest.raises(SizeConflict) as conflict:
        check_growth(*submitted(LEAVES, old_size, size), Seen(remembered, b"r" * 32))

    assert conflict.value.size == remembered


@given(st.integers(1, 69), st.data())
def test_any_changed_bit_of_a_proof_is_refused(old_size: int, data: st.DataObject) -> None:
    submission, tree = submitted(LEAVES, old_size, 70)
    at = data.draw(st.integers(0, len(submission.proof) - 1))
    bit = data.draw(st.integers(0, 255))
    changed = bytearray(submission.proof[at])
    changed[bit // 8] ^= 1 << bit % 8
    proof = (*submission.proof[:at], bytes(changed), *submission.proof[at + 1 :])

    with pytest.raises(ProofInvalid):
        check_growth(Submission(old_size, proof, submission.checkpoint), tree, seen(LEAVES, old_size))


def test_an_old_size_above_the_checkpoints_is_malformed_whatever_was_seen() -> None:
    submission, tree = submitted(LEAVES, 3, 3)

    with pytest.raises(Malformed, match="old size 4 is above"):
        check_growth(Submission(4, (), submission.checkpoint), tree, seen(LEAVES, 4))


def test_a_first_submission_needs_an_empty_proof() -> None:
    submission, tree = submitted(LEAVES, 0, 5)

    with pytest.raises(ProofInvalid):
        check_growth(Submission(0, (b"h" * 32,), submission.checkpoint), tree, Seen())


def test_a_checkpoint_of_size_zero_must_have_the_empty_trees_root() -> None:
    note = sign_checkpoint(Checkpoint("log.example", 0, b"x" * 32), LOG_KEY, LOG.sign)

    check_growth(*submitted(LEAVES, 0, 0), Seen())
    with pytest.raises(ProofInvalid):
        check_growth(Submission(0, (), note), open_signed(note, [LOG_KEY]), Seen())


def test_the_cosigned_checkpoint_has_the_logs_verified_lines_and_the_witnesss() -> None:
    stranger = SeededKey("stranger").named("log.example")
    note = Note.parse(signed(LEAVES, 9))
    note = note.with_signature(sign_note(note.text, stranger, SeededKey("stranger").sign))

    line, cosigned = open_signed(note.encode(), [LOG_KEY]).cosigned(WITNESS_KEY, WITNESS.sign, 1_700_000_000)

    assert [each.name for each in cosigned.signatures] == ["log.example", "witness.example"]
    assert cosigned.signatures[-1] == line
    opened = open_checkpoint(cosigned.encode(), LOG_KEY, [WITNESS_KEY], quorum=1)
    assert [each.time_s for each in opened.cosigners] == [1_700_000_000]
    assert Seen.of(cosigned) == open_signed(note.encode(), [LOG_KEY]).seen == seen(LEAVES, 9)


def test_a_cosignature_without_a_time_is_refused() -> None:
    with pytest.raises(Refused, match="states a time"):
        open_signed(signed(LEAVES, 9), [LOG_KEY]).cosigned(WITNESS_KEY, WITNESS.sign, 0)


def test_an_origin_that_is_not_watched_is_told_from_a_missing_signature() -> None:
    with pytest.raises(OriginUnknown):
        open_signed(signed(LEAVES, 9), [SeededKey("b").named("b.example")])
    with pytest.raises(SignatureInvalid, match="no key that is trusted"):
        open_signed(signed(LEAVES, 9), [SeededKey("another").named("log.example")])


def test_one_wrong_line_of_a_trusted_key_spoils_the_note_even_beside_a_right_one() -> None:
    note = Note.parse(signed(LEAVES, 9)).with_signature(NoteSignature("log.example", LOG_KEY.key_id, b"x" * 64))

    with pytest.raises(SignatureInvalid):
        open_signed(note.encode(), [LOG_KEY])


def test_a_log_may_have_several_keys() -> None:
    newer = SeededKey("newer").named("log.example")

    assert open_signed(signed(LEAVES, 9), [newer, LOG_KEY]).checkpoint.size == 9


def test_the_specifications_example_request_is_read_and_written_alike() -> None:
    submission = Submission.parse(EXAMPLE)

    assert (submission.old_size, len(submission.proof)) == (20852014, 4)
    assert Submission.parse(submission.encode()) == submission
    assert submission.encode() == EXAMPLE


def test_a_first_submission_has_no_proof_lines() -> None:
    submission = Submission(0, (), signed(LEAVES, 3))

    assert submission.encode().startswith(b"old 0\n\nlog.example\n3\n")
    assert Submission.parse(submission.encode()) == submission


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"old 1\n",
        b"old 01\n\nnote",
        b"old -1\n\nnote",
        b"old  1\n\nnote",
        b"size 1\n\nnote",
        b"old 1\nAAAA\n\nnote",
        b"old 1\n\xff\n\nnote",
        b"old 1\n" + b"PlRNCrwHpqhGrupue0L7gxbjbMiKA9temvuZZDDpkaw=\n" * 64 + b"\nnote",
    ],
)
def test_a_malformed_body_is_refused(body: bytes) -> None:
    with pytest.raises(Malformed):
        Submission.parse(body)


@pytest.mark.parametrize("old_size", [0, 1, 255, 256, 257, 300])
def test_a_submission_is_made_from_the_published_tiles(old_size: int) -> None:
    log = MemoryLog("log.example")
    log.append(*[b"entry %d" % number for number in range(300)])
    note = log.publish()
    submission = submission_from_tiles(log, note, old_size)

    remembered = Seen(old_size, log.tree().root_at(old_size))
    check_growth(submission, open_signed(note, [log.key]), remembered)
    assert Seen().root == EMPTY_ROOT


def test_the_monitors_name_of_a_log_is_the_digest_of_its_origin() -> None:
    assert origin_hash("") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


OLD, NEW = LOG, SeededKey("successor")
KEYS = [OLD.named("log.example"), NEW.named("log.example")]


def by(*signers: SeededKey) -> SignedTree:
    first, *others = [(key.named("log.example"), key.sign) for key in signers]
    return open_signed(sign_checkpoint(Checkpoint("log.example", 7, b"r" * 32), *first, *others), KEYS)


def test_a_key_is_succeeded_by_one_that_signs_beside_it_and_then_counts_no_more() -> None:
    old, new = KEYS

    assert succeed(by(OLD), KEYS, None) == succeed(by(OLD), KEYS, old) == old
    assert succeed(by(NEW, OLD), KEYS, old) == succeed(by(NEW, OLD), KEYS, None) == new
    assert succeed(by(NEW), KEYS, new) == succeed(by(NEW, OLD), KEYS, new) == new
    for tree, trusted in ((by(NEW), old), (by(OLD), new)):
        with pytest.raises(SignatureInvalid, match="never by one that signs alone"):
            succeed(tree, KEYS, trusted)


def test_a_key_that_nobody_vouches_for_succeeds_nobody() -> None:
    old, _ = KEYS
    thief = SeededKey("thief")
    note = sign_checkpoint(
        Checkpoint("log.example", 7, b"r" * 32), thief.named("log.example"), thief.sign, (old, OLD.sign)
    )

    tree = open_signed(note, [old])

    assert [line.key_id for line in tree.note.signatures] == [old.key_id]
    assert succeed(tree, [old], old) == succeed(tree, [], old) == old


def test_what_was_cosigned_last_tells_which_key_counts() -> None:
    assert trusted_since(KEYS, by(OLD).note) == KEYS[0]
    assert trusted_since(KEYS, by(NEW, OLD).note) == trusted_since(KEYS, by(NEW).note) == KEYS[1]
    assert trusted_since(KEYS[1:], by(OLD).note) is None
