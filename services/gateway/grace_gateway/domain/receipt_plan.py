"""Which entries of the ledger a task's receipt shows, and whether they all stand in the published tree."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from grace_common.transparency.attestation import Attestation, Provenance, Review, read_predicate
from grace_common.transparency.statement import PublishedKey, read_leaf

from grace_gateway.domain.log_proof import PublishedLog
from grace_gateway.domain.operation_view import KEY_TYPES

PUBLISHED_KEY: Final = "grace.notary-key-published.v1"
ATTESTED: Final = "grace.artifact-attested.v1"
APPROVED: Final = "grace.approval-given.v1"
SHOWN: Final = (
    "grace.task-submitted.v1",
    "grace.guidance-given.v1",
    "grace.decision-reached.v1",
    "grace.approval-requested.v1",
    APPROVED,
    "grace.task-completed.v1",
)
_NEEDED: Final = ("grace.task-submitted.v1", "grace.task-completed.v1")

Entry = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Attested:
    """What the ledger attests of one artifact.

    name       the artifact's, as it was attested
    indices    of the attestations' entries
    approvals  event ids of the approvals that the reviews rest on, by reviewer
    """

    name: str
    indices: tuple[int, ...]
    has_provenance: bool
    approvals: Mapping[str, UUID]


@dataclass(frozen=True, slots=True)
class ReceiptPlan:
    """The entries of one receipt.

    indices    of all entries to show
    approvals  index by event id of the approvals, whose records are shown beside their statements
    """

    name: str
    indices: tuple[int, ...]
    approvals: Mapping[UUID, int]


def attested(log: PublishedLog, indices: Iterable[int], artifact_sha256: str) -> Attested:
    """Return what the attestations at `indices` say of an artifact; those of other artifacts are left out."""
    name, places, has_provenance = "", [], False
    approvals: dict[str, UUID] = {}
    for index in indices:
        envelope, _ = read_leaf(log.tree.entry(index))
        attestation = Attestation.parse(envelope.payload)
        names = [subject.name for subject in attestation.subjects if subject.sha256 == artifact_sha256]
        if not names:
            continue
        name = names[0]
        places.append(index)
        said = read_predicate(attestation)
        if isinstance(said, Provenance):
            has_provenance = True  # the notary states what else it attests of a delivery before it
        elif isinstance(said, Review):
            approvals[said.reviewer] = UUID(said.event_id)
    return Attested(name, tuple(places), has_provenance, approvals)


def without_idle_keys(log: PublishedLog, indices: Iterable[int]) -> tuple[int, ...]:
    """Leave out entries that publish a key of the signer which signed none of the others, such as those before it."""
    leaves = {index: read_leaf(log.tree.entry(index)) for index in sorted(set(indices))}
    signers = {signer for envelope, _ in leaves.values() for signer in envelope.key_ids}
    published = {index: fact.announced for index, (_, fact) in leaves.items() if fact is not None}
    return tuple(
        index for index in leaves if not isinstance(key := published.get(index), PublishedKey) or key.key_id in signers
    )


def plan(
    about: Sequence[Entry], keys: Sequence[Entry], found: Attested, approved_by: Iterable[str], tree_size: int
) -> ReceiptPlan | None:
    """Return what a receipt shows, None while the published tree lacks something of it.

    about        the entries about the task
    keys         the entries that announce keys: the signer's own, and those of the operations in `about`
    approved_by  who approved: a review of each must be attested
    """
    shown = [entry for entry in about if entry["entry_type"] in SHOWN]
    types = {entry["entry_type"] for entry in shown}
    places = {entry["entry_id"]: int(entry["index"]) for entry in shown if entry["entry_type"] == APPROVED}
    announced = {entry["operation_id"] for entry in keys if entry["entry_type"] in KEY_TYPES}
    indices = sorted({*(int(entry["index"]) for entry in (*shown, *keys)), *found.indices})
    complete = (
        types.issuperset(_NEEDED)
        and found.has_provenance
        and found.approvals.keys() >= set(approved_by)
        and places.keys() >= set(found.approvals.values())
        and announced >= {entry["operation_id"] for entry in shown}
        and any(entry["entry_type"] == PUBLISHED_KEY for entry in keys)
        and indices[-1] < tree_size
    )
    if not complete:
        return None
    return ReceiptPlan(found.name, tuple(indices), {id_: places[id_] for id_ in found.approvals.values()})
