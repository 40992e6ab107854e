"""Deny by default: a route that does not say who may call it cannot be made."""

from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeVar

from fastapi import Request, Response
from fastapi.routing import APIRoute
from grace_common.runtime.operation import Operation
from pydantic_core import from_json
from starlette.requests import ClientDisconnect

from grace_gateway.api.problems import Problem
from grace_gateway.domain.json_limits import fault
from grace_gateway.domain.roles import ROLES, Identity, Role

Endpoint = TypeVar("Endpoint", bound=Callable[..., Any])
_ALLOWED: Final = "__grace_roles__"


def allow(*roles: Role) -> Callable[[Endpoint], Endpoint]:
    """Declare the roles whose holders may call an endpoint; any one of them suffices."""

    def declare(endpoint: Endpoint) -> Endpoint:
        setattr(endpoint, _ALLOWED, frozenset(roles))
        return endpoint

    return declare


def everyone(endpoint: Endpoint) -> Endpoint:
    """Declare that whoever is authenticated may call an endpoint."""
    return allow(*ROLES)(endpoint)


def allowed_roles(route: APIRoute) -> frozenset[Role]:
    """Return the roles a route declares; TypeError when it declares none."""
    return Gate(route.endpoint, route.path).roles


class Gate:
    """What stands before one endpoint: its name for the operation's record, and who may pass."""

    def __init__(self, endpoint: Callable[..., Any], path: str) -> None:
        roles: frozenset[Role] | None = getattr(endpoint, _ALLOWED, None)
        if not roles:
            raise TypeError(f"{path} does not say who may call it: put @allow(…) under its route")
        self.roles = roles
        self._name = f"gateway.{endpoint.__name__}"

    def admit(self, request: Request) -> None:
        """Return when the identity that asks has one of the declared roles; Problem 403 otherwise."""
        operation_of(request).name = self._name
        if not identity_of(request).has_any(self.roles):
            raise Problem(403, f"this needs one of the roles {', '.join(sorted(self.roles))}")


class BoundedRequest(Request):
    """A request whose JSON keeps integers of any size and is nested no deeper than an envelope may be."""

    async def body(self) -> bytes:
        """Return the whole body; Problem 400 when the client goes away first."""
        try:
            return await super().body()
        except ClientDisconnect as error:
            raise Problem(400, "the client went away before its request had arrived") from error

    async def json(self) -> Any:
        """Return the body's JSON value; Problem 422 when it is none, or nothing we can keep."""
        body = await self.body()
        try:
            value = from_json(body, allow_inf_nan=False)
        except ValueError as error:
            raise Problem(422, f"the body is not JSON: {error}") from error
        if wrong := fault(body, value):
            raise Problem(422, f"the body is refused: {wrong}")
        return value


class GuardedRoute(APIRoute):
    """Lets a request through to the endpoint when its identity has one of the declared roles."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        gate = Gate(self.endpoint, self.path)
        handle = super().get_route_handler()

        async def guarded(request: Request) -> Response:
            gate.admit(request)
            return await handle(BoundedRequest(request.scope, request.receive))

        return guarded


IDENTITY: Final = "grace.identity"
OPERATION: Final = "grace.operation"


def identity_of(request: Request) -> Identity:
    """Return who is asking, as the door found out."""
    identity: Identity = request.scope[IDENTITY]
    return identity


def operation_of(request: Request) -> Operation:
    """Return the operation that this request is."""
    operation: Operation = request.scope[OPERATION]
    return operation
