"""The short way to endpoints that take nothing but a JSON body.

FastAPI's middleware, routing and dependencies cost more than a submission itself, and none of them has anything to do
here. Only what is in order goes this way: a body that is no JSON, or does not fit its model, goes through FastAPI from
the start, so that every refusal reads the same whichever way it came. FastAPI's own route documents the endpoint.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

from fastapi import FastAPI, Request, Response
from pydantic import BaseModel, ValidationError
from starlette.types import Message, Receive, Scope, Send

from grace_gateway.api.guard import BoundedRequest, Gate
from grace_gateway.api.problems import FORESEEN, Problem, answer_to

_JSON: Final = (b"content-type", b"application/json")


class Lane:
    """One endpoint `async (request, body) -> response` at one path."""

    def __init__(self, path: str, body: type[BaseModel], endpoint: Callable[[Request, Any], Awaitable[Response]]):
        self.path = path
        self.gate = Gate(endpoint, path)
        self._body = body
        self._endpoint = endpoint

    async def answer(self, request: BoundedRequest) -> Response | None:
        """Return the endpoint's answer; None for a body that it cannot take. Nothing has happened then."""
        try:
            body = self._body.model_validate(await request.json())
        except (Problem, ValidationError):
            return None
        return await self._endpoint(request, body)


class Express:
    """ASGI application in front of the whole one: POST to a lane's path goes the short way."""

    def __init__(self, app: FastAPI, lanes: Sequence[Lane]) -> None:
        self._app = app
        self._lanes = {lane.path: lane for lane in lanes}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        lane = self._lanes.get(scope["path"]) if scope["type"] == "http" and scope["method"] == "POST" else None
        if lane is None or _JSON not in scope["headers"]:
            await self._app(scope, receive, send)
            return
        scope["app"] = self._app
        request = BoundedRequest(scope, receive)
        try:
            lane.gate.admit(request)
            content = await request.body()
            response = await lane.answer(request)
        except Exception as error:
            response = await answer_to(request, error)
            await response(scope, receive, send)
            if not isinstance(error, FORESEEN):
                raise  # answered, and still the door's to know
            return
        if response is None:
            await self._app(scope, _again(content), send)
        else:
            await response(scope, receive, send)


def _again(content: bytes) -> Receive:
    """Return a `receive` that hands out a body which was read already."""

    async def receive() -> Message:
        return {"type": "http.request", "body": content, "more_body": False}

    return receive
