"""The log as static files, made from the committed entries: for the publication and for an export alike.

The tree is computed anew from the leaves and must reach the committed root before the checkpoint is written, so no
published checkpoint is inconsistent, whatever became of the database in between.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Final

import structlog
from grace_common.contract.errors import Refused, Unready
from grace_common.runtime import failpoint
from grace_common.transparency import merkle
from grace_common.transparency.checkpoint import open_checkpoint
from grace_common.transparency.note import Note, VerifierKey
from grace_common.transparency.strict import encode_base64
from grace_common.transparency.tile import ENTRIES, HEIGHT, WIDTH, Tile, TileEdge, encode_bundle, new_tiles

from grace_audit_log.handlers.cosigned import COSIGNED
from grace_audit_log.ports import Committed, Entries, Publication

CHECKPOINT: Final = "checkpoint"
VKEY: Final = "vkey"
CA: Final = "ca"
_AT_ONCE: Final = 16 * WIDTH  # leaves in memory; a multiple of WIDTH, so that only the last chunk has partial bundles
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Published:
    """What the files show: the right edge of a tree.

    complete  whether its checkpoint and the vkey stand there too
    tail      leaves of the last, partial bundle, kept so that they are not read again; None: to be read
    vkey      the key that `vkey` names; None: to be looked at
    """

    edge: TileEdge = field(default_factory=TileEdge)
    complete: bool = False
    tail: Sequence[bytes] | None = field(default=None, repr=False, compare=False)
    vkey: VerifierKey | None = field(default=None, compare=False)


def publish_authority(publication: Publication, ca_keys: Sequence[bytes]) -> None:
    """Write the CAs' keys, base64, one on a line; the signed checkpoint names them, so they need no place of trust.

    Keys are added, and none that stands there is taken away.
    """
    lines, before = [f"{encode_base64(key)}\n".encode() for key in ca_keys], b""
    with suppress(Unready):
        before = publication.read(CA)
    content = b"".join(dict.fromkeys((*lines, *before.splitlines(keepends=True))))
    if content != before:
        publication.write([(CA, content)])


def publish_vkey(publication: Publication, keys: Sequence[VerifierKey], newest: bytes) -> VerifierKey:
    """Write as `vkey` the newest key that signed whatever checkpoint a reader may meet; return it.

    Whoever reads it and then a checkpoint finds the two to agree, also while the log's key is replaced.

    keys    that sign, the newest first
    newest  the signed checkpoint that is published or about to be
    """
    notes = [Note.parse(newest)]
    for path in (CHECKPOINT, COSIGNED):
        with suppress(Unready, Refused):
            notes.append(Note.parse(publication.read(path)))
    all_signed = [key for key in keys if all(_is_signed(note, key) for note in notes)]
    chosen = next(iter(all_signed), next((key for key in reversed(keys) if _is_signed(notes[0], key)), keys[0]))
    content = f"{chosen}\n".encode()
    with suppress(Unready):
        if publication.read(VKEY) == content:
            return chosen
    publication.write([(VKEY, content)])
    return chosen


def _is_signed(note: Note, key: VerifierKey) -> bool:
    return any(line.is_by(key) for line in note.signatures)


def published(publication: Publication, keys: VerifierKey | Sequence[VerifierKey]) -> Published:
    """Return what is published already; nothing when the files do not lead to their checkpoint, so all is made anew.

    raises  Refused when the files belong to a log with another key
    """
    try:
        note = publication.read(CHECKPOINT)
        publication.read(VKEY)
    except Unready:
        return Published()
    try:
        checkpoint = open_checkpoint(note, keys).checkpoint
    except Refused as error:
        raise Refused(f"the publication folder holds another log than this: {error}; name an empty folder") from error
    try:
        edge = TileEdge.read(publication, checkpoint.size)
    except (Unready, Refused) as error:
        _log.warning("publication_made_anew", why=str(error))
        return Published()
    if edge.root != checkpoint.root:
        _log.warning("publication_made_anew", why="its tiles do not lead to the root of its checkpoint")
        return Published()
    return Published(edge, complete=True)


async def publish(
    entries: Entries,
    publication: Publication,
    keys: VerifierKey | Sequence[VerifierKey],
    done: Published,
    newest: Committed,
) -> Published:
    """Write what the files lack of the newest tree, its checkpoint last; return what they show then.

    keys    that sign, the newest first
    raises  Refused when the database holds another tree than the files, or an older one
    """
    if done.edge.size > newest.size:
        raise Refused(
            f"the published log has {done.edge.size} entries and the database {newest.size}: it was set back to an "
            "older state. Restore the newer one; a log must never shrink"
        )
    signers = (keys,) if isinstance(keys, VerifierKey) else keys
    vkey = done.vkey
    if done.complete and (done.edge.size, done.edge.root) == (newest.size, newest.root):
        return done if vkey == signers[0] else replace(done, vkey=publish_vkey(publication, signers, newest.note))
    failpoint.reached("publication", "begun")
    edge = done.edge
    tail = done.tail if done.tail is not None else await entries.leaves(edge.size - edge.size % WIDTH, edge.size)
    while edge.size < newest.size:
        end = min(edge.size - edge.size % _AT_ONCE + _AT_ONCE, newest.size)
        leaves = [*tail, *await entries.leaves(edge.size, end)]
        edge = await asyncio.to_thread(_write_chunk, publication, edge, leaves)
        tail = leaves[len(leaves) - edge.size % WIDTH :]
    if edge.root != newest.root:
        raise Refused(
            f"the {newest.size} entries of the database do not lead to its checkpoint's root, or do not continue the "
            "published log: one of them was changed from outside; nothing was published"
        )
    if vkey != signers[0]:
        vkey = publish_vkey(publication, signers, newest.note)
    failpoint.reached("publication", "grown")
    await asyncio.to_thread(_conclude, publication, done.edge.size, edge, newest.note)
    failpoint.reached("publication", "written")
    return Published(edge, complete=True, tail=tail, vkey=vkey)


def _write_chunk(publication: Publication, edge: TileEdge, leaves: Sequence[bytes]) -> TileEdge:
    """Write the bundles and full tiles that these leaves make, of which the first begins a bundle; return the edge."""
    first = edge.size - edge.size % WIDTH
    grown = edge.append(merkle.leaf_hashes(leaves[edge.size - first :]))
    files = [(tile.path, data) for tile, data in grown.tiles if tile.width == WIDTH]
    for start in range(0, len(leaves), WIDTH):
        bundle = leaves[start : start + WIDTH]
        files.append((Tile(ENTRIES, (first + start) >> HEIGHT, len(bundle)).path, encode_bundle(bundle)))
    publication.write(files)
    return grown.edge


def _conclude(publication: Publication, before: int, edge: TileEdge, note: bytes) -> None:
    """Write the partial tiles and then the checkpoint; only then may partial tiles go that are full by now."""
    partial = [tile for tile in new_tiles(before, edge.size) if tile.width < WIDTH]
    publication.write([(tile.path, edge.tails[tile.level]) for tile in partial])
    publication.write([(CHECKPOINT, note)])
    publication.drop_partials([tile.path for tile in _filled(before, edge.size)])


def _filled(before: int, after: int) -> list[Tile]:
    """Return the tiles and bundles that were partial in the tree of `before` leaves and are full in that of `after`."""
    filled: list[Tile] = []
    for level in (ENTRIES, *range(before.bit_length() // HEIGHT + 1)):
        shift = HEIGHT * max(level, 0)
        index = before >> shift >> HEIGHT
        if before >> shift & (WIDTH - 1) and after >> shift >> HEIGHT > index:
            filled.append(Tile(level, index))
    return filled
