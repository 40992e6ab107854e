"""Proofs about the published log, read from its static files."""

from dataclasses import dataclass
from typing import Any

from grace_common.contract.errors import Unready
from grace_common.transparency import merkle
from grace_common.transparency.checkpoint import Checkpoint
from grace_common.transparency.note import Note
from grace_common.transparency.statement import read_leaf
from grace_common.transparency.strict import encode_base64, parse_json
from grace_common.transparency.tile import TileReader, TreeReader

from grace_gateway.domain.refusals import Unknown, Unprocessable


@dataclass(frozen=True, slots=True)
class PublishedLog:
    """The log as its newest checkpoint states it. Signatures are for the client to verify: it has the log's key."""

    note: bytes
    checkpoint: Checkpoint
    tree: TreeReader

    @classmethod
    def read(cls, files: TileReader) -> "PublishedLog":
        """Return the published log; raises Unready when nothing is published yet."""
        return cls._of(files, files.read("checkpoint"))

    @classmethod
    def cosigned(cls, files: TileReader) -> "PublishedLog | None":
        """Return the log as its witness cosigned it last, which may be a little behind; None when it never did."""
        try:
            note = files.read("checkpoint.cosigned")
        except Unready:
            return None
        return cls._of(files, note)

    @classmethod
    def _of(cls, files: TileReader, note: bytes) -> "PublishedLog":
        checkpoint = Checkpoint.parse(Note.parse(note).text)
        return cls(note, checkpoint, TreeReader(files, checkpoint.size, checkpoint.root))

    def described(self) -> dict[str, Any]:
        """Return the checkpoint as JSON values, the signed note included."""
        return {
            "origin": self.checkpoint.origin,
            "tree_size": self.checkpoint.size,
            "root": encode_base64(self.checkpoint.root),
            "extensions": list(self.checkpoint.extensions),
            "note": self.note.decode(),
        }

    def entry(self, index: int) -> dict[str, Any]:
        """Return an entry's leaf, what it states, and its inclusion proof; Unknown beyond the checkpoint."""
        if index >= self.checkpoint.size:
            raise Unknown(f"the published log has {self.checkpoint.size} entries; there is no entry {index} (yet)")
        leaf = self.tree.entry(index)
        _, statement = read_leaf(leaf)
        proof = [encode_base64(digest) for digest in self.tree.inclusion_proof(index)]
        return {
            "index": index,
            "leaf": encode_base64(leaf),
            "statement": None if statement is None else parse_json(statement.encode(), "the statement"),
            "inclusion_proof": proof,
            "checkpoint": self.described(),
        }

    def consistency(self, old_size: int, size: int) -> dict[str, Any]:
        """Return the proof that the tree of `size` extends that of `old_size`."""
        if not 0 < old_size <= size <= self.checkpoint.size:
            raise Unprocessable(f"expected 0 < from ≤ to ≤ {self.checkpoint.size}, found from={old_size} and to={size}")
        ranges = merkle.consistency_ranges(old_size, size)
        return {
            "from": old_size,
            "to": size,
            "from_root": encode_base64(self.tree.root_at(old_size)),
            "to_root": encode_base64(self.tree.root_at(size)),
            "proof": [encode_base64(digest) for digest in merkle.proof_of(ranges, self.tree.subtree_hash)],
            "checkpoint": self.described(),
        }
