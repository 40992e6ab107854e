"""`/api/auth`: who is asking, and the API keys by which Grace knows."""

from typing import Annotated, Any

from fastapi import APIRouter, Request, Response
from pydantic import AwareDatetime, Field

from grace_gateway.api.answers import json_answer
from grace_gateway.api.door import conclude
from grace_gateway.api.guard import GuardedRoute, allow, everyone, identity_of, operation_of
from grace_gateway.api.parts import FromKeyring, FromPorts
from grace_gateway.api.problems import documented
from grace_gateway.domain.refusals import Conflicting, Unknown, Unprocessable
from grace_gateway.domain.requests import Body
from grace_gateway.domain.roles import OPERATOR, Role
from grace_gateway.ports import ApiKey

router = APIRouter(prefix="/api/auth", tags=["auth"], route_class=GuardedRoute)


class KeyRequest(Body):
    """Whom the key is for, and until when; a key that never expires must be asked for with null."""

    user: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._@-]{0,99}$")]
    roles: Annotated[tuple[Role, ...], Field(min_length=1, max_length=4)]
    expires_at: AwareDatetime | None


@router.get("/me", responses=documented(401, 429))
@everyone
async def me(request: Request) -> Response:
    """Tell who is asking, with which roles."""
    identity = identity_of(request)
    return json_answer({"user": identity.user, "roles": sorted(identity.roles), "key_id": identity.key_id})


@router.get("/keys", responses=documented(401, 403, 429))
@allow(OPERATOR)
async def list_keys(ports: FromPorts) -> Response:
    """List every API key, without the keys themselves, of which only hashes are kept."""
    return json_answer({"items": [_shown(key) for key in await ports.keys.load()], "next_cursor": None})


@router.post("/keys", status_code=201, responses=documented(401, 403, 422, 429, 503))
@allow(OPERATOR)
async def create_key(request: Request, body: KeyRequest, ports: FromPorts, keyring: FromKeyring) -> Response:
    """Make an API key. It is shown this once and kept nowhere."""
    now = ports.clock.now()
    if body.expires_at is not None and body.expires_at <= now:
        raise Unprocessable("expires_at lies in the past")
    secret, hashed = keyring.make()
    key = ApiKey(
        id=str(ports.clock.new_id()),
        user=body.user,
        roles=tuple(sorted(set(body.roles))),
        hash=hashed,
        created_at=now,
        created_by=identity_of(request).user,
        expires_at=body.expires_at,
    )
    operation = operation_of(request)
    operation.subject = key.id
    operation.note(key_user=key.user, key_roles=" ".join(key.roles))
    await conclude(request, ports, 201, work=lambda: ports.keys.add(key))
    keyring.replace(await ports.keys.load())
    return json_answer({**_shown(key), "key": secret}, 201, {"Location": f"/api/auth/keys/{key.id}"})


@router.delete("/keys/{key_id}", responses=documented(401, 403, 404, 409, 429, 503))
@allow(OPERATOR)
async def revoke_key(request: Request, key_id: str, ports: FromPorts, keyring: FromKeyring) -> Response:
    """Withdraw an API key made over the API; it is refused from now on."""
    known = {key.id: key for key in await ports.keys.load()}
    if key_id not in known:
        raise Unknown(f"there is no API key {key_id[:100]}")
    if known[key_id].created_by is None:
        raise Conflicting("this key is of the deployment's own file: take it out of api-keys.json")
    if known[key_id].revoked_at is not None:
        raise Conflicting("this key was revoked already")
    operation_of(request).subject = key_id
    by, now = identity_of(request).user, ports.clock.now()
    await conclude(request, ports, 200, work=lambda: ports.keys.revoke(key_id, by, now))
    keyring.replace(await ports.keys.load())
    return json_answer({"id": key_id, "revoked_at": now})


def _shown(key: ApiKey) -> dict[str, Any]:
    return {
        "id": key.id,
        "user": key.user,
        "roles": list(key.roles),
        "created_at": key.created_at,
        "created_by": key.created_by,
        "expires_at": key.expires_at,
        "revoked_at": key.revoked_at,
    }
