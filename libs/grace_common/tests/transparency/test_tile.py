"""C2SP tlog-tiles: paths, growth, bundles, and proofs read from tiles."""

from functools import cache

import pytest
from grace_common.contract.errors import Refused, Unready
from grace_common.transparency import merkle, tile
from grace_common.transparency.merkle import ProofInvalid
from grace_common.transparency.strict import Malformed
from grace_common.transparency.tile import ENTRIES, Tile, TileEdge, TreeReader
from hypothesis import example, given, settings
from hypothesis import strategies as st

SIZES = [0, 1, 255, 256, 257, 65_535, 65_536, 65_537]


class Files:
    """A folder of static files in memory, which remembers what was read."""

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files = dict(files)
        self.asked: list[str] = []

    def read(self, path: str) -> bytes:
        self.asked.append(path)
        if path not in self.files:
            raise Unready(f"{path} is absent")
        return self.files[path]


def entry(number: int) -> bytes:
    return b"entry %d" % number


@cache
def leaves(size: int) -> list[bytes]:
    return merkle.leaf_hashes(entry(number) for number in range(size))


@cache
def log(size: int) -> dict[str, bytes]:
    """Every file of a log that was published once, at this size."""
    files = {place.path: data for place, data in TileEdge().append(leaves(size)).tiles}
    for bundle in tile.new_bundles(0, size):
        first = bundle.index * 256
        files[bundle.path] = tile.encode_bundle(map(entry, range(first, first + bundle.width)))
    return files


@pytest.mark.parametrize(
    ("place", "path"),
    [
        (Tile(0, 0), "tile/0/000"),
        (Tile(0, 273, 112), "tile/0/273.p/112"),
        (Tile(4, 1234067, 1), "tile/4/x001/x234/067.p/1"),
        (Tile(63, 1000, 255), "tile/63/x001/000.p/255"),
        (Tile(ENTRIES, 123456789), "tile/entries/x123/x456/789"),
    ],
)
def test_a_path_names_its_tile_and_the_tile_its_path(place: Tile, path: str) -> None:
    assert place.path == path
    assert Tile.parse(path) == place


@given(st.integers(-1, 63), st.integers(0, 1 << 60), st.integers(1, 256))
def test_every_tile_is_found_again_by_its_path(level: int, index: int, width: int) -> None:
    assert Tile.parse(Tile(level, index, width).path) == Tile(level, index, width)


@pytest.mark.parametrize(
    "path",
    [
        "tile/00/000",
        "tile/64/000",
        "tile/8/0/000",
        "tile/data/000",
        "tile/0/1",
        "tile/0/x000/001",
        "tile/0/001/002",
        "tile/0/000.p/0",
        "tile/0/000.p/256",
        "tile/0/000.p/999",
        "tile/0/000.p/01",
        "tile/0/000/",
        "/tile/0/000",
        "tile/0/000\n",
        "tile/0/٠٠٠",
        "checkpoint",
    ],
)
def test_a_path_spelled_otherwise_is_refused(path: str) -> None:
    with pytest.raises(Malformed):
        Tile.parse(path)


def test_no_tile_has_an_impossible_place() -> None:
    for level, index, width in [(-2, 0, 1), (64, 0, 1), (0, -1, 1), (0, 0, 0), (0, 0, 257)]:
        with pytest.raises(Refused):
            Tile(level, index, width)


def test_the_tree_of_70_000_has_the_tiles_that_the_specification_lists() -> None:
    tiles = tile.new_tiles(0, 70_000)

    assert tiles == [
        *[Tile(0, n) for n in range(273)],
        Tile(0, 273, 112),
        Tile(1, 0),
        Tile(1, 1, 17),
        Tile(2, 0, 1),
    ]
    assert tile.new_tiles(0, 256) == [Tile(0, 0), Tile(1, 0, 1)]
    assert tile.new_bundles(0, 257) == [Tile(ENTRIES, 0), Tile(ENTRIES, 1, 1)]
    assert tile.new_tiles(300, 300) == tile.new_bundles(300, 300) == []


@pytest.mark.parametrize("size", SIZES)
def test_a_tree_has_the_new_tiles_with_the_hashes_of_the_specification(size: int) -> None:
    growth = TileEdge().append(leaves(size))

    assert [place for place, _ in growth.tiles] == tile.new_tiles(0, size)
    assert growth.edge.root == merkle.root_hash(leaves(size))
    for place, data in growth.tiles:
        span = 256**place.level
        first = place.index * 256
        assert tile.tile_hashes(data) == [
            merkle.root_hash(leaves(size)[n * span : (n + 1) * span]) for n in range(first, first + place.width)
        ]


@settings(deadline=None, max_examples=50)
@given(st.lists(st.one_of(st.integers(0, 600), st.sampled_from([255, 256, 257])), max_size=5))
@example([65_535, 1, 1, 65_536, 300])
def test_an_edge_grown_in_batches_writes_what_one_batch_writes(batches: list[int]) -> None:
    hashes = leaves(140_000)[: sum(batches)]
    edge, written = TileEdge(), dict[str, bytes]()
    for batch in batches:
        growth = edge.append(hashes[edge.size : edge.size + batch])
        assert [place for place, _ in growth.tiles] == tile.new_tiles(edge.size, edge.size + batch)
        edge = growth.edge
        written |= {place.path: data for place, data in growth.tiles}

    at_once = TileEdge().append(hashes)
    assert edge == at_once.edge
    assert written.items() >= {place.path: data for place, data in at_once.tiles}.items()
    assert TileEdge.read(Files(written), edge.size) == edge


def test_partial_tiles_that_do_not_fit_the_size_are_no_edge() -> None:
    with pytest.raises(Refused, match="do not end a tree of 2 leaves"):
        TileEdge.of_tails(2, [b"\0" * 32])
    with pytest.raises(Refused, match="do not end a tree of 256 leaves"):
        TileEdge.of_tails(256, [b""])


@settings(deadline=None)
@given(st.one_of(st.integers(1, 1000), st.sampled_from(SIZES[1:])), st.data())
def test_proofs_read_from_tiles_are_those_computed_directly(size: int, data: st.DataObject) -> None:
    index, old = data.draw(st.integers(0, size - 1)), data.draw(st.integers(0, size))
    root = merkle.root_hash(leaves(size))

    for wanted, places in (
        ("inclusion", tile.inclusion_tiles(index, size)),
        ("consistency", tile.consistency_tiles(old, size)),
    ):
        files = Files({place.path: log(size)[place.path] for place in places})  # nothing else is needed
        tree = TreeReader(files, size, root)
        if wanted == "inclusion":
            assert tree.inclusion_proof(index) == merkle.audit_path(leaves(size), index)
        else:
            assert tree.consistency_proof(old) == merkle.consistency_proof(leaves(size), old)
        assert set(files.asked) == set(files.files)
    assert TreeReader(Files(log(size)), size, root).root_at(old) == merkle.root_hash(leaves(size)[:old])


def test_an_inclusion_proof_in_ten_million_entries_needs_five_tiles_at_most() -> None:
    assert max(len(tile.inclusion_tiles(index, 10_000_000)) for index in range(0, 10_000_000, 99_991)) <= 5


@settings(deadline=None, max_examples=40)
@given(st.sampled_from([1, 255, 256, 257, 65_537]), st.data())
def test_a_changed_byte_in_any_tile_or_bundle_is_found(size: int, data: st.DataObject) -> None:
    path = data.draw(st.sampled_from(sorted(log(size))))
    changed = bytearray(log(size)[path])
    changed[data.draw(st.integers(0, len(changed) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    place = Tile.parse(path)
    first_leaf = place.index * 256 ** (max(place.level, 0) + 1)

    with pytest.raises((ProofInvalid, Malformed)):
        TreeReader(Files({**log(size), path: bytes(changed)}), size, merkle.root_hash(leaves(size))).entry(
            min(first_leaf, size - 1)
        )


def test_every_entry_is_read_and_checked() -> None:
    tree = TreeReader(Files(log(257)), 257, merkle.root_hash(leaves(257)))

    assert tree.size == 257
    assert [*tree.bundle(0), *tree.bundle(1)] == [entry(number) for number in range(257)]
    assert tree.entry(256) == entry(256)
    for outside in (-1, 257):
        with pytest.raises(Refused, match="outside a log of 257 entries"):
            tree.entry(outside)
    with pytest.raises(Refused, match="bundle 2 lies outside"):
        tree.bundle(2)
    with pytest.raises(Refused, match="never one of 258"):
        tree.root_at(258)


def test_a_tile_changed_together_with_what_it_vouches_for_is_found() -> None:
    forged = [b"forged", *map(entry, range(1, 256))]
    files = log(65_537) | {
        "tile/entries/000": tile.encode_bundle(forged),
        "tile/0/000": b"".join(merkle.leaf_hashes(forged)),
    }
    root = merkle.root_hash(leaves(65_537))

    with pytest.raises(ProofInvalid, match="tile/0/000 is not the tile that its parent names"):
        TreeReader(Files(files), 65_537, root).entry(0)
    files["tile/1/000"] = merkle.root_hash(merkle.leaf_hashes(forged)) + files["tile/1/000"][32:]
    with pytest.raises(ProofInvalid, match="tile/1/000 is not the tile that its parent names"):
        TreeReader(Files(files), 65_537, root).entry(0)


def test_a_bundle_with_an_entry_left_out_is_found() -> None:
    files = {**log(257), "tile/entries/000": tile.encode_bundle(map(entry, range(255)))}

    with pytest.raises(ProofInvalid, match="has 255 entries; expected 256"):
        TreeReader(Files(files), 257, merkle.root_hash(leaves(257))).entry(3)


def test_a_partial_tile_that_has_gone_is_cut_from_the_full_one() -> None:
    files = Files({**log(512), **{path: data for path, data in log(300).items() if Tile.parse(path).level > 0}})

    tree = TreeReader(files, 300, merkle.root_hash(leaves(300)))

    assert tree.inclusion_proof(299) == merkle.audit_path(leaves(300), 299)
    assert tree.entry(299) == entry(299)


def test_a_missing_file_is_unready_and_a_short_one_malformed() -> None:
    with pytest.raises(Unready, match="tile/0/000 is absent"):
        tile.read_tile(Files({}), Tile(0, 0))
    with pytest.raises(Malformed, match=r"tile/0/000.p/2 has 63 bytes; expected 64"):
        tile.read_tile(Files({"tile/0/000.p/2": b"\0" * 63}), Tile(0, 0, 2))


def test_a_bundle_carries_each_entry_behind_its_length() -> None:
    assert tile.encode_bundle([b"", b"ab"]) == b"\0\0\0\2ab"
    assert tile.decode_bundle(b"\0\0\0\2ab") == [b"", b"ab"]
    assert tile.decode_bundle(tile.encode_bundle([b"x" * 65_535])) == [b"x" * 65_535]
    with pytest.raises(Refused, match="65536 bytes"):
        tile.encode_bundle([b"x" * 65_536])
    for cut in (b"\0", b"\0\2a", b"\0\0\0"):
        with pytest.raises(Malformed, match="ends inside its entry"):
            tile.decode_bundle(cut)


@given(st.lists(st.binary(max_size=300), max_size=40), st.integers(0, 2000))
def test_the_hashes_of_a_bundle_are_those_of_its_entries_and_it_may_end_nowhere_else(
    entries: list[bytes], end: int
) -> None:
    data = tile.encode_bundle(entries)
    before = bytes(data)

    assert tile.bundle_hashes(data) == merkle.leaf_hashes(entries)
    assert data == before
    try:
        whole = tile.decode_bundle(data[:end])
    except Malformed as error:
        with pytest.raises(Malformed, match=str(error)):
            tile.bundle_hashes(data[:end])
    else:
        assert tile.bundle_hashes(data[:end]) == merkle.leaf_hashes(whole)


def test_a_bundle_of_the_longest_entries_is_hashed_as_it_is() -> None:
    entries = [bytes([number]) * 65_535 for number in range(3)]

    assert tile.bundle_hashes(tile.encode_bundle(entries)) == merkle.leaf_hashes(entries)
