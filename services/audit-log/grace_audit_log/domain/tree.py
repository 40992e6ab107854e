"""How the ledger grows: a batch of leaves, the tiles it completes, and the signed checkpoint over all of it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from grace_common.transparency import checkpoint as checkpoints
from grace_common.transparency import merkle
from grace_common.transparency.checkpoint import Checkpoint
from grace_common.transparency.ed25519 import Sign
from grace_common.transparency.note import VerifierKey
from grace_common.transparency.tile import HEIGHT, WIDTH, Tile, TileEdge


@dataclass(frozen=True)
class LogIdentity:
    """Who signs the checkpoints; implements `LogKeys` for a log whose keys nobody replaces.

    key         the verifier key that leads; its name is the log's origin
    extensions  lines that every checkpoint carries
    ca_keys     returns the public keys of the CAs under which the statements are signed, 32 raw bytes each
    others      keys that sign beside it: the one that it succeeds, until the key directory says that it has ended
    ended       keys that signed before, as the key directory says: what they signed is this log's
    least       a checkpoint of this log, with which its keys were restored; None: they are where they were made
    """

    key: VerifierKey
    sign: Sign
    extensions: tuple[str, ...] = ()
    ca_keys: Callable[[], tuple[bytes, ...]] = tuple
    others: tuple[tuple[VerifierKey, Sign], ...] = ()
    ended: tuple[VerifierKey, ...] = ()
    least: Checkpoint | None = None

    @property
    def keys(self) -> tuple[VerifierKey, ...]:
        """Every key that signs, the newest first."""
        return (self.key, *(key for key, _ in self.others))

    def identity(self) -> "LogIdentity":
        return self

    def follow(self, directories: Sequence[bytes]) -> "LogIdentity":
        return self

    def settle(self) -> None:
        return

    def checkpoint(self, edge: TileEdge, previous: Checkpoint | None) -> tuple[Checkpoint, bytes]:
        """Return the checkpoint of a tree and its signed note; it names the checkpoint before it.

        A CA that was named once is named for ever: what it signed stands in the tree.
        """
        named = () if previous is None else (checkpoints.previous_extension(previous),)
        before = () if previous is None else checkpoints.ca_extensions(previous)
        lines = (*(checkpoints.ca_extension(key) for key in self.ca_keys()), *self.extensions, *before)
        made = Checkpoint(self.key.name, edge.size, edge.root, (*dict.fromkeys(lines), *named))
        return made, checkpoints.sign_checkpoint(made, self.key, self.sign, *self.others)


@dataclass(frozen=True, slots=True)
class Head:
    """The newest state of the tree that is durable, and its checkpoint."""

    edge: TileEdge
    checkpoint: Checkpoint


@dataclass(frozen=True, slots=True)
class FullTile:
    """A tile that will never change again. `root` is its hash in the tile above."""

    level: int
    index: int
    hashes: bytes
    root: bytes


@dataclass(frozen=True, slots=True)
class Growth:
    """One batch as it is to be committed: all of it or nothing."""

    before: Head
    after: Head
    note: bytes
    leaf_hashes: list[bytes]
    full_tiles: list[FullTile]


def grow(head: Head, leaves: Sequence[bytes], log: LogIdentity) -> Growth:
    """Return what at least one leaf more makes of the tree."""
    leaf_hashes = merkle.leaf_hashes(leaves)
    grown = head.edge.append(leaf_hashes)
    made, note = log.checkpoint(grown.edge, head.checkpoint)
    return Growth(head, Head(grown.edge, made), note, leaf_hashes, _full_tiles(grown.tiles))


def _full_tiles(tiles: Sequence[tuple[Tile, bytes]]) -> list[FullTile]:
    data_at = {(tile.level, tile.index): data for tile, data in tiles}
    full: list[FullTile] = []
    for tile, data in tiles:
        if tile.width == WIDTH:
            above = data_at[tile.level + 1, tile.index >> HEIGHT]  # has grown too: by this tile's root
            start = tile.index % WIDTH * merkle.HASH_BYTES
            full.append(FullTile(tile.level, tile.index, data, above[start : start + merkle.HASH_BYTES]))
    return full
