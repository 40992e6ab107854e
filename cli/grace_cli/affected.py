"""Which entries of a published log rest on a key that fell into wrong hands: those it sealed, signed or derived."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal

from grace_common.contract.errors import Refused
from grace_common.transparency.attestation import Attestation
from grace_common.transparency.checkpoint import Checkpoint
from grace_common.transparency.statement import OperationKey, read_leaf
from grace_common.transparency.tile import WIDTH, TileReader, decode_bundle, new_bundles, read_tile

EPOCH: Final = "epoch:"
How = Literal["sealed", "signed", "derived"]


@dataclass(frozen=True, slots=True)
class AffectedEntry:
    """An entry and what the key has to do with it.

    how  `sealed`: the record that it states carried the key's seal; `signed`: the entry itself is signed with the key;
         `derived`: it is signed with, or announces, a key that was derived from the epoch's seed
    """

    index: int
    how: How
    time: str
    entry_type: str
    actor: str
    correlation: str


def affected_entries(
    log: TileReader, checkpoint: Checkpoint, key: str, since: datetime | None
) -> Iterator[AffectedEntry]:
    """Yield the entries of the checkpoint's tree that rest on a key, in the log's order.

    key    id of a workload's, notary, attestation, CA or operation key; or `epoch:N` for the seed of that number
    since  entries that claim an earlier time are left out; an attestation claims none
    """
    derived: set[str] = set()  # ids of the keys that came of the epoch's seed
    epoch = int(key.removeprefix(EPOCH)) if key.startswith(EPOCH) else None
    for bundle in new_bundles(0, checkpoint.size):
        for index, leaf in enumerate(decode_bundle(read_tile(log, bundle)), bundle.index * WIDTH):
            found = _judged(index, leaf, key, epoch, derived)
            if found is not None and (since is None or not found.time or datetime.fromisoformat(found.time) >= since):
                yield found


def _judged(index: int, leaf: bytes, key: str, epoch: int | None, derived: set[str]) -> AffectedEntry | None:
    try:
        envelope, fact = read_leaf(leaf)
    except Refused:
        return None  # `grace ledger verify` names it
    signers = set(envelope.key_ids)
    how: How | None = None
    if epoch is not None:
        if fact is not None and isinstance(fact.announced, OperationKey) and fact.announced.epoch == epoch:
            derived.add(fact.announced.key_id)
            how = "derived"
        elif signers & derived:
            how = "derived"
    elif fact is not None and fact.sealed_with == key:
        how = "sealed"
    elif key in signers:
        how = "signed"
    if how is None:
        return None
    if fact is None:
        about = Attestation.parse(envelope.payload)
        return AffectedEntry(index, how, "", about.predicate_type, "", about.subjects[0].name)
    return AffectedEntry(index, how, fact.time, fact.type, fact.actor, fact.correlation_id)
