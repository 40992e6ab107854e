"""`c2sp.org/tlog-proof@v1` files: written, read, verified, refused."""

import pytest
from grace_common.contract.errors import Refused
from grace_common.testing.ledger import MemoryLog, SeededKey
from grace_common.transparency.checkpoint import QuorumMissing
from grace_common.transparency.note import SignatureType
from grace_common.transparency.proof_file import ProofFile
from grace_common.transparency.strict import Malformed
from hypothesis import given
from hypothesis import strategies as st

LOG = MemoryLog()
LOG.append(*[b"entry %d" % number for number in range(300)])
CHECKPOINT = LOG.publish()
PROOF = ProofFile(299, tuple(LOG.tree().inclusion_proof(299)), CHECKPOINT)


def test_a_proof_file_has_the_lines_of_the_specification() -> None:
    lines = PROOF.encode().decode().split("\n")

    assert lines[:2] == ["c2sp.org/tlog-proof@v1", "index 299"]
    assert lines[2 + len(PROOF.proof) : 5 + len(PROOF.proof)] == ["", "log.example/grace", "300"]


def test_the_entry_is_proven_offline() -> None:
    verified = ProofFile.parse(PROOF.encode()).verify(b"entry 299", LOG.key)
    assert verified.checkpoint.size == 300


def test_a_log_of_one_entry_needs_no_hashes() -> None:
    log = MemoryLog()
    log.append(b"only")
    proof = ProofFile(0, (), log.publish(), extra=b"for the application")

    assert b"\nextra Zm9yIHRoZSBhcHBsaWNhdGlvbg==\nindex 0\n\nlog.example/grace\n1\n" in proof.encode()
    assert ProofFile.parse(proof.encode()) == proof
    assert ProofFile.parse(proof.encode()).verify(b"only", log.key).checkpoint.size == 1


def test_a_missing_quorum_is_named() -> None:
    witness = SeededKey("witness").named("witness.example", SignatureType.COSIGNATURE)
    with pytest.raises(QuorumMissing):
        PROOF.verify(b"entry 299", LOG.key, [witness], quorum=1)


def test_another_entry_is_not_proven() -> None:
    with pytest.raises(Refused, match="leads to another root"):
        PROOF.verify(b"entry 298", LOG.key)


@given(st.data())
def test_no_changed_bit_of_a_proof_file_passes(data: st.DataObject) -> None:
    whole = PROOF.encode()
    bit = data.draw(st.integers(0, len(whole) * 8 - 1))
    changed = bytearray(whole)
    changed[bit // 8] ^= 1 << bit % 8

    with pytest.raises(Refused):
        ProofFile.parse(bytes(changed)).verify(b"entry 299", LOG.key)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"c2sp.org/tlog-proof@v1\nindex 0\n",
        b"c2sp.org/tlog-proof@v2\nindex 0\n\nx",
        b"c2sp.org/tlog-proof@v1\n\nx",
        b"c2sp.org/tlog-proof@v1\nextra AA==\n\nx",
        b"c2sp.org/tlog-proof@v1\nindex 00\n\nx",
        b"c2sp.org/tlog-proof@v1\nindex 0\nAA==\n\nx",
        b"c2sp.org/tlog-proof@v1\nindex \xc2\xb2\n\nx",
        b"c2sp.org/tlog-proof@v1\nindex 0\nextra AA==\n\nx",
    ],
)
def test_a_malformed_proof_file_is_refused(data: bytes) -> None:
    with pytest.raises(Malformed):
        ProofFile.parse(data)
