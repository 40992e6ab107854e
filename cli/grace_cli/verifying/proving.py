"""Inclusion proofs of single entries: from the static files, or with one statement from the audit-log's tables."""

from collections.abc import Sequence
from typing import Final
from uuid import UUID

from grace_common.contract.errors import Unready
from grace_common.transparency.checkpoint import Checkpoint
from grace_common.transparency.note import VerifierKey
from grace_common.transparency.proof_file import ProofFile
from grace_common.transparency.tile import Tile, TileReader, TreeReader, edge_tiles, inclusion_tiles

from grace_cli.errors import CliError, Exit
from grace_cli.log_files import LogKey, signed_checkpoint
from grace_cli.verifying.database_log import DatabaseLog
from grace_cli.verifying.tables import newest_checkpoint

_TILES: Final = (
    "SELECT level, index, hashes FROM tile "
    "JOIN unnest($1::smallint[], $2::bigint[]) AS wanted (level, index) USING (level, index)"
)


class DatabaseTree:
    """The tree of one checkpoint in the audit-log's tables, each tile checked against the root before it is believed.

    The right edge is read once, at most 255 hashes a level; tiles above the leaves stay in memory. A proof then reads
    the rows of full tiles between its leaf and what is known: one a level, so three at the most below 2^32 entries.
    """

    def __init__(self, log: DatabaseLog, checkpoint: Checkpoint) -> None:
        self._log = log
        self._size = checkpoint.size
        self._upper = {tile.path: log.read(tile.path) for tile in edge_tiles(checkpoint.size) if tile is not None}
        self._leaves: tuple[str, bytes] = ("", b"")
        self._tree = TreeReader(self, checkpoint.size, checkpoint.root)

    def read(self, path: str) -> bytes:
        """Return a tile that was fetched, as a `TileReader` does; Unready where the table has no such row."""
        if path == self._leaves[0]:
            return self._leaves[1]
        if path not in self._upper:
            raise Unready(f"the row of {path} is missing")
        return self._upper[path]

    def inclusion_proof(self, index: int) -> list[bytes]:
        """Return the inclusion proof of one leaf.

        raises  Refused when it lies outside the tree, Unready for a missing row, ProofInvalid for a changed one
        """
        self._fetch([tile for tile in inclusion_tiles(index, self._size) if tile.path not in self._upper])
        return self._tree.inclusion_proof(index)

    def _fetch(self, tiles: Sequence[Tile]) -> None:
        if not tiles:
            return
        for row in self._log.rows(_TILES, [tile.level for tile in tiles], [tile.index for tile in tiles]):
            path = Tile(row["level"], row["index"]).path
            if row["level"] == 0:  # leaf tiles are all but 1/256 of the tree: keeping them would keep the log
                self._leaves = (path, row["hashes"])
            else:
                self._upper[path] = row["hashes"]


def prove_from_tables(log: DatabaseLog, key: VerifierKey, entry: int | UUID) -> tuple[ProofFile, bytes]:
    """Return the proof of one entry, named by its index or its id, under the newest checkpoint, and the entry.

    raises  CliError for an id that the ledger has not; as `DatabaseTree.inclusion_proof` besides
    """
    checkpoint = newest_checkpoint(log, key)
    if isinstance(entry, UUID):
        index = log.value("SELECT index FROM entry WHERE entry_id = $1", entry)
        if index is None:
            raise CliError(f"no entry has the id {entry}", "find entries with grace ledger query", Exit.USAGE)
    else:
        index = entry
    proof = DatabaseTree(log, checkpoint).inclusion_proof(index)
    leaf = log.value("SELECT leaf FROM entry WHERE index = $1", index)
    note = log.value("SELECT note FROM checkpoint WHERE size = $1", checkpoint.size)
    return _checked(ProofFile(index, tuple(proof), note), leaf or b"", key)


def prove_from_files(log: TileReader, key: LogKey, index: int) -> tuple[ProofFile, bytes]:
    """Return the proof of the entry at an index under a log's published checkpoint, and the entry."""
    note, checkpoint = signed_checkpoint(log, key)
    tree = TreeReader(log, checkpoint.size, checkpoint.root)
    proof = tree.inclusion_proof(index)
    return _checked(ProofFile(index, tuple(proof), note), tree.entry(index), key.key)


def _checked(proof: ProofFile, entry: bytes, key: VerifierKey) -> tuple[ProofFile, bytes]:
    """Return both once they verify as whoever receives them will do it; raises ProofInvalid."""
    proof.verify(entry, key)
    return proof, entry
