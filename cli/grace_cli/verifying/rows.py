"""The audit-log's rows: whether every column says what the leaf, the payload and the signed notes say."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from grace_common.contract.errors import Refused
from grace_common.contract.events.base import answer_id
from grace_common.contract.events.round import ApprovalRecorded, TaskCompleted
from grace_common.contract.events.signature import ArtifactAttested
from grace_common.transparency import merkle
from grace_common.transparency.attestation import AUTHORSHIP, PROVENANCE, REVIEW, TEST_RESULT, Attestation
from grace_common.transparency.checkpoint import PREVIOUS_EXTENSION
from grace_common.transparency.note import VerifierKey
from grace_common.transparency.statement import OperationKey, Statement
from grace_common.transparency.tile import HEIGHT, WIDTH, Tile, tile_hashes

from grace_cli.verifying.chunk import Checked, Job
from grace_cli.verifying.database_log import DatabaseLog
from grace_cli.verifying.ended import ended_by
from grace_cli.verifying.faults import Fault
from grace_cli.verifying.keys import check_entries
from grace_cli.verifying.succession import Signers
from grace_cli.verifying.tree import LeafTile

if TYPE_CHECKING:
    import asyncpg

KEY_ENTRY: Final = "cryptographic_key_generated"  # entry type of an operation's key, as the notary writes it
SIGNER: Final = "crypto-signer"
_CAUSES: Final = (TaskCompleted.TYPE, ApprovalRecorded.TYPE)  # facts that are attested as well
_MOST_ATTESTATIONS: Final = 8  # of one fact
_ORDINALS: Final = {PROVENANCE: 0, REVIEW: 0, TEST_RESULT: 1, AUTHORSHIP: 2}  # by which the notary tells them apart
_BEHIND: Final = 4_096  # entries before its own chunk within which an attestation's fact is looked for
_ENTRIES: Final = (
    "SELECT entry.*, content FROM entry LEFT JOIN payload USING (index) WHERE index >= $1 AND index < $2 ORDER BY index"
)


@dataclass(frozen=True, slots=True)
class CheckedRows(Checked):
    """What a job found in rows, and what only all of them together can decide.

    hashes       the leaf hash of each entry, in order
    checkpoints  size and root of each checkpoint row above the job's first entry
    unpaid       entries whose payload is missing
    relied_on    keys of the log that signed checkpoints alone, and that only a key directory vouches for
    """

    hashes: list[bytes] = field(default_factory=list)
    checkpoints: list[tuple[int, bytes]] = field(default_factory=list)
    unpaid: list[int] = field(default_factory=list)
    relied_on: set[VerifierKey] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class Cause:
    """What makes an attestation: the ordinal in its id, and the columns that it has from the fact that it attests."""

    ordinal: int
    columns: dict[str, Any]


def check_rows(log: DatabaseLog, signers: Signers, job: Job) -> CheckedRows:
    """Check the rows of a job's bundles, and the checkpoints between its first entry and its last."""
    checked = CheckedRows(job)
    faults = checked.faults
    leaves: list[tuple[int, bytes]] = []
    found: dict[int, asyncpg.Record] = {}
    for index in range(job.start, job.end):
        width = min(WIDTH, job.size - (index << HEIGHT))
        first = index << HEIGHT
        rows = {row["index"]: row for row in log.rows(_ENTRIES, first, first + width)}
        found |= rows
        leaves += [(at, row["leaf"]) for at, row in rows.items()]
        stored = _stored_tile(log, index, width, faults)
        hashes = _hashes(rows, first, width, stored, faults)
        checked.hashes.extend(hashes)
        same = stored is None or b"".join(hashes) == stored
        checked.tiles.append(LeafTile(width, hashes, None if same else stored))
    if job.keys is not None:
        signed = check_entries(leaves, job.keys)
        checked.learned.extend(signed.learned)
        checked.pending.extend(signed.pending)
        checked.uses.update(signed.uses)
        faults += signed.faults
        _check_columns(log, job, found, signed.statements, checked)
        _take_directories(found, signed.directories, checked)
    _check_checkpoints(log, signers, job, checked)
    return checked


def _stored_tile(log: DatabaseLog, index: int, width: int, faults: list[Fault]) -> bytes | None:
    """Return the row of a full leaf tile; None where there is none to be, or it is missing."""
    if width < WIDTH:
        return None
    first, path = index << HEIGHT, Tile(0, index).path
    rows = log.rows("SELECT hashes, root FROM tile WHERE level = 0 AND index = $1", index)
    if not rows:
        faults.append(Fault(first, f"the row of {path} is missing"))
        return None
    hashes: bytes = rows[0]["hashes"]
    if merkle.root_hash(tile_hashes(hashes)) != rows[0]["root"]:
        faults.append(Fault(first, f"the row of {path}: its column root is not what its hashes lead to"))
    return hashes


def _hashes(
    rows: "Mapping[int, asyncpg.Record]", first: int, width: int, stored: bytes | None, faults: list[Fault]
) -> list[bytes]:
    """Return each entry's leaf hash; where one is missing, what stands in its place in the tree."""
    known = tile_hashes(stored) if stored is not None else [merkle.EMPTY_ROOT] * width
    hashes: list[bytes] = []
    for index in range(first, first + width):
        if index not in rows:
            faults.append(Fault(index, f"entry {index} is missing"))
            hashes.append(known[index - first])
            continue
        hashes.append(merkle.leaf_hash(rows[index]["leaf"]))
        if hashes[-1] != rows[index]["leaf_hash"]:
            faults.append(Fault(index, f"entry {index}: its column leaf_hash is not the hash of its leaf"))
    return hashes


def _check_columns(
    log: DatabaseLog,
    job: Job,
    rows: "Mapping[int, asyncpg.Record]",
    statements: Mapping[int, Statement | Attestation],
    checked: CheckedRows,
) -> None:
    causes: dict[UUID, Cause] = {}
    if any(isinstance(said, Attestation) for said in statements.values()):
        causes = _causes(log, job)
    for index, said in statements.items():
        row = rows[index]
        if isinstance(said, Attestation):
            expected = _attested(said, row["entry_id"], causes)
            digest = None
        else:
            expected, digest = _columns(said), said.digest if said.announced is None else None
        for column, value in expected.items():
            if row[column] != value:
                checked.faults.append(
                    Fault(index, f"entry {index}: its column {column} is {row[column]}, its leaf says {value}")
                )
        content: bytes | None = row["content"]
        if digest is None and content is not None:
            checked.faults.append(Fault(index, f"entry {index} has a payload, and its leaf names none"))
        elif digest is not None and content is None:
            checked.unpaid.append(index)
        elif digest is not None and content is not None and sha256(content).hexdigest() != digest:
            checked.faults.append(Fault(index, f"the payload of entry {index} is not the one that its leaf names"))


def _take_directories(
    rows: "Mapping[int, asyncpg.Record]", named: Mapping[int, tuple[str, str | None]], checked: CheckedRows
) -> None:
    """Take in which keys the versions of the key directory end that entries name."""
    for index, (_, digest) in named.items():
        signed: bytes | None = rows[index]["content"]
        if signed is None:
            text = f"the payload of entry {index} is missing, a version of the key directory, which nothing redacts"
            checked.faults.append(Fault(index, text))
        elif sha256(signed).hexdigest() == digest:  # another one is named with the other payloads
            try:
                for name in ended_by(signed):
                    checked.ended.setdefault(name, index)
            except Refused as error:
                checked.faults.append(Fault(index, f"the payload of entry {index} is no key directory: {error}"))


def _columns(said: Statement) -> dict[str, Any]:
    """Return the index columns that belong to a statement."""
    return {
        "entry_id": _uuid(said.id),
        "entry_type": KEY_ENTRY if isinstance(said.announced, OperationKey) else said.type,
        "operation_id": _uuid(said.operation_id),
        "correlation": said.correlation_id,
        "actor": said.actor,
        "service": said.service,
        "time": datetime.fromisoformat(said.time),
    }


def _uuid(text: str) -> UUID | str:
    try:
        return UUID(text)
    except ValueError:
        return text  # equals no column, and is shown as it is


def _attested(said: Attestation, entry_id: UUID, causes: Mapping[UUID, Cause]) -> dict[str, Any]:
    """Return the index columns that belong to an attestation: those of the fact that it attests."""
    expected: dict[str, Any] = {"entry_type": ArtifactAttested.TYPE, "actor": SIGNER, "service": SIGNER}
    cause = causes.get(entry_id)
    if cause is None or _ORDINALS.get(said.predicate_type, cause.ordinal) != cause.ordinal:
        return expected | {"entry_id": "what it attests, a fact shortly before it"}
    return expected | cause.columns


def _causes(log: DatabaseLog, job: Job) -> dict[UUID, Cause]:
    """Return the columns of facts in and shortly before a job, by the ids of the attestations that follow from them."""
    rows = log.rows(
        "SELECT entry_id, operation_id, correlation, time FROM entry "
        "WHERE index >= $1 AND index < $2 AND entry_type = ANY($3::text[])",
        max(job.start * WIDTH - _BEHIND, 0),
        job.end * WIDTH,
        list(_CAUSES),
    )
    return {
        answer_id(UUID(str(row["entry_id"])), ArtifactAttested.TYPE, ordinal): Cause(
            ordinal, {name: row[name] for name in ("operation_id", "correlation", "time")}
        )
        for row in rows
        for ordinal in range(_MOST_ATTESTATIONS)
    }


def _check_checkpoints(log: DatabaseLog, signers: Signers, job: Job, checked: CheckedRows) -> None:
    """Check the checkpoint rows of sizes within a job: signature, columns, and that each follows the one before it."""
    low, high = job.start * WIDTH, min(job.end * WIDTH, job.size)
    rows = log.rows(
        "SELECT * FROM checkpoint WHERE size <= $2 AND size >= coalesce("
        "(SELECT max(size) FROM checkpoint WHERE size <= $1), 0) ORDER BY size",
        low,
        high,
    )
    before: tuple[int, bytes, str] | None = None
    for row in rows:
        size, what = row["size"], f"checkpoint {row['size']}"
        mine = size > low or (job.start == 0 and size == 0)
        try:
            signed, relied_on = signers.open(row["note"])
        except Refused as error:
            checked.faults.extend([Fault(size, f"{what}: {error}")] if mine else [])
            before = (size, row["root"], "")
            continue
        if mine:
            checked.checkpoints.append((size, signed.root))
            checked.relied_on.update([relied_on] if relied_on is not None else [])
            if (signed.size, signed.root) != (size, row["root"]):
                checked.faults.append(Fault(size, f"{what}: its columns are not what its note says"))
            checked.faults.extend(_succession(row, before, signed.values(PREVIOUS_EXTENSION), what))
        before = (size, row["root"], signed.digest)


def _succession(
    row: "asyncpg.Record", before: tuple[int, bytes, str] | None, named: list[str], what: str
) -> list[Fault]:
    """Say what is wrong with the place of a checkpoint in the chain."""
    size, previous = row["size"], (row["previous_size"], row["previous_root"])
    if size == 0:
        return []
    if before is None or previous[0] != before[0]:
        return [Fault(size, f"{what} follows checkpoint {previous[0]}, which is missing, or another one was inserted")]
    if previous[1] != before[1]:
        return [Fault(size, f"{what}: its column previous_root is not the root of checkpoint {before[0]}")]
    if before[2] and named != [before[2]]:
        return [Fault(size, f"{what}: its note does not name checkpoint {before[0]} as the one before it")]
    return []
