"""C2SP tlog-tiles: the tree and its entries as static files, how they grow, and proofs read from them."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from struct import pack
from typing import Final, Protocol

from grace_common.contract.errors import Refused, Unready
from grace_common.transparency import merkle
from grace_common.transparency.merkle import HASH_BYTES, ProofInvalid, RightEdge, Subtree
from grace_common.transparency.strict import Malformed

HEIGHT: Final = 8
WIDTH: Final = 1 << HEIGHT  # hashes in a full tile, entries in a full bundle
TILE_BYTES: Final = WIDTH * HASH_BYTES
ENTRIES: Final = -1  # the level of entry bundles, which lie below the leaf hashes
MAX_LEVEL: Final = 63
MAX_ENTRY_BYTES: Final = 0xFFFF

_PATH: Final = re.compile(r"tile/(entries|0|[1-9][0-9]?)/((?:x[0-9]{3}/)*[0-9]{3})(?:\.p/([1-9][0-9]{0,2}))?", re.ASCII)


@dataclass(frozen=True, slots=True, order=True)
class Tile:
    """Where one tile or entry bundle stands.

    level  0 for leaf hashes, l for the roots of full tiles of level l - 1, ENTRIES for an entry bundle
    index  counted from the left within the level
    width  hashes or entries it holds: 256 when full, 1 to 255 when partial
    """

    level: int
    index: int
    width: int = WIDTH

    def __post_init__(self) -> None:
        if not (ENTRIES <= self.level <= MAX_LEVEL and self.index >= 0 and 1 <= self.width <= WIDTH):
            raise Refused(f"no tile has level {self.level}, index {self.index} and width {self.width}")

    @property
    def path(self) -> str:
        """`tile/<L>/<N>[.p/<W>]`, for example `tile/0/x001/x234/067.p/8`."""
        rest, last = divmod(self.index, 1000)
        groups = f"{last:03d}"
        while rest:
            rest, group = divmod(rest, 1000)
            groups = f"x{group:03d}/{groups}"
        level = "entries" if self.level == ENTRIES else str(self.level)
        return f"tile/{level}/{groups}" if self.width == WIDTH else f"tile/{level}/{groups}.p/{self.width}"

    @property
    def full(self) -> "Tile":
        """The full tile that will stand, or stands already, in the place of this one."""
        return Tile(self.level, self.index)

    @classmethod
    def parse(cls, path: str) -> "Tile":
        """Return the tile at `path`; raises Malformed unless it is spelled as `path` spells it."""
        match = _PATH.fullmatch(path)
        if match:
            level = ENTRIES if match[1] == "entries" else int(match[1])
            width = int(match[3]) if match[3] else WIDTH
            index = int(match[2].replace("x", "").replace("/", ""))
            if level <= MAX_LEVEL and width <= WIDTH and (tile := cls(level, index, width)).path == path:
                return tile
        raise Malformed(f"{path!r} is no path of a tile")


def new_tiles(old_size: int, new_size: int) -> list[Tile]:
    """Return the hash tiles, full and partial, that a tree of new_size has and one of old_size lacks."""
    tiles: list[Tile] = []
    level = 0
    while new_size >> HEIGHT * level:
        tiles += _grown(level, old_size >> HEIGHT * level, new_size >> HEIGHT * level)
        level += 1
    return tiles


def new_bundles(old_size: int, new_size: int) -> list[Tile]:
    """Return the entry bundles, full and partial, that a log of new_size has and one of old_size lacks."""
    return list(_grown(ENTRIES, old_size, new_size))


def _grown(level: int, old_count: int, new_count: int) -> Iterator[Tile]:
    if new_count > old_count:
        for index in range(old_count >> HEIGHT, new_count >> HEIGHT):
            yield Tile(level, index)
        if width := new_count % WIDTH:
            yield Tile(level, new_count >> HEIGHT, width)


def tile_hashes(data: bytes) -> list[bytes]:
    """Return the hashes that a tile's bytes are made of."""
    return [data[start : start + HASH_BYTES] for start in range(0, len(data), HASH_BYTES)]


def encode_bundle(entries: Iterable[bytes]) -> bytes:
    """Return an entry bundle: each entry behind its length in two bytes, big-endian.

    raises  Refused for an entry of more than 65,535 bytes, which the format cannot carry
    """
    parts: list[bytes] = []
    for entry in entries:
        if len(entry) > MAX_ENTRY_BYTES:
            raise Refused(f"an entry of {len(entry)} bytes; a bundle carries at most {MAX_ENTRY_BYTES}")
        parts.append(pack(">H", len(entry)))
        parts.append(entry)
    return b"".join(parts)


def decode_bundle(data: bytes) -> list[bytes]:
    """Return the entries of a bundle; raises Malformed when it ends inside an entry."""
    entries: list[bytes] = []
    at, size = 0, len(data)
    while at < size:
        end = at + 2 + (data[at] << 8 | data[at + 1]) if at + 2 <= size else size + 1
        if end > size:
            raise Malformed(f"the entry bundle ends inside its entry {len(entries)}")
        entries.append(data[at + 2 : end])
        at = end
    return entries


def bundle_hashes(data: bytes) -> list[bytes]:
    """Return the leaf hash of each entry of a bundle, as `leaf_hashes(decode_bundle(data))` does, and as it raises.

    No entry is copied: over the byte before it, the low one of its length, goes the 00 that a leaf hash begins with.
    """
    buffer, digest = bytearray(data), sha256
    view = memoryview(buffer)
    hashes: list[bytes] = []
    at, size = 0, len(buffer)
    while at < size:
        end = at + 2 + (buffer[at] << 8 | buffer[at + 1]) if at + 2 <= size else size + 1
        if end > size:
            raise Malformed(f"the entry bundle ends inside its entry {len(hashes)}")
        buffer[at + 1] = 0
        hashes.append(digest(view[at + 1 : end]).digest())
        at = end
    return hashes


class TileReader(Protocol):
    """Reads the static files of a log by their path, such as `tile/0/000.p/7`."""

    def read(self, path: str) -> bytes:
        """Return the file's bytes; raises Unready when it is not there."""
        ...


def read_tile(reader: TileReader, tile: Tile) -> bytes:
    """Return the bytes of a tile or bundle, cut from the full one when the partial one has gone.

    raises  Unready when neither is there, Malformed when it holds another number of hashes or entries
    """
    try:
        data = reader.read(tile.path)
    except Unready:
        if tile.width == WIDTH:
            raise
        data = reader.read(tile.full.path)
        if tile.level == ENTRIES:
            return encode_bundle(decode_bundle(data)[: tile.width])
        data = data[: tile.width * HASH_BYTES]
    if tile.level != ENTRIES and len(data) != tile.width * HASH_BYTES:
        raise Malformed(f"{tile.path} has {len(data)} bytes; expected {tile.width * HASH_BYTES}")
    return data


@dataclass(frozen=True, slots=True)
class TileEdge:
    """The right edge of a tiled tree: what a writer keeps between two batches and reads back after a crash.

    tails  the bytes of each level's partial tile, empty where the level's last tile is full
    """

    edge: RightEdge = field(default_factory=RightEdge)
    tails: tuple[bytes, ...] = ()

    @property
    def size(self) -> int:
        """The number of leaves."""
        return self.edge.size

    @property
    def root(self) -> bytes:
        """The tree's root hash."""
        return self.edge.root

    @classmethod
    def of_tails(cls, size: int, tails: Sequence[bytes]) -> "TileEdge":
        """Return the edge of a tree of `size` leaves with these partial tiles; raises Refused when they do not fit."""
        counts = [size >> HEIGHT * level for level in range(len(tails) + 1)]
        if counts[-1] or any(
            len(tail) != count % WIDTH * HASH_BYTES for tail, count in zip(tails, counts, strict=False)
        ):
            raise Refused(f"partial tiles of {[len(tail) for tail in tails]} bytes do not end a tree of {size} leaves")
        row: list[bytes] = []
        for tail in reversed(tails):
            hashes = tile_hashes(tail)
            start = 0
            for level in range(HEIGHT - 1, -1, -1):
                if len(hashes) >> level & 1:
                    row.append(merkle.root_hash(hashes[start : start + (1 << level)]))
                    start += 1 << level
        return cls(RightEdge(size, tuple(row)), tuple(tails))

    @classmethod
    def read(cls, reader: TileReader, size: int) -> "TileEdge":
        """Return the edge of the tree of `size` leaves from its partial tiles, at most one for each level."""
        return cls.of_tails(size, [read_tile(reader, tile) if tile else b"" for tile in edge_tiles(size)])

    def append(self, hashes: Sequence[bytes]) -> "TileGrowth":
        """Return the edge after these leaf hashes, and each new tile with its bytes, as `new_tiles` names them."""
        growth = self.edge.append(hashes)
        tiles: list[tuple[Tile, bytes]] = []
        tails: list[bytes] = []
        for level, completed in enumerate(growth.levels[::HEIGHT]):
            tail = self.tails[level] if level < len(self.tails) else b""
            if completed:
                first = self.size >> HEIGHT * (level + 1)
                data = b"".join([tail, *completed])
                whole = len(data) // TILE_BYTES
                for number in range(whole):
                    tiles.append((Tile(level, first + number), data[number * TILE_BYTES : (number + 1) * TILE_BYTES]))
                tail = data[whole * TILE_BYTES :]
                if tail:
                    tiles.append((Tile(level, first + whole, len(tail) // HASH_BYTES), tail))
            tails.append(tail)
        return TileGrowth(TileEdge(growth.edge, tuple(tails)), tiles)


@dataclass(frozen=True, slots=True)
class TileGrowth:
    """What a batch of leaves made of a tiled tree: its edge, and the new tiles with their bytes."""

    edge: TileEdge
    tiles: list[tuple[Tile, bytes]]


def edge_tiles(size: int) -> list[Tile | None]:
    """Return the partial tile of each level of a tree of `size` leaves, None where the level's last tile is full."""
    tiles: list[Tile | None] = []
    while size:
        tiles.append(Tile(len(tiles), size >> HEIGHT, size % WIDTH) if size % WIDTH else None)
        size >>= HEIGHT
    return tiles


def inclusion_tiles(index: int, size: int) -> list[Tile]:
    """Return the tiles that `TreeReader.inclusion_proof` reads, for callers that fetch them beforehand."""
    return _tiles_for(merkle.inclusion_ranges(index, size), size)


def consistency_tiles(old_size: int, size: int) -> list[Tile]:
    """Return the tiles that `TreeReader.consistency_proof` reads, for callers that fetch them beforehand."""
    return _tiles_for(merkle.consistency_ranges(old_size, size), size)


def _tiles_for(ranges: Iterable[merkle.Range], size: int) -> list[Tile]:
    tiles = {tile for tile in edge_tiles(size) if tile}
    for start, end in ranges:
        for level, index in merkle.perfect_subtrees(start, end):
            tile_level, tile_index, _ = _place(level, index)
            while (tile := _tile_at(tile_level, tile_index, size)) not in tiles:  # up to one that the edge proves
                tiles.add(tile)
                tile_level, tile_index = tile_level + 1, tile_index >> HEIGHT
    return sorted(tiles)


def _place(level: int, index: int) -> tuple[int, int, int]:
    """Return tile level, tile index and the first hash within the tile of a perfect subtree."""
    tile_level, height = divmod(level, HEIGHT)
    return tile_level, index << height >> HEIGHT, (index << height) % WIDTH


def _tile_at(level: int, index: int, size: int) -> Tile:
    """Return the tile of a level's index as a tree of `size` leaves has it, full or partial."""
    return Tile(level, index, min(WIDTH, (size >> HEIGHT * max(level, 0)) - index * WIDTH))


class TreeReader:
    """One tree of known size and root, read from tiles of which each is checked before it is believed.

    The partial tiles are checked against the root, every full tile against its parent: what leaves this class is
    proven to be in the tree, as with `tlog.TileHashReader` of golang.org/x/mod/sumdb. Errors: Unready for a
    missing file, ProofInvalid for tiles that do not lead to the root.
    """

    def __init__(self, reader: TileReader, size: int, root: bytes) -> None:
        self._reader = reader
        self._size = size
        edge = TileEdge.read(reader, size)
        if edge.root != root:
            raise ProofInvalid(f"the partial tiles of the tree of {size} leaves do not lead to its root")
        self._leaves = (-1, b"")  # the last leaf tile read: a proof looks into it eight times
        self._known = {
            (level, (size >> HEIGHT * level) >> HEIGHT): tail for level, tail in enumerate(edge.tails) if tail
        }

    @property
    def size(self) -> int:
        """The number of leaves."""
        return self._size

    def inclusion_proof(self, index: int) -> list[bytes]:
        """Return the inclusion proof of one leaf; raises Refused when it lies outside the tree."""
        return merkle.proof_of(merkle.inclusion_ranges(index, self._size), self.subtree_hash)

    def consistency_proof(self, old_size: int) -> list[bytes]:
        """Return the proof that this tree extends its first `old_size` leaves; raises Refused when it has fewer."""
        return merkle.proof_of(merkle.consistency_ranges(old_size, self._size), self.subtree_hash)

    def root_at(self, old_size: int) -> bytes:
        """Return the root of the tree over the first `old_size` leaves; raises Refused when this tree is smaller."""
        if not 0 <= old_size <= self._size:
            raise Refused(f"a tree of {self._size} leaves was never one of {old_size}")
        row: list[Subtree] = merkle.perfect_subtrees(0, old_size)
        return merkle.fold([self.subtree_hash(level, index) for level, index in row])

    def subtree_hash(self, level: int, index: int) -> bytes:
        """Return the hash of a perfect subtree of this tree."""
        tile_level, tile_index, first = _place(level, index)
        start, end = first * HASH_BYTES, (first + (1 << level % HEIGHT)) * HASH_BYTES
        return merkle.root_hash(tile_hashes(self._tile(tile_level, tile_index)[start:end]))

    def bundle(self, index: int) -> list[bytes]:
        """Return the entries of one bundle, each checked against its leaf hash; raises ProofInvalid on a misfit."""
        if not 0 <= index * WIDTH < self._size:
            raise Refused(f"bundle {index} lies outside a log of {self._size} entries")
        tile = _tile_at(ENTRIES, index, self._size)
        entries = decode_bundle(read_tile(self._reader, tile))
        hashes = tile_hashes(self._tile(0, index))
        if len(entries) != len(hashes):
            raise ProofInvalid(f"{tile.path} has {len(entries)} entries; expected {len(hashes)}")
        for number, (entry, expected) in enumerate(zip(entries, hashes, strict=True)):
            if merkle.leaf_hash(entry) != expected:
                raise ProofInvalid(f"entry {index * WIDTH + number} is not the one in the tree")
        return entries

    def entry(self, index: int) -> bytes:
        """Return one entry, checked against its leaf hash; raises Refused when it lies outside the log."""
        if not 0 <= index < self._size:
            raise Refused(f"entry {index} lies outside a log of {self._size} entries")
        return self.bundle(index >> HEIGHT)[index % WIDTH]

    def _tile(self, level: int, index: int) -> bytes:
        """Return a tile's bytes once its parent, or the root, vouches for them."""
        if (level, index) in self._known:
            return self._known[level, index]
        if level == 0 and self._leaves[0] == index:
            return self._leaves[1]
        tile = _tile_at(level, index, self._size)
        data = read_tile(self._reader, tile)
        if merkle.root_hash(tile_hashes(data)) != self.subtree_hash((level + 1) * HEIGHT, index):
            raise ProofInvalid(f"{tile.path} is not the tile that its parent names")
        if level == 0:  # leaf tiles are all but 1/256 of the tree: keeping them would keep the log
            self._leaves = (index, data)
        else:
            self._known[level, index] = data
        return data
