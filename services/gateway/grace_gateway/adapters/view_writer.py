"""The read model as the event handlers write it: one bulk statement per table and batch, idempotent by id."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import orjson
from grace_common.contract.envelope import Attributes, Envelope, opened
from grace_common.contract.errors import Refused
from grace_common.contract.events.base import Event
from grace_common.contract.events.dead_letter import RecordDeadLettered
from grace_common.contract.events.identity import CertificateIssued
from grace_common.contract.events.ledger import CheckpointPublished, EntriesSealed
from grace_common.contract.events.operation import (
    OperationFailed,
    OperationStarted,
    OperationSucceeded,
    RequestRefused,
)
from grace_common.contract.events.round import OutcomeLearned, PoliciesPublished
from grace_common.contract.events.task import RedactionRequested
from grace_common.runtime.database import current
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from grace_gateway.adapters.erasure import erase
from grace_gateway.adapters.rows import insert_submissions, plain, to_json
from grace_gateway.domain.progress import Step, progress, step_of
from grace_gateway.domain.submission import service_of, subject_of, submission_of

NOTIFY_CHANNEL: Final = "grace_view"
_POSITIONS_KEY: Final = 7_265_101  # advisory: positions become visible in their order, so that readers miss none

# One statement for three things. Each row needs the lock's row, so none gets its position before the lock is held.
_INSERT_FACTS: Final = text(
    f"""
    WITH locked AS MATERIALIZED (SELECT pg_advisory_xact_lock({_POSITIONS_KEY})),
    added AS (
        INSERT INTO fact (id, submission_id, type, time, service, actor, operation_id, step, data)
        SELECT one.* FROM locked, unnest(CAST(:ids AS uuid[]), CAST(:submissions AS uuid[]), CAST(:types AS text[]),
                                         CAST(:times AS timestamptz[]), CAST(:services AS text[]),
                                         CAST(:actors AS text[]), CAST(:operations AS uuid[]),
                                         CAST(:steps AS json[]), CAST(:data AS json[])) AS one
        ON CONFLICT (id) DO NOTHING
    )
    SELECT pg_notify('{NOTIFY_CHANNEL}', '')
    """
)
_STEPS: Final = text("SELECT submission_id, type, step FROM fact WHERE submission_id = ANY(:ids) ORDER BY position")
_LOCK_SUBMISSIONS: Final = text("SELECT id, mode FROM submission WHERE id = ANY(:ids) ORDER BY id FOR UPDATE")
_UPDATE_SUBMISSIONS: Final = text(
    """
    UPDATE submission
    SET state = new.state, waiting_for = new.waiting_for, updated_at = greatest(submission.updated_at, new.at)
    FROM unnest(CAST(:ids AS uuid[]), CAST(:states AS text[]), CAST(:waiting AS text[]), CAST(:times AS timestamptz[]))
         AS new (id, state, waiting_for, at)
    WHERE submission.id = new.id
    """
)
_UPSERT_OPERATIONS: Final = text(
    """
    INSERT INTO operation (id, name, service, actor, subject, parent_id, why, started_at, ended_at, deadline, outcome,
                           data)
    SELECT * FROM unnest(CAST(:ids AS uuid[]), CAST(:names AS text[]), CAST(:services AS text[]),
                         CAST(:actors AS text[]), CAST(:subjects AS text[]), CAST(:parents AS uuid[]),
                         CAST(:whys AS text[]), CAST(:started AS timestamptz[]), CAST(:ended AS timestamptz[]),
                         CAST(:deadlines AS timestamptz[]), CAST(:outcomes AS text[]), CAST(:data AS json[]))
    ON CONFLICT (id) DO UPDATE SET
        why = coalesce(operation.why, excluded.why),
        started_at = coalesce(operation.started_at, excluded.started_at),
        deadline = coalesce(operation.deadline, excluded.deadline),
        -- A failed attempt may be followed by one that succeeds, never the other way round.
        ended_at = CASE WHEN operation.outcome = 'succeeded' THEN operation.ended_at
                        ELSE coalesce(excluded.ended_at, operation.ended_at) END,
        data = CASE WHEN operation.outcome = 'succeeded' THEN operation.data
                    ELSE coalesce(excluded.data, operation.data) END,
        outcome = CASE WHEN operation.outcome = 'succeeded' THEN operation.outcome
                       ELSE coalesce(excluded.outcome, operation.outcome) END
    """
)
# PostgreSQL reads the entries' JSON itself: it does so, and checks it, at a tenth of what Python would take.
_INSERT_ENTRIES: Final = text(
    """
    INSERT INTO ledger_entry (index, entry_id, entry_type, operation_id, correlation, actor, service, time)
    SELECT index, entry_id, entry_type, operation_id, correlation, actor, service, time
    FROM json_to_recordset(CAST(:entries AS json))
         AS entry (index bigint, entry_id uuid, entry_type text, operation_id uuid, correlation text, actor text,
                   service text, time timestamptz)
    ON CONFLICT (index) DO NOTHING
    """
)
_INSERT_CHECKPOINTS: Final = text(
    """
    INSERT INTO checkpoint (tree_size, root_sha256, note, published_at)
    SELECT * FROM unnest(CAST(:sizes AS bigint[]), CAST(:roots AS text[]), CAST(:notes AS text[]),
                         CAST(:times AS timestamptz[]))
    ON CONFLICT (tree_size) DO NOTHING
    """
)
_UPSERT_CERTIFICATE: Final = text(
    """
    INSERT INTO certificate (key_id, subject, certificate, not_before, not_after, roles, revoked_at, reason, stated_at)
    VALUES (:key_id, :subject, :certificate, :not_before, :not_after, :roles, :revoked_at, :reason, :stated_at)
    ON CONFLICT (key_id) DO UPDATE SET
        certificate = excluded.certificate, not_before = excluded.not_before, not_after = excluded.not_after,
        revoked_at = excluded.revoked_at, reason = excluded.reason, roles = excluded.roles,
        stated_at = excluded.stated_at
    WHERE certificate.stated_at <= excluded.stated_at
    """
)
_INSERT_DEAD_LETTER: Final = text(
    """
    INSERT INTO dead_letter (refusal_id, consumer, topic, code, reason, at, data)
    VALUES (:refusal_id, :consumer, :topic, :code, :reason, :at, :data)
    ON CONFLICT (refusal_id, consumer) DO UPDATE SET at = excluded.at, reason = excluded.reason, data = excluded.data
    """
)
_INSERT_POLICY: Final = text(
    """
    INSERT INTO policy (name, version, description, expressions, published_at)
    VALUES (:name, :version, :description, :expressions, :at)
    ON CONFLICT (name, version) DO UPDATE SET
        description = excluded.description, expressions = excluded.expressions, published_at = excluded.published_at
    """
)
_INSERT_MEMORY: Final = text(
    """
    INSERT INTO memory (task_id, outcome, requirements, lesson, generator, confidence, rounds, learned_at)
    VALUES (:task_id, :outcome, :requirements, :lesson, :generator, :confidence, :rounds, :learned_at)
    ON CONFLICT (task_id) DO NOTHING
    """
)


class PostgresViewWriter:
    """Implements ViewWriter on the open transaction."""

    async def add_facts(self, envelopes: Sequence[Envelope]) -> None:
        connection = current()
        newest: dict[UUID, datetime] = {}
        for envelope in envelopes:
            if (id_ := subject_of(envelope.event)) is not None:
                newest[id_] = max(envelope.time, newest.get(id_, envelope.time))
        modes: dict[UUID, str | None] = {}
        if newest:
            # Locked first: of two batches about one task, the later sees the facts of the earlier.
            modes = await self._lock(list(newest))
            missing = [
                one
                for envelope in envelopes
                if envelope.id not in modes and (one := submission_of(envelope)) is not None
            ]
            if missing:  # submissions that this database never saw, or lost
                await insert_submissions(connection, missing)
                modes |= await self._lock([one.id for one in missing])
        await connection.execute(_INSERT_FACTS, _fact_columns(envelopes))
        # The fact that submitted it changes nothing of what its row says already.
        changed = {subject_of(one.event) for one in envelopes if one.id not in modes}
        moved = {id_: mode for id_, mode in modes.items() if id_ in changed}
        if moved:
            await self._update_states(moved, newest)
        await self._remember(envelopes)
        redacted = [one.event for one in envelopes if isinstance(one.event, RedactionRequested)]
        if redacted:
            await erase(redacted)

    async def _lock(self, ids: Sequence[UUID]) -> dict[UUID, str | None]:
        """Lock submissions in the order of their ids; return the mode of each that exists."""
        rows = await current().execute(_LOCK_SUBMISSIONS, {"ids": ids})
        return {row.id: row.mode for row in rows}

    async def _update_states(self, modes: dict[UUID, str | None], newest: dict[UUID, datetime]) -> None:
        steps: dict[UUID, list[Step]] = {id_: [Step("submitted", mode=mode)] for id_, mode in modes.items()}
        for row in await current().execute(_STEPS, {"ids": list(modes)}):
            steps[row.submission_id].append(step_of(row.type.split(".")[1], row.step))
        states = {id_: progress(known) for id_, known in steps.items()}
        await current().execute(
            _UPDATE_SUBMISSIONS,
            {
                "ids": list(states),
                "states": [state.state for state in states.values()],
                "waiting": [state.waiting_for for state in states.values()],
                "times": [newest[id_] for id_ in states],
            },
        )

    async def _remember(self, envelopes: Sequence[Envelope]) -> None:
        learned = [one.event for one in envelopes if isinstance(one.event, OutcomeLearned)]
        if learned:
            await current().execute(
                _INSERT_MEMORY,
                [
                    {
                        **event.model_dump(exclude={"requirements", "lesson"}),
                        "requirements": plain(event.requirements),
                        "lesson": plain(event.lesson),
                    }
                    for event in learned
                ],
            )
        policies = [
            {
                "name": policy.name,
                "version": policy.version,
                "description": plain(policy.description),
                "expressions": to_json(policy.expressions),
                "at": envelope.time,
            }
            for envelope in envelopes
            if isinstance(envelope.event, PoliciesPublished)
            for policy in envelope.event.policies
        ]
        if policies:
            await current().execute(_INSERT_POLICY, policies)

    async def add_operations(self, records: Sequence[Attributes]) -> None:
        rows: dict[UUID, dict[str, Any]] = {}
        for attributes in records:
            row = _operation_row(attributes)
            if row is not None:
                rows[row["id"]] = _merged(rows.get(row["id"]), row)
        if not rows:
            return
        # In the order of ids: two batches that touch the same operations must not wait for one another in a circle.
        ordered = [rows[id_] for id_ in sorted(rows)]
        await current().execute(
            _UPSERT_OPERATIONS,
            {
                "ids": [row["id"] for row in ordered],
                "names": [row["name"] for row in ordered],
                "services": [row["service"] for row in ordered],
                "actors": [row["actor"] for row in ordered],
                "subjects": [row["subject"] for row in ordered],
                "parents": [row["parent_id"] for row in ordered],
                "whys": [row["why"] for row in ordered],
                "started": [row["started_at"] for row in ordered],
                "ended": [row["ended_at"] for row in ordered],
                "deadlines": [row["deadline"] for row in ordered],
                "outcomes": [row["outcome"] for row in ordered],
                "data": [row["data"] for row in ordered],
            },
        )

    async def add_ledger(self, records: Sequence[Attributes]) -> None:
        sealed = [attributes for attributes in records if attributes["type"] == EntriesSealed.TYPE]
        if sealed:
            await _insert_entries(sealed)
        others = [opened(attributes) for attributes in records if attributes["type"] != EntriesSealed.TYPE]
        published = [(one.event, one.time) for one in others if isinstance(one.event, CheckpointPublished)]
        if published:
            await current().execute(
                _INSERT_CHECKPOINTS,
                {
                    "sizes": [event.tree_size for event, _ in published],
                    "roots": [event.root_sha256 for event, _ in published],
                    "notes": [event.checkpoint for event, _ in published],
                    "times": [time for _, time in published],
                },
            )

    async def add_certificates(self, envelopes: Sequence[Envelope]) -> None:
        rows = [
            {
                **envelope.event.model_dump(exclude={"roles"}),
                "roles": list(envelope.event.roles),
                "stated_at": envelope.time,
            }
            for envelope in envelopes
            if isinstance(envelope.event, CertificateIssued)
        ]
        if rows:
            await current().execute(_UPSERT_CERTIFICATE, rows)

    async def add_dead_letters(self, envelopes: Sequence[Envelope]) -> None:
        rows = [
            {
                "refusal_id": event.refusal_id,
                "consumer": event.consumer,
                "topic": event.topic,
                "code": event.code,
                "reason": plain(event.reason),
                "at": envelope.time,
                "data": event.model_dump_json(),
            }
            for envelope in envelopes
            if isinstance(event := envelope.event, RecordDeadLettered)
        ]
        if rows:
            await current().execute(_INSERT_DEAD_LETTER, rows)


def _fact_columns(envelopes: Sequence[Envelope]) -> dict[str, Any]:
    return {
        "ids": [one.id for one in envelopes],
        "submissions": [subject_of(one.event) for one in envelopes],
        "types": [one.event.TYPE for one in envelopes],
        "times": [one.time for one in envelopes],
        "services": [service_of(one) for one in envelopes],
        "actors": [plain(one.actor) for one in envelopes],
        "operations": [one.operation for one in envelopes],
        "steps": [_step_json(one.event) for one in envelopes],
        "data": [one.event.model_dump_json() for one in envelopes],
    }


_STEP_FIELDS: Final = ("round_id", "number", "missing", "digest", "mode")


def _step_json(event: Event) -> str:
    """Return the fields that `step_of` reads, so that progress needs no candidate's code read again."""
    fields = vars(event)  # getattr of a field that an event does not have is slow
    return orjson.dumps({name: fields[name] for name in _STEP_FIELDS if fields.get(name) is not None}).decode()


async def _insert_entries(sealed: Sequence[Attributes]) -> None:
    try:
        entries = [entry for attributes in sealed for entry in attributes["data"]["entries"]]
        for entry in entries:
            _time(entry["time"])  # PostgreSQL would take "yesterday"
        await current().execute(_INSERT_ENTRIES, {"entries": to_json(entries)})
    except (KeyError, TypeError, ValueError, DBAPIError) as error:
        if isinstance(error, DBAPIError) and not _lies_in_the_data(error):
            raise
        for attributes in sealed:
            opened(attributes)  # says what is wrong
        raise Refused("the entries are not what their table takes") from error


def _lies_in_the_data(error: DBAPIError) -> bool:
    """Return whether the values are to blame (PostgreSQL's error classes 22, data, and 23, integrity)."""
    return str(getattr(error.orig, "sqlstate", "")).startswith(("22", "23"))


def _operation_row(attributes: Attributes) -> dict[str, Any] | None:
    """Return what a record says of an operation; None for one that says nothing.

    Of the millions of records most are these; only what becomes a column is looked at here, and what is not as it
    should be is opened, which says why not.
    """
    try:
        return _row_of(attributes)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        opened(attributes)
        raise Refused(f"the {attributes['type']} record is not what its table takes: {error}") from error


def _row_of(attributes: Attributes) -> dict[str, Any] | None:
    row: dict[str, Any] = dict.fromkeys(("parent_id", "why", "started_at", "ended_at", "deadline", "outcome", "data"))
    data, at = attributes["data"], _time(attributes["time"])
    match attributes["type"]:
        case OperationStarted.TYPE:
            deadline = data.get("deadline")
            row |= {"why": _text(data["why"]), "started_at": at}
            row["deadline"] = _time(deadline) if deadline is not None else None
        case OperationSucceeded.TYPE:
            row |= {"ended_at": at, "outcome": "succeeded", "data": _rest(data)}
        case OperationFailed.TYPE:
            row |= {"ended_at": at, "outcome": "failed", "data": _rest(data)}
        case RequestRefused.TYPE:
            return row | {
                "id": UUID(attributes["operationid"]),
                "name": "gateway.request",
                "service": attributes["source"].rpartition("/")[2],
                "actor": _text(data["actor"]),
                "subject": _text(data["path"]),
                "started_at": at,
                "ended_at": at,
                "outcome": "refused",
                "data": to_json({name: data[name] for name in ("method", "path", "status", "reason")}),
            }
        case _:
            return None
    parent = data.get("parent_id")
    return row | {
        "id": _uuid(data["operation_id"]),
        "name": _text(data["name"]),
        "service": _text(data["service"]),
        "actor": _text(data["actor"]),
        "subject": _text(data["subject"]),
        "parent_id": _uuid(parent) if parent is not None else None,
    }


_OPERATION_COLUMNS: Final = frozenset(("operation_id", "name", "service", "actor", "subject", "parent_id"))


def _rest(data: Mapping[str, Any]) -> str:
    return to_json({name: value for name, value in data.items() if name not in _OPERATION_COLUMNS})


def _text(value: object) -> str:
    if type(value) is not str:
        raise TypeError(f"expected text, found {type(value).__name__}")
    return value


def _uuid(value: object) -> UUID:
    return UUID(_text(value))


def _time(value: str) -> datetime:
    time = datetime.fromisoformat(value)
    if time.tzinfo is None:
        raise ValueError("the time names no timezone")
    return time


def _merged(before: dict[str, Any] | None, row: dict[str, Any]) -> dict[str, Any]:
    """Return one row for two events of one operation in one batch, as the upsert would have merged them."""
    if before is None:
        return row
    ended = before if before["outcome"] == "succeeded" or row["outcome"] is None else row
    return {
        **row,
        "why": before["why"] or row["why"],
        "started_at": before["started_at"] or row["started_at"],
        "deadline": before["deadline"] or row["deadline"],
        **{name: ended[name] for name in ("ended_at", "outcome", "data")},
    }
