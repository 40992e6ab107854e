"""A run of bundles, checked in a process of its own: hashes, leaf tiles, signatures."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING, Protocol

from grace_common.contract.errors import Refused, Unready
from grace_common.transparency import merkle
from grace_common.transparency.strict import Malformed
from grace_common.transparency.tile import (
    ENTRIES,
    HEIGHT,
    WIDTH,
    Tile,
    TileReader,
    bundle_hashes,
    decode_bundle,
    read_tile,
)

from grace_cli.log_files import directory_path
from grace_cli.verifying.faults import Fault
from grace_cli.verifying.tree import LeafTile

if TYPE_CHECKING:
    from grace_cli.verifying.keys import Announced, KeyName, Pending


class LogFiles(TileReader, Protocol):
    """The static files of a log; what implements it can be handed to another process."""

    def partials(self, tile: Tile) -> list[Tile]:
        """Return the partial tiles that stand beside a tile; none where nobody can tell."""
        ...


@dataclass(frozen=True, slots=True)
class Job:
    """Bundles to check, from index `start` up to, not including, `end`, of a tree of `size` leaves.

    keys  what is known before the first of them; None: only the tree is checked
    """

    start: int
    end: int
    size: int
    keys: "Mapping[KeyName, bytes] | None"


@dataclass(frozen=True, slots=True)
class Checked:
    """What one job found.

    tiles    each leaf tile in order: its root where it is full and stored as it must be
    learned  keys announced; pending: entries that only the earlier ones can decide
    files    bundles and leaf tiles read; older: partial tiles of older trees among the rest
    directories  versions of the key directory that entries name
    uses     the entries that each key of the signer signed
    ended    keys of the signer, and the first entry that names a version of the key directory which says they ended
    """

    job: Job
    tiles: list[bytes | LeafTile] = field(default_factory=list)
    learned: "list[Announced]" = field(default_factory=list)
    pending: "list[Pending]" = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    files: int = 0
    older: int = 0
    directories: int = 0
    uses: "dict[KeyName, list[int]]" = field(default_factory=dict)
    ended: "dict[KeyName, int]" = field(default_factory=dict)


def check_files(log: LogFiles, job: Job) -> Checked:
    """Check the bundles of a job as they stand in a log's static files."""
    checked = Checked(job)
    leaves: list[tuple[int, bytes]] = []
    files = older = 0
    for index in range(job.start, job.end):
        width = min(WIDTH, job.size - (index << HEIGHT))
        entries = _read(log, Tile(ENTRIES, index, width), checked.faults)
        stored = _read(log, Tile(0, index, width), checked.faults)
        files += (entries is not None) + (stored is not None)
        listed = None
        if job.keys is None:
            hashes = _decoded(Tile(ENTRIES, index, width), entries, bundle_hashes, checked.faults)
        else:
            listed = _decoded(Tile(ENTRIES, index, width), entries, decode_bundle, checked.faults)
            hashes = merkle.leaf_hashes(listed) if listed is not None else None
        same = hashes is not None and len(hashes) == width and b"".join(hashes) == stored
        if same and width == WIDTH and hashes is not None:
            checked.tiles.append(merkle.root_hash(hashes))
        else:
            checked.tiles.append(LeafTile(width, hashes, None if same else stored))
        if listed is not None:
            leaves.extend(enumerate(listed, index << HEIGHT))
        older += _check_partials(log, Tile(ENTRIES, index, width), entries, checked.faults)
        older += _check_partials(log, Tile(0, index, width), stored, checked.faults)
    if job.keys is None:
        return Checked(job, checked.tiles, faults=checked.faults, files=files, older=older)
    from grace_cli.verifying.keys import check_entries  # the formats of entries, which a tree has no need of

    signed = check_entries(leaves, job.keys)
    faults, shown = [*checked.faults, *signed.faults], len(signed.directories)
    ended = _check_directories(log, signed.directories, faults) if shown else {}
    return Checked(job, checked.tiles, signed.learned, signed.pending, faults, files, older, shown, signed.uses, ended)


def _check_directories(
    log: TileReader, named: Mapping[int, tuple[str, str | None]], faults: list[Fault]
) -> "dict[KeyName, int]":
    """Compare the versions of the key directory that lie beside the log with the digests that entries name.

    returns  which keys of the signer they list as ended, and the first entry that says so
    """
    from grace_cli.verifying.ended import ended_by

    ended: dict[KeyName, int] = {}
    for index, (version, digest) in named.items():
        path = directory_path(int(version)) if version.isdecimal() else version
        try:
            signed = log.read(path)
            if sha256(signed).hexdigest() != digest:
                faults.append(Fault(index, f"{path} is not the key directory that entry {index} names"))
                continue
            for name in ended_by(signed):
                ended.setdefault(name, index)
        except Unready:
            faults.append(Fault(index, f"{path}, the key directory that entry {index} names, is missing"))
        except Refused as error:
            faults.append(Fault(index, f"{path}, which entry {index} names, is no key directory: {error}"))
    return ended


def _read(log: LogFiles, tile: Tile, faults: list[Fault]) -> bytes | None:
    """Return a file's bytes; None, and a fault, when it is missing or no such file."""
    first = tile.index << HEIGHT
    try:
        return read_tile(log, tile)
    except Unready:
        faults.append(Fault(first, f"{tile.path}, with entries {first} to {first + tile.width - 1}, is missing"))
    except Malformed as error:
        faults.append(Fault(first, f"{tile.path}: {error}"))
    return None


def _decoded(
    tile: Tile, data: bytes | None, decode: Callable[[bytes], list[bytes]], faults: list[Fault]
) -> list[bytes] | None:
    """Return the entries of a bundle, or their hashes; None, and a fault, when it ends inside one."""
    try:
        return decode(data) if data is not None else None
    except Malformed as error:
        faults.append(Fault(tile.index << HEIGHT, f"{tile.path}: {error}"))
        return None


def _check_partials(log: LogFiles, tile: Tile, data: bytes | None, faults: list[Fault]) -> int:
    """Compare the narrower tiles that older checkpoints need with the one that has grown from them."""
    count = 0
    for partial in log.partials(tile):
        if data is None or partial.width >= tile.width:  # wider ones belong to a tree that is being published
            continue
        count += 1
        if not data.startswith(log.read(partial.path)) or not _holds(log.read(partial.path), partial):
            first = tile.index << HEIGHT
            faults.append(Fault(first, f"{partial.path}, of an older checkpoint, is not what {tile.path} begins with"))
    return count


def _holds(data: bytes, tile: Tile) -> bool:
    """Return whether a partial tile or bundle holds as many hashes or entries as its name says."""
    if tile.level != ENTRIES:
        return len(data) == tile.width * merkle.HASH_BYTES
    try:
        return len(decode_bundle(data)) == tile.width
    except Refused:
        return False
