"""Growing the tree from its full leaf tiles, and comparing each tile above with what is stored."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from grace_common.contract.errors import Refused, Unready
from grace_common.transparency import merkle
from grace_common.transparency.merkle import HASH_BYTES
from grace_common.transparency.tile import (
    HEIGHT,
    WIDTH,
    Tile,
    TileEdge,
    TileReader,
    read_tile,
    tile_hashes,
)

from grace_cli.verifying.faults import Fault, difference


@dataclass(frozen=True, slots=True)
class LeafTile:
    """The leaf hashes of one bundle as its entries have them, and, where these differ, as the stored tile has them.

    hashes  computed from the entries; None where the bundle cannot be read
    stored  None where the stored tile says the same, or cannot be read
    """

    width: int
    hashes: Sequence[bytes] | None
    stored: bytes | None = None

    @property
    def root(self) -> bytes | None:
        return merkle.root_hash(self.hashes) if self.hashes is not None else None


class TreeCheck:
    """The tree over all leaf tiles so far. What differs is judged by the hash above it: one change is one fault.

    reader  the stored log, of which `size` leaves are checked
    edge    where to begin, at a full leaf tile
    """

    def __init__(self, reader: TileReader, size: int, edge: TileEdge, report: Callable[[Fault], None]) -> None:
        self._reader = reader
        self._size = size
        self._report = report
        self._done = edge.size >> HEIGHT  # leaf tiles
        self._levels: list[list[bytes]] = [tile_hashes(tail) for tail in edge.tails[1:]]  # from level 1 on
        self._last: LeafTile | None = None

    @property
    def edge(self) -> TileEdge:
        """The right edge over the full leaf tiles."""
        size = self._done << HEIGHT
        return TileEdge.of_tails(size, [b"", *self._tails(size)] if size else [])

    def add(self, tile: LeafTile) -> None:
        """Take in the next leaf tile, or the root of one that is as stored."""
        if tile.width < WIDTH:
            self._last = tile
            return
        index = self._done
        self._done += 1
        computed, stored = tile.root, merkle.root_hash(tile_hashes(tile.stored)) if tile.stored else None
        self._push(1, self._judge(index, tile, computed, stored))

    def add_root(self, root: bytes) -> None:
        """Take in the root of the next leaf tile, which is full and as stored."""
        self._done += 1
        self._push(1, root)

    def _judge(self, index: int, tile: LeafTile, computed: bytes | None, stored: bytes | None) -> bytes:
        """Report what differs within a leaf tile; return the hash to go on with."""
        above = self._above(0, index)
        first = index << HEIGHT
        if computed is not None and (stored is None or computed == above):
            if stored is not None:
                self._report(Fault(first, f"{Tile(0, index).path} is not what its entries hash to"))
            return computed
        if computed is None or tile.hashes is None or tile.stored is None:
            return stored or above or merkle.EMPTY_ROOT
        for fault in difference(first, tile_hashes(tile.stored), tile.hashes):
            self._report(fault)
        return stored or computed

    def _above(self, level: int, index: int) -> bytes | None:
        """Return the stored hash of a full tile, in the tile above it; None where that cannot be read."""
        at = index % WIDTH
        width = min(WIDTH, (self._size >> HEIGHT * (level + 1)) - (index >> HEIGHT) * WIDTH)
        try:
            data = read_tile(self._reader, Tile(level + 1, index >> HEIGHT, width))
        except (Unready, Refused):
            return None
        return data[at * HASH_BYTES : (at + 1) * HASH_BYTES]

    def _push(self, level: int, digest: bytes) -> None:
        if len(self._levels) < level:
            self._levels.append([])
        row = self._levels[level - 1]
        row.append(digest)
        if len(row) < WIDTH:
            return
        index = (self._done >> HEIGHT * level) - 1
        computed = b"".join(row)
        row.clear()
        kept = self._compared(Tile(level, index), computed)
        self._push(level + 1, merkle.root_hash(tile_hashes(kept)))

    def _compared(self, tile: Tile, computed: bytes) -> bytes:
        """Compare a tile above the leaves with the stored one; return the one that the tile above it names."""
        first = tile.index << HEIGHT * (tile.level + 1)
        try:
            stored = read_tile(self._reader, tile)
        except Unready:
            self._report(Fault(first, f"{tile.path} is missing"))
            return computed
        except Refused as error:
            self._report(Fault(first, str(error)))
            return computed
        if stored == computed:
            return computed
        if tile.width == WIDTH and merkle.root_hash(tile_hashes(stored)) == self._above(tile.level, tile.index):
            self._report_below(tile, computed, stored)
            return stored
        self._report(Fault(first, f"{tile.path} is not what the tiles below it hash to"))
        return computed

    def _report_below(self, tile: Tile, computed: bytes, stored: bytes) -> None:
        span = 1 << HEIGHT * tile.level
        for at in range(0, len(stored), HASH_BYTES):
            if stored[at : at + HASH_BYTES] != computed[at : at + HASH_BYTES]:
                first = (tile.index * WIDTH + at // HASH_BYTES) * span
                self._report(
                    Fault(
                        first,
                        f"entries {first} to {first + span - 1} were changed together with their tiles: "
                        f"{tile.path} names others",
                    )
                )

    def finish(self, root: bytes) -> None:
        """Compare the partial tiles and the root; the last leaf tile is judged by the root."""
        last = self._last or LeafTile(0, [])
        tails = self._tails(self._size)
        by_entries = self._root_with(b"".join(last.hashes) if last.hashes is not None else None, tails)
        by_tile = self._root_with(last.stored, tails)
        first = self._done << HEIGHT
        if last.stored is not None and last.hashes is not None:
            if by_entries == root:
                path = Tile(0, self._done, last.width).path
                self._report(Fault(first, f"{path} is not what its entries hash to"))
            else:
                for fault in difference(first, tile_hashes(last.stored), last.hashes):
                    self._report(fault)
        places = [
            Tile(level, (self._size >> HEIGHT * level) >> HEIGHT, len(tail) // HASH_BYTES) if tail else None
            for level, tail in enumerate(tails, 1)
        ]
        kept = [self._stored(place) if place else b"" for place in places]
        if root in (by_entries, by_tile):
            for place, tail in zip(places, tails, strict=True):
                if place is not None:
                    self._compared(place, tail)
        elif any(
            leaves is not None and self._root_with(leaves, kept) == root
            for leaves in (last.stored, b"".join(last.hashes or []))
        ):
            for place, tail, stored in zip(places, tails, kept, strict=True):
                if place is not None and stored != tail:
                    self._report_below(place, tail, stored)
        else:
            found = (by_entries or by_tile or b"").hex() or "no root"
            self._report(
                Fault(self._size, f"the {self._size} entries have the root {found}, not the signed one {root.hex()}")
            )

    def _stored(self, tile: Tile) -> bytes:
        """Return a stored tile; nothing where it cannot be read."""
        try:
            return read_tile(self._reader, tile)
        except (Unready, Refused):
            return b""

    def _tails(self, size: int) -> list[bytes]:
        """Return the partial tiles of a tree of `size` leaves, from level 1 on."""
        levels = max(-(-size.bit_length() // HEIGHT) - 1, 0)
        return ([b"".join(row) for row in self._levels] + [b""] * levels)[:levels]

    def _root_with(self, leaves: bytes | None, tails: Sequence[bytes]) -> bytes | None:
        """Return the root that these last leaf hashes lead to; None when there are not as many as belong there."""
        if leaves is None:
            return None
        try:
            return TileEdge.of_tails(self._size, [leaves, *tails] if self._size else []).root
        except Refused:
            return None
