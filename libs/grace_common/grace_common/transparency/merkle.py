"""The Merkle tree of RFC 6962 and RFC 9162: hashes, inclusion and consistency proofs, and growth at the right edge.

A perfect subtree is named (level, index): it spans the leaves index·2^level up to (index + 1)·2^level. Every proof is a
list of ranges, and every range a row of perfect subtrees; whoever can give the hash of a perfect subtree (a list of
leaf hashes here, tiles in `tile.py`) can make every proof.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256

from grace_common.contract.errors import Refused

HASH_BYTES = 32
EMPTY_ROOT = sha256(b"").digest()  # RFC 6962, section 2.1

Range = tuple[int, int]  # leaves from the first number up to, not including, the second
Subtree = tuple[int, int]  # (level, index) of a perfect subtree
SubtreeHash = Callable[[int, int], bytes]


class ProofInvalid(Refused):
    """A proof, or the tiles one is read from, does not lead to the root."""


def leaf_hash(entry: bytes) -> bytes:
    """Return SHA-256(00 ‖ entry)."""
    return sha256(b"\x00" + entry).digest()


def leaf_hashes(entries: Iterable[bytes]) -> list[bytes]:
    """Return the leaf hash of each entry, in order."""
    digest = sha256
    return [digest(b"\x00" + entry).digest() for entry in entries]


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return SHA-256(01 ‖ left ‖ right)."""
    return sha256(b"\x01" + left + right).digest()


def _parents(nodes: Sequence[bytes]) -> list[bytes]:
    """Return the hash of each pair of neighbours; a last node without neighbour is left out."""
    digest = sha256
    return [digest(b"\x01" + left + right).digest() for left, right in zip(nodes[::2], nodes[1::2], strict=False)]


def _level_above(nodes: Sequence[bytes]) -> list[bytes]:
    """Return the next level of a tree: a last node without neighbour moves up unchanged."""
    above = _parents(nodes)
    if len(nodes) & 1:
        above.append(nodes[-1])
    return above


def root_hash(hashes: Sequence[bytes]) -> bytes:
    """Return the root of the tree over these leaf hashes, or of a subtree over its node hashes (RFC 9162, 2.1.1)."""
    if not hashes:
        return EMPTY_ROOT
    nodes = hashes
    while len(nodes) > 1:
        nodes = _level_above(nodes)
    return nodes[0]


def _split(size: int) -> int:
    """Return the largest power of two below `size`, which is at least 2."""
    return 1 << (size - 1).bit_length() - 1


def inclusion_ranges(index: int, size: int) -> list[Range]:
    """Return the leaves under each hash of a leaf's inclusion proof, from its sibling up to the root's child.

    raises  Refused when index lies outside a tree of `size` leaves
    source  RFC 9162, section 2.1.3.1 (PATH)
    """
    if not 0 <= index < size:
        raise Refused(f"leaf index {index} lies outside a tree of {size} leaves")
    ranges: list[Range] = []
    start, end = 0, size
    while end - start > 1:
        middle = start + _split(end - start)
        if index < middle:
            ranges.append((middle, end))
            end = middle
        else:
            ranges.append((start, middle))
            start = middle
    ranges.reverse()
    return ranges


def consistency_ranges(old_size: int, new_size: int) -> list[Range]:
    """Return the leaves under each hash of the consistency proof between two sizes of one tree.

    returns  an empty list when old_size is 0 or new_size: the roots alone decide
    raises   Refused unless 0 ≤ old_size ≤ new_size
    source   RFC 9162, section 2.1.4.1 (PROOF, SUBPROOF)
    """
    if not 0 <= old_size <= new_size:
        raise Refused(f"a tree of {new_size} leaves was never one of {old_size}")
    if old_size in (0, new_size):
        return []
    ranges: list[Range] = []
    start, end = 0, new_size
    while end != old_size:
        middle = start + _split(end - start)
        if old_size <= middle:
            ranges.append((middle, end))
            end = middle
        else:
            ranges.append((start, middle))
            start = middle
    if start != 0:  # at start 0 the old tree is itself this subtree, and the verifier knows its root
        ranges.append((start, end))
    ranges.reverse()
    return ranges


def perfect_subtrees(start: int, end: int) -> list[Subtree]:
    """Return the row of perfect subtrees that make up a range of a tree, largest first.

    start  a multiple of the largest power of two not above end - start, as in every range of a proof
    """
    subtrees: list[Subtree] = []
    while start < end:
        level = (end - start).bit_length() - 1
        subtrees.append((level, start >> level))
        start += 1 << level
    return subtrees


def fold(row: Sequence[bytes]) -> bytes:
    """Return the hash over a row of perfect subtrees, largest first; the empty row gives the empty tree's root."""
    if not row:
        return EMPTY_ROOT
    folded = row[-1]
    for left in reversed(row[:-1]):
        folded = node_hash(left, folded)
    return folded


def proof_of(ranges: Iterable[Range], subtree_hash: SubtreeHash) -> list[bytes]:
    """Return the hash over each range, put together from perfect subtrees."""
    return [
        fold([subtree_hash(level, index) for level, index in perfect_subtrees(start, end)]) for start, end in ranges
    ]


def audit_path(hashes: Sequence[bytes], index: int) -> list[bytes]:
    """Return the inclusion proof of one leaf, from the leaf's sibling up to the root's child.

    hashes   n ≥ 1 leaf hashes of 32 bytes, oldest first
    index    zero-based, 0 ≤ index < n
    returns  at most ⌈log2 n⌉ digests of 32 bytes; empty when n = 1
    raises   Refused when index lies outside the tree
    source   RFC 9162, section 2.1.3.1 (PATH)
    """
    return [root_hash(hashes[start:end]) for start, end in inclusion_ranges(index, len(hashes))]


def root_and_paths(hashes: Sequence[bytes]) -> tuple[bytes, list[bytes]]:
    """Return the root over n ≥ 1 leaf hashes and the inclusion proof of each, its hashes joined."""
    levels: list[Sequence[bytes]] = [hashes]
    while len(levels[-1]) > 1:
        levels.append(_level_above(levels[-1]))
    paths = [b""]
    for level in reversed(levels[:-1]):  # a node's path is its sibling, where it has one, and its parent's path
        size = len(level)
        paths = [level[at ^ 1] + paths[at >> 1] if at ^ 1 < size else paths[at >> 1] for at in range(size)]
    return levels[-1][0], paths


def consistency_proof(hashes: Sequence[bytes], old_size: int) -> list[bytes]:
    """Return the proof that the tree over all `hashes` extends the tree over the first `old_size` of them.

    returns  empty when old_size is 0 or the whole
    raises   Refused unless 0 ≤ old_size ≤ n
    source   RFC 9162, section 2.1.4.1 (PROOF)
    """
    return [root_hash(hashes[start:end]) for start, end in consistency_ranges(old_size, len(hashes))]


def _check_digests(*digests: bytes) -> None:
    for digest in digests:
        if len(digest) != HASH_BYTES:
            raise ProofInvalid(f"a hash of {len(digest)} bytes; expected {HASH_BYTES}")


def verify_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> None:
    """Return if `proof` shows that the leaf hash stands at `index` of the tree with this size and root.

    raises  ProofInvalid otherwise
    source  RFC 9162, section 2.1.3.2
    """
    _check_digests(root)
    if climb(leaf, index, size, proof) != root:
        raise ProofInvalid(f"the inclusion proof of leaf {index} leads to another root than that of the {size} leaves")


def climb(leaf: bytes, index: int, size: int, proof: Sequence[bytes]) -> bytes:
    """Return the root to which an inclusion proof leads from the leaf hash at `index` of a tree of this size.

    raises  ProofInvalid when the proof has not exactly the hashes that lead there
    source  RFC 9162, section 2.1.3.2
    """
    if not 0 <= index < size:
        raise ProofInvalid(f"leaf index {index} lies outside a tree of {size} leaves")
    _check_digests(leaf, *proof)
    node, last, reached = index, size - 1, leaf
    for digest in proof:
        if last == 0:
            raise ProofInvalid(f"the inclusion proof of leaf {index} has hashes left over")
        if node & 1 or node == last:
            reached = node_hash(digest, reached)
            while not node & 1 and node:
                node >>= 1
                last >>= 1
        else:
            reached = node_hash(reached, digest)
        node >>= 1
        last >>= 1
    if last != 0:
        raise ProofInvalid(f"the inclusion proof of leaf {index} ends below the root")
    return reached


def verify_consistency(old_size: int, new_size: int, old_root: bytes, new_root: bytes, proof: Sequence[bytes]) -> None:
    """Return if `proof` shows that the new tree begins with all leaves of the old one, in order.

    raises  ProofInvalid otherwise
    source  RFC 9162, section 2.1.4.2; the empty tree, with the empty tree's root, is consistent with every tree
    """
    if not 0 <= old_size <= new_size:
        raise ProofInvalid(f"a tree of {new_size} leaves was never one of {old_size}")
    _check_digests(old_root, new_root, *proof)
    if old_size in (0, new_size):
        if proof:
            raise ProofInvalid("a consistency proof where the roots alone decide")
        if old_root != (new_root if old_size == new_size else EMPTY_ROOT):
            raise ProofInvalid(f"two roots for one tree of {old_size} leaves")
        return
    path = list(proof)
    if old_size & (old_size - 1) == 0:  # the old tree is perfect, and its root the first node of the way
        path.insert(0, old_root)
    if not path:
        raise ProofInvalid("the consistency proof is empty")
    node, last = old_size - 1, new_size - 1
    while node & 1:
        node >>= 1
        last >>= 1
    old_reached = new_reached = path[0]
    for digest in path[1:]:
        if last == 0:
            raise ProofInvalid("the consistency proof has hashes left over")
        if node & 1 or node == last:
            old_reached = node_hash(digest, old_reached)
            new_reached = node_hash(digest, new_reached)
            while not node & 1 and node:
                node >>= 1
                last >>= 1
        else:
            new_reached = node_hash(new_reached, digest)
        node >>= 1
        last >>= 1
    if last != 0:
        raise ProofInvalid("the consistency proof ends below the root")
    if old_reached != old_root:
        raise ProofInvalid(f"the consistency proof leads to another root of the {old_size} leaves")
    if new_reached != new_root:
        raise ProofInvalid(f"the consistency proof leads to another root of the {new_size} leaves")


@dataclass(frozen=True, slots=True)
class RightEdge:
    """All that is needed of a tree to append to it: its size and its row of perfect subtrees (a compact range).

    hashes  one digest of 32 bytes for each bit set in `size`, largest subtree first
    """

    size: int = 0
    hashes: tuple[bytes, ...] = ()

    def __post_init__(self) -> None:
        if self.size.bit_count() != len(self.hashes):
            raise Refused(f"{len(self.hashes)} hashes are not the right edge of a tree of {self.size} leaves")

    @property
    def root(self) -> bytes:
        """The tree's root hash."""
        return fold(self.hashes)

    def append(self, hashes: Sequence[bytes]) -> "Growth":
        """Return the edge after these leaf hashes, and every perfect subtree they completed."""
        waiting = list(self.hashes)  # the smallest is last
        edge: list[bytes] = []  # the smallest is first
        levels: list[list[bytes]] = []
        nodes = list(hashes)
        old_count = self.size  # perfect subtrees of this level in the old tree
        while nodes or old_count:
            levels.append(nodes)
            if old_count & 1:
                nodes = [waiting.pop(), *nodes]
            if len(nodes) & 1:
                edge.append(nodes[-1])
            nodes = _parents(nodes)
            old_count >>= 1
        return Growth(RightEdge(self.size + len(hashes), tuple(reversed(edge))), levels)


@dataclass(frozen=True, slots=True)
class Growth:
    """What a batch of leaves made of a tree.

    levels  the hashes of newly completed perfect subtrees of each level, level 0 being the leaves; those of
            level l begin at index old_size >> l
    """

    edge: RightEdge
    levels: list[list[bytes]]
