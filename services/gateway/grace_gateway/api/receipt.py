"""`/api/tasks/{id}/receipt`: the proof that a stranger verifies offline, made from static files and the read model."""

import asyncio
from collections.abc import Mapping
from typing import Final
from uuid import UUID

import structlog
from fastapi import APIRouter, Request, Response
from grace_common.contract.errors import Unready
from grace_common.transparency.receipt import Receipt, ReceiptRejected, make_receipt, verify_receipt
from grace_common.transparency.statement import KEY_DIRECTORY_PUBLISHED
from grace_common.transparency.strict import Malformed, decode_base64

from grace_gateway.api.guard import GuardedRoute, everyone, identity_of, operation_of
from grace_gateway.api.parts import FromPorts
from grace_gateway.api.problems import Problem, documented
from grace_gateway.api.submitting import current_view
from grace_gateway.domain.directory_plan import ShownDirectories, directories
from grace_gateway.domain.ledger_query import LedgerQuery
from grace_gateway.domain.log_proof import PublishedLog
from grace_gateway.domain.operation_view import KEY_TYPES
from grace_gateway.domain.progress import TERMINAL
from grace_gateway.domain.receipt_plan import (
    ATTESTED,
    PUBLISHED_KEY,
    SHOWN,
    ReceiptPlan,
    attested,
    plan,
    without_idle_keys,
)
from grace_gateway.domain.refusals import Conflicting
from grace_gateway.domain.task_view import View
from grace_gateway.ports import Ports

router = APIRouter(prefix="/api/tasks", tags=["tasks"], route_class=GuardedRoute)

_RETRY_S: Final = 1
_COSIGNED_TRIES: Final = 12
_COSIGNED_AFTER_S: Final = 0.2
_MOST: Final = 2_000
_log = structlog.get_logger(__name__)


@router.get("/{task_id}/receipt", responses=documented(401, 404, 409, 429, 503))
@everyone
async def receipt(request: Request, task_id: UUID, ports: FromPorts) -> Response:
    """Return the receipt of the delivered artifact. 409 with Retry-After while the ledger has not sealed all of it."""
    operation = operation_of(request)
    operation.subject = operation.correlation = str(task_id)
    task = await current_view(ports, "task", task_id, identity_of(request))
    if task["artifact"] is None:
        if task["state"] in TERMINAL:
            raise Conflicting(f"the task is {task['state']}: there is no artifact and so no receipt")
        raise _early(f"the task is {task['state']}: its receipt comes with its artifact")
    newest, chosen = await _plan(ports, task_id, task["artifact"])
    log = await _cosigned(ports, newest, chosen)
    records = await ports.views.approval_records(list(chosen.approvals))
    listed = await _directories(ports, log)
    try:
        content = await asyncio.to_thread(_make, ports, task["artifact"], log, chosen, records, listed)
    except ReceiptRejected as error:
        raise Unready(f"the receipt made from the published log does not verify: {error}") from error
    headers = {"Content-Disposition": f'attachment; filename="{task_id}.receipt.json"'}
    return Response(content, 200, headers, "application/json")


async def _plan(ports: Ports, task_id: UUID, artifact: View) -> tuple[PublishedLog, ReceiptPlan]:
    """Return the published log and what the receipt shows of it; Problem 409 while something is missing."""
    try:
        log = await asyncio.to_thread(PublishedLog.read, ports.publication)
    except Unready as error:
        raise _early("the ledger has published nothing yet") from error
    ledger = ports.views.ledger
    about = await ledger(LedgerQuery(_MOST, correlation=str(task_id), newest_first=False))
    operations = tuple({entry["operation_id"] for entry in about if entry["entry_type"] in SHOWN})
    keys = [
        *await ledger(LedgerQuery(_MOST, entry_types=(PUBLISHED_KEY,), newest_first=False)),
        *await ledger(LedgerQuery(_MOST, entry_types=KEY_TYPES, operation_ids=operations, newest_first=False)),
    ]
    size = log.checkpoint.size
    places = [entry["index"] for entry in about if entry["entry_type"] == ATTESTED and entry["index"] < size]
    found = await asyncio.to_thread(attested, log, places, artifact["artifact_sha256"])
    chosen = plan(about, keys, found, artifact["approved_by"], size)
    if chosen is None:
        raise _early("the ledger has not sealed everything about the task yet")
    return log, chosen


async def _cosigned(ports: Ports, newest: PublishedLog, chosen: ReceiptPlan) -> PublishedLog:
    """Return the log under a checkpoint with cosignature that covers the receipt, else under the newest one.

    The witness comes a second behind the log. Where it is at work it is waited for; a receipt does not depend on it.
    """
    for _ in range(_COSIGNED_TRIES):
        log = await asyncio.to_thread(PublishedLog.cosigned, ports.publication)
        if log is None:
            return newest
        if max(chosen.indices) < log.checkpoint.size:
            return log
        await asyncio.sleep(_COSIGNED_AFTER_S)
    return newest


async def _directories(ports: Ports, log: PublishedLog) -> ShownDirectories | None:
    """Return the version of the key directory that the log holds, and what proves it; None before there is one."""
    ledger = ports.views.ledger
    stated = await ledger(LedgerQuery(_MOST, entry_types=(KEY_DIRECTORY_PUBLISHED,), newest_first=False))
    operations = tuple({entry["operation_id"] for entry in stated})
    keys = await ledger(LedgerQuery(_MOST, entry_types=KEY_TYPES, operation_ids=operations, newest_first=False))
    places = {entry["operation_id"]: int(entry["index"]) for entry in keys}
    indices = [(int(entry["index"]), places.get(entry["operation_id"])) for entry in stated]
    return await asyncio.to_thread(directories, log, ports.publication, indices)


def _make(
    ports: Ports,
    artifact: View,
    log: PublishedLog,
    chosen: ReceiptPlan,
    records: Mapping[UUID, bytes],
    listed: ShownDirectories | None,
) -> bytes:
    """Return the receipt's bytes, verified: nobody gets one that a stranger would reject.

    Where the key directory does not stand behind all of its keys (the root is not at hand to sign the next version,
    say), the receipt is of the first format, which names none.
    """
    code, vkey = artifact["code"].encode(), ports.publication.read("vkey").decode().strip()
    authorities = [decode_base64(key, "a key of the CA") for key in ports.publication.read("ca").decode().split()]
    payloads = {index: records[id_] for id_, index in chosen.approvals.items() if id_ in records}

    def verified(receipt: Receipt) -> bytes:
        verify_receipt(receipt.encode(), code, vkey)
        return receipt.encode()

    def made(directory: ShownDirectories | None) -> Receipt:
        shown = {**payloads, **(directory.signed if directory else {})}
        return make_receipt(
            chosen.name,
            code,
            without_idle_keys(log, {*chosen.indices, *shown, *(directory.keys if directory else ())}),
            log.tree,
            log.note,
            authorities,
            shown,
            directory.version if directory else None,
        )

    if listed is not None:
        try:
            return verified(made(listed))
        except ReceiptRejected as error:
            _log.warning("receipt_without_key_directory", version=listed.version, why=str(error))
    try:
        return verified(made(None))
    except Malformed as error:  # the CA was replaced in the midst of the task, and the first format holds one of them
        raise Unready(f"the receipt needs the key directory, which does not list all keys yet: {error}") from error


def _early(detail: str) -> Problem:
    return Problem(409, f"{detail}; try again", headers={"Retry-After": str(_RETRY_S)})
