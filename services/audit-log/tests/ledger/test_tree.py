"""Growing the tree."""

from grace_audit_log.domain.tree import FullTile, Head, LogIdentity, grow
from grace_common.testing.ledger import SeededKey
from grace_common.transparency import merkle
from grace_common.transparency.checkpoint import CA_EXTENSION, ca_extension, open_checkpoint, previous_extension
from grace_common.transparency.tile import HEIGHT, WIDTH, TileEdge
from hypothesis import given
from hypothesis import strategies as st

KEY = SeededKey("log")
LOG = LogIdentity(KEY.named("grace.local/log"), KEY.sign, ("grace-ca sha256:00",))


def empty() -> Head:
    return Head(TileEdge(), LOG.checkpoint(TileEdge(), None)[0])


@given(st.lists(st.integers(1, 700), min_size=1, max_size=6))
def test_however_the_leaves_are_cut_into_batches_the_tree_is_the_same(sizes: list[int]) -> None:
    head, leaves = empty(), [b"%d" % number for number in range(sum(sizes))]
    tiles: dict[tuple[int, int], FullTile] = {}
    done = 0
    for size in sizes:
        growth = grow(head, leaves[done : done + size], LOG)
        tiles |= {(tile.level, tile.index): tile for tile in growth.full_tiles}
        head, done = growth.after, done + size

    hashes = merkle.leaf_hashes(leaves)
    assert head.checkpoint.root == merkle.root_hash(hashes)
    assert len([at for at in tiles if at[0] == 0]) == len(leaves) >> HEIGHT
    for (level, index), tile in tiles.items():
        assert level == 0
        assert tile.hashes == b"".join(hashes[index * WIDTH : (index + 1) * WIDTH])
        assert tile.root == merkle.root_hash(hashes[index * WIDTH : (index + 1) * WIDTH])


def test_a_tile_of_the_second_level_is_complete_with_its_root() -> None:
    growth = grow(empty(), [b"%d" % number for number in range(WIDTH * WIDTH + 1)], LOG)

    [second] = [tile for tile in growth.full_tiles if tile.level == 1]
    assert second.hashes == b"".join(tile.root for tile in growth.full_tiles if tile.level == 0)
    assert second.root == growth.after.edge.edge.hashes[0]


def test_a_checkpoint_is_signed_and_names_the_ca_and_the_checkpoint_before() -> None:
    first = grow(empty(), [b"a"], LOG)
    second = grow(first.after, [b"b", b"c"], LOG)

    opened = open_checkpoint(second.note, LOG.key).checkpoint

    assert opened == second.after.checkpoint
    assert (opened.size, opened.root) == (3, merkle.root_hash(merkle.leaf_hashes([b"a", b"b", b"c"])))
    assert opened.extensions == ("grace-ca sha256:00", previous_extension(first.after.checkpoint))


def test_a_checkpoint_names_the_cas_of_now_and_all_that_were_ever_named() -> None:
    old, new = SeededKey("old ca").public_key, SeededKey("new ca").public_key
    named = [old]
    log = LogIdentity(KEY.named("grace.local/log"), KEY.sign, ca_keys=lambda: tuple(named))
    first = grow(Head(TileEdge(), log.checkpoint(TileEdge(), None)[0]), [b"a"], log)
    named.insert(0, new)
    both = grow(first.after, [b"b"], log)
    named.remove(old)
    after = grow(both.after, [b"c"], log)

    assert first.after.checkpoint.values(CA_EXTENSION) == [ca_extension(old).split()[1]]
    lines = (ca_extension(new), ca_extension(old))
    assert both.after.checkpoint.extensions == (*lines, previous_extension(first.after.checkpoint))
    assert after.after.checkpoint.extensions == (*lines, previous_extension(both.after.checkpoint))
