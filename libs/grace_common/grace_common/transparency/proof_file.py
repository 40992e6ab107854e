"""`c2sp.org/tlog-proof@v1`: one text file that proves offline that an entry is in a log."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from grace_common.transparency import merkle
from grace_common.transparency.checkpoint import VerifiedCheckpoint, open_checkpoint
from grace_common.transparency.merkle import HASH_BYTES
from grace_common.transparency.note import VerifierKey
from grace_common.transparency.strict import Malformed, decode_base64, decode_decimal, encode_base64

HEADER: Final = "c2sp.org/tlog-proof@v1"


@dataclass(frozen=True, slots=True)
class ProofFile:
    """The inclusion proof of one entry with the signed checkpoint that it leads to.

    index       of the entry, zero-based
    proof       hashes of 32 bytes from the leaf's sibling up to the root's child
    checkpoint  the signed note, verbatim
    extra       bytes for the application, which nothing authenticates
    """

    index: int
    proof: tuple[bytes, ...]
    checkpoint: bytes
    extra: bytes | None = None

    def encode(self) -> bytes:
        """Return the file's bytes."""
        lines = [HEADER]
        if self.extra is not None:
            lines.append(f"extra {encode_base64(self.extra)}")
        lines.append(f"index {self.index}")
        lines += map(encode_base64, self.proof)
        return "\n".join(lines).encode() + b"\n\n" + self.checkpoint

    @classmethod
    def parse(cls, data: bytes) -> "ProofFile":
        """Return the proof of these bytes, not yet verified; raises Malformed."""
        head, blank, checkpoint = data.partition(b"\n\n")
        try:
            lines = head.decode("ascii").split("\n")
        except UnicodeDecodeError as error:
            raise Malformed("the proof's first part is not ASCII") from error
        if not blank or lines.pop(0) != HEADER:
            raise Malformed(f"the file does not begin with {HEADER!r}, or has no checkpoint after a blank line")
        extra = None
        if lines and lines[0].startswith("extra "):
            extra = decode_base64(lines.pop(0).removeprefix("extra "), "the extra line")
        if not lines or not lines[0].startswith("index "):
            raise Malformed("the proof has no index line")
        index = decode_decimal(lines.pop(0).removeprefix("index "), "the index line")
        proof = tuple(decode_base64(line, "a hash of the proof", HASH_BYTES) for line in lines)
        return cls(index, proof, checkpoint, extra)

    def verify(
        self, entry: bytes, log_key: VerifierKey, witnesses: Sequence[VerifierKey] = (), quorum: int = 0
    ) -> VerifiedCheckpoint:
        """Return the checkpoint under which `entry` is proven to stand at `index`.

        raises  Malformed, SignatureInvalid or QuorumMissing for the checkpoint, ProofInvalid for the proof
        """
        verified = open_checkpoint(self.checkpoint, log_key, witnesses, quorum)
        tree = verified.checkpoint
        merkle.verify_inclusion(merkle.leaf_hash(entry), self.index, tree.size, self.proof, tree.root)
        return verified
