"""`/api/keys`: the public key directory, outside producers, revocation."""

import base64
import binascii
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from grace_common.contract.events.task import KeyRevocationRequested, ProducerEnrolled
from pydantic import AwareDatetime, Field

from grace_gateway.api.answers import json_answer
from grace_gateway.api.guard import GuardedRoute, allow, everyone, identity_of
from grace_gateway.api.parts import FromPorts
from grace_gateway.api.problems import documented
from grace_gateway.api.submitting import After, Limit, state
from grace_gateway.domain.cursor import decode_number, encode_number
from grace_gateway.domain.ledger_query import LedgerQuery
from grace_gateway.domain.operation_view import KEY_TYPES
from grace_gateway.domain.refusals import Conflicting, Unknown, Unprocessable
from grace_gateway.domain.requests import Body
from grace_gateway.domain.roles import OPERATOR, Role

router = APIRouter(prefix="/api/keys", tags=["keys"], route_class=GuardedRoute)


class Enrolment(Body):
    """An outside Kafka producer: its name, its raw Ed25519 public key in base64, what it may do, until when."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")]
    public_key: Annotated[str, Field(max_length=100)]
    roles: Annotated[tuple[Role, ...], Field(min_length=1, max_length=4)]
    valid_until: AwareDatetime


class Revocation(Body):
    reason: Annotated[str, Field(min_length=1, max_length=2_000)]


@router.get("", responses=documented(401, 422, 429))
@everyone
async def list_keys(ports: FromPorts, subject: Annotated[str | None, Query(max_length=200)] = None) -> Response:
    """List the certified workload and producer keys, revoked ones included."""
    return json_answer({"items": await ports.views.certificates(subject), "next_cursor": None})


@router.get("/operations", responses=documented(401, 422, 429))
@everyone
async def list_operation_keys(ports: FromPorts, cursor: After = None, limit: Limit = 50) -> Response:
    """List the ledger entries in which operations' keys were announced, newest first."""
    after = decode_number(cursor) if cursor is not None else None
    found = await ports.views.ledger(LedgerQuery(limit + 1, entry_types=KEY_TYPES, after=after))
    more = encode_number(found[limit - 1]["index"]) if len(found) > limit else None
    return json_answer({"items": found[:limit], "next_cursor": more})


@router.get("/{key_id}", responses=documented(401, 404, 429))
@everyone
async def show_key(key_id: str, ports: FromPorts) -> Response:
    """Show one certified key."""
    found = await ports.views.certificate(key_id)
    if found is None:
        raise Unknown(f"no key {key_id[:100]} is certified (yet)")
    return json_answer(found)


@router.post("/producers", status_code=202, responses=documented(401, 403, 422, 429, 503))
@allow(OPERATOR)
async def enrol(request: Request, body: Enrolment, ports: FromPorts) -> Response:
    """Enrol an outside Kafka producer; the crypto-signer certifies its key, which then shows under /api/keys."""
    try:
        public_key = base64.b64decode(body.public_key, validate=True)
    except binascii.Error as error:
        raise Unprocessable("public_key is not base64") from error
    if len(public_key) != 32:
        raise Unprocessable(f"public_key has {len(public_key)} bytes; a raw Ed25519 public key has 32")
    if body.valid_until <= ports.clock.now():
        raise Unprocessable("valid_until lies in the past")
    event = ProducerEnrolled(
        name=body.name,
        public_key=public_key,
        roles=tuple(sorted(set(body.roles))),
        by=identity_of(request).user,
        valid_until=body.valid_until,
    )
    envelope = await state(request, event, subject=body.name)
    return json_answer({"event_id": str(envelope.id), "subject": f"producer/{body.name}"}, 202)


@router.post("/{key_id}/revocation", status_code=202, responses=documented(401, 403, 404, 409, 422, 429, 503))
@allow(OPERATOR)
async def revoke(request: Request, key_id: str, body: Revocation, ports: FromPorts) -> Response:
    """Withdraw a workload or producer key: whatever it seals from now on is refused."""
    found = await ports.views.certificate(key_id)
    if found is None:
        raise Unknown(f"no key {key_id[:100]} is certified")
    if found["revoked_at"] is not None:
        raise Conflicting(f"key {key_id} was revoked already")
    event = KeyRevocationRequested(key_id=key_id, reason=body.reason, by=identity_of(request).user)
    envelope = await state(request, event, subject=key_id)
    return json_answer({"event_id": str(envelope.id), "key_id": key_id}, 202)
