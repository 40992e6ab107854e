"""Which versions of the key directory a receipt shows: the newest in the log, and those that changed the root."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256

from grace_common.contract.errors import Unready
from grace_common.transparency.directory import KeyDirectory
from grace_common.transparency.dsse import DsseEnvelope
from grace_common.transparency.statement import read_leaf
from grace_common.transparency.tile import TileReader

from grace_gateway.domain.log_proof import PublishedLog


@dataclass(frozen=True, slots=True)
class ShownDirectories:
    """What proves one version.

    keys    indices of the entries that announce the keys which signed the statements below
    signed  the signed directories by the index of the statement that names each, the newest last
    """

    version: int
    keys: tuple[int, ...]
    signed: Mapping[int, bytes]


def directories(
    log: PublishedLog, files: TileReader, stated: Sequence[tuple[int, int | None]]
) -> ShownDirectories | None:
    """Return what a receipt shows of the key directory; None when the log, or its static files, lack a version.

    stated  indices of the statements of all versions, in the log's order, and of their operations' keys
    """
    found: list[tuple[int, int, bytes, KeyDirectory]] = []
    for index, key in stated:
        if index >= log.checkpoint.size:
            break
        _, fact = read_leaf(log.tree.entry(index))
        if fact is None or key is None or not fact.subject.isdecimal():
            return None
        try:
            signed = files.read(f"keys/{int(fact.subject):04}.json")
        except Unready:
            return None
        if sha256(signed).hexdigest() != fact.digest:
            return None
        found.append((index, key, signed, KeyDirectory.parse(DsseEnvelope.parse(signed).payload)))
    if not found:
        return None
    before = [found[0], *found[:-1]]
    shown = [one for one, last in zip(found, before, strict=True) if one is found[-1] or one[3].root != last[3].root]
    return ShownDirectories(
        version=found[-1][3].version,
        keys=tuple(key for _, key, _, _ in shown),
        signed={index: signed for index, _, signed, _ in shown},
    )
