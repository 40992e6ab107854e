"""RFC 6962 and RFC 9162: the published eight-leaf tree, and properties of every proof."""

from hashlib import sha256

import pytest
from grace_common.contract.errors import Refused
from grace_common.transparency import merkle
from grace_common.transparency.merkle import ProofInvalid, RightEdge
from hypothesis import given
from hypothesis import strategies as st

# The tree of certificate-transparency's own tests: eight entries, and the root of each of its nine sizes.
ENTRIES = [
    bytes.fromhex(text)
    for text in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f")
]
ROOTS = [
    bytes.fromhex(text)
    for text in (
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    )
]
LEAF_1 = "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7"
LEAF_4 = "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b"
LEAF_6 = "b08693ec2e721597130641e8211e7eedccb4c26413963eee6c1e2ed16ffb1a5f"
NODE_0_1 = "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"
NODE_2_3 = "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e"
NODE_4_5 = "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a"
NODE_6_7 = "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0"
NODE_0_3 = "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7"
NODE_4_7 = "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4"
INCLUSION = [
    (0, 1, []),
    (0, 8, [LEAF_1, NODE_2_3, NODE_4_7]),
    (5, 8, [LEAF_4, NODE_6_7, NODE_0_3]),
    (2, 3, [NODE_0_1]),
    (1, 5, ["6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d", NODE_2_3, LEAF_4]),
]
CONSISTENCY = [
    (1, 1, []),
    (1, 8, [LEAF_1, NODE_2_3, NODE_4_7]),
    (6, 8, [NODE_4_5, NODE_6_7, NODE_0_3]),
    (2, 5, [NODE_2_3, LEAF_4]),
    (6, 7, [NODE_4_5, LEAF_6, NODE_0_3]),
]

sizes = st.integers(1, 300)


def leaves(size: int) -> list[bytes]:
    return merkle.leaf_hashes(number.to_bytes(4, "big") for number in range(size))


def recursive_root(hashes: list[bytes]) -> bytes:
    """MTH as RFC 6962 defines it."""
    if len(hashes) == 1:
        return hashes[0]
    split = 1 << (len(hashes) - 1).bit_length() - 1
    return sha256(b"\x01" + recursive_root(hashes[:split]) + recursive_root(hashes[split:])).digest()


@pytest.mark.parametrize("size", range(9))
def test_the_published_tree_has_the_published_roots(size: int) -> None:
    assert merkle.root_hash(merkle.leaf_hashes(ENTRIES[:size])) == ROOTS[size]
    assert RightEdge().append(merkle.leaf_hashes(ENTRIES[:size])).edge.root == ROOTS[size]


@pytest.mark.parametrize(("index", "size", "proof"), INCLUSION)
def test_the_published_inclusion_proofs_come_out_and_verify(index: int, size: int, proof: list[str]) -> None:
    expected = [bytes.fromhex(text) for text in proof]

    assert merkle.audit_path(merkle.leaf_hashes(ENTRIES[:size]), index) == expected
    merkle.verify_inclusion(merkle.leaf_hash(ENTRIES[index]), index, size, expected, ROOTS[size])


@pytest.mark.parametrize(("old", "new", "proof"), CONSISTENCY)
def test_the_published_consistency_proofs_come_out_and_verify(old: int, new: int, proof: list[str]) -> None:
    expected = [bytes.fromhex(text) for text in proof]

    assert merkle.consistency_proof(merkle.leaf_hashes(ENTRIES[:new]), old) == expected
    merkle.verify_consistency(old, new, ROOTS[old], ROOTS[new], expected)


@given(sizes)
def test_the_root_is_the_recursive_definition(size: int) -> None:
    assert merkle.root_hash(leaves(size)) == recursive_root(leaves(size))


@given(sizes, st.data())
def test_every_inclusion_proof_verifies_and_none_with_a_flipped_bit(size: int, data: st.DataObject) -> None:
    index = data.draw(st.integers(0, size - 1))
    hashes = leaves(size)
    root, proof = merkle.root_hash(hashes), merkle.audit_path(hashes, index)

    merkle.verify_inclusion(hashes[index], index, size, proof, root)

    parts = [hashes[index], root, *proof]
    broken = flip(parts, data)
    with pytest.raises(ProofInvalid):
        merkle.verify_inclusion(broken[0], index, size, broken[2:], broken[1])
    wrong = data.draw(st.integers(-1, size).filter(lambda other: other != index))
    with pytest.raises(ProofInvalid):
        merkle.verify_inclusion(hashes[index], wrong, size, proof, root)


@given(sizes, st.data())
def test_every_consistency_proof_verifies_and_none_with_a_flipped_bit(new: int, data: st.DataObject) -> None:
    old = data.draw(st.integers(0, new))
    hashes = leaves(new)
    roots = [merkle.root_hash(hashes[:old]), merkle.root_hash(hashes)]
    proof = merkle.consistency_proof(hashes, old)

    merkle.verify_consistency(old, new, roots[0], roots[1], proof)

    broken = flip([roots[0], *proof] if old == 0 else [*roots, *proof], data)
    if old == 0:
        broken.insert(1, roots[1])  # every root extends the empty tree
    with pytest.raises(ProofInvalid):
        merkle.verify_consistency(old, new, broken[0], broken[1], broken[2:])


def flip(parts: list[bytes], data: st.DataObject) -> list[bytes]:
    """Return the parts with one bit of one of them changed."""
    which = data.draw(st.integers(0, len(parts) - 1))
    bit = data.draw(st.integers(0, len(parts[which]) * 8 - 1))
    part = bytearray(parts[which])
    part[bit // 8] ^= 1 << bit % 8
    return [*parts[:which], bytes(part), *parts[which + 1 :]]


@given(sizes, st.data())
def test_a_proof_with_a_hash_too_many_or_too_few_is_refused(size: int, data: st.DataObject) -> None:
    index, old = data.draw(st.integers(0, size - 1)), data.draw(st.integers(1, size))
    hashes = leaves(size)
    root, old_root = merkle.root_hash(hashes), merkle.root_hash(hashes[:old])
    path, consistency = merkle.audit_path(hashes, index), merkle.consistency_proof(hashes, old)

    for changed in ([*path, root], [root, *path], path[1:], path[:-1]):
        if changed != path:
            with pytest.raises(ProofInvalid):
                merkle.verify_inclusion(hashes[index], index, size, changed, root)
    for changed in ([*consistency, root], [root, *consistency], consistency[1:], consistency[:-1]):
        if changed != consistency:
            with pytest.raises(ProofInvalid):
                merkle.verify_consistency(old, size, old_root, root, changed)


@given(st.lists(st.integers(0, 700), max_size=6))
def test_a_right_edge_grown_in_batches_has_the_root_of_the_whole(batches: list[int]) -> None:
    hashes = leaves(sum(batches))
    edge = RightEdge()
    for batch in batches:
        old = edge.size
        growth = edge.append(hashes[old : old + batch])
        edge = growth.edge
        for level, completed in enumerate(growth.levels):
            first = old >> level
            spans = [hashes[(first + n) << level : (first + n + 1) << level] for n in range(len(completed))]
            assert completed == [merkle.root_hash(span) for span in spans]
            assert first + len(completed) == edge.size >> level

    assert edge.root == merkle.root_hash(hashes)


def test_an_inner_node_does_not_pass_for_a_leaf() -> None:
    hashes = leaves(4)
    left, right = merkle.root_hash(hashes[:2]), merkle.root_hash(hashes[2:])
    with pytest.raises(ProofInvalid, match="ends below the root"):
        merkle.verify_inclusion(left, 0, 4, [right], merkle.root_hash(hashes))


def test_proofs_for_places_outside_the_tree_are_refused() -> None:
    hashes = leaves(3)
    with pytest.raises(Refused, match="leaf index 3 lies outside a tree of 3 leaves"):
        merkle.audit_path(hashes, 3)
    with pytest.raises(Refused, match="a tree of 3 leaves was never one of 4"):
        merkle.consistency_proof(hashes, 4)
    with pytest.raises(ProofInvalid, match="never one of 4"):
        merkle.verify_consistency(4, 3, hashes[0], hashes[1], [])
    with pytest.raises(ProofInvalid, match="the consistency proof is empty"):
        merkle.verify_consistency(3, 4, hashes[0], hashes[1], [])
    with pytest.raises(ProofInvalid, match="a hash of 31 bytes"):
        merkle.verify_inclusion(hashes[0][1:], 0, 1, [], hashes[0])
    with pytest.raises(Refused, match="2 hashes are not the right edge of a tree of 4 leaves"):
        RightEdge(4, (hashes[0], hashes[1]))


@given(st.lists(st.binary(min_size=32, max_size=32), min_size=1, max_size=40))
def test_all_proofs_at_once_are_the_proofs_one_by_one(hashes: list[bytes]) -> None:
    root, paths = merkle.root_and_paths(hashes)

    assert root == merkle.root_hash(hashes)
    assert paths == [b"".join(merkle.audit_path(hashes, index)) for index in range(len(hashes))]
