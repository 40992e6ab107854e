"""Following a task live through the gateway's WebSocket: what was missed is asked for again after every break."""

import json
import time
from collections.abc import Callable, Iterator
from typing import Any, Final
from urllib.parse import urlencode, urlsplit, urlunsplit

from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus
from websockets.sync.client import ClientConnection
from websockets.sync.client import connect as open_socket

from grace_cli.access import Access
from grace_cli.client import LOOPBACK
from grace_cli.errors import CliError, Exit

Fact = dict[str, Any]  # id, type, at, service, actor, operation_id, task_id, data

SILENCE_S: Final = 90.0  # the gateway sends a heartbeat every 20 s; more than four missing, and the line is dead
FAILED_ATTEMPTS: Final = 20
LONGEST_PAUSE_S: Final = 5.0
MAX_MESSAGE_BYTES: Final = 4 * 1024 * 1024


def follow(access: Access, task_id: str, after: str, pause: Callable[[float], None] = time.sleep) -> Iterator[Fact]:
    """Yield a task's facts behind the fact `after`, each once, for as long as the caller looks.

    after   the id of a fact that the caller knows; the task's own id is that of its submission
    raises  CliError when the subscription is refused, or cannot be had again and again
    """
    failures = 0
    seen: set[str] = {after}
    while True:
        try:
            with _open(access, task_id, after) as socket:
                while True:
                    fact = _next(socket)
                    failures = 0
                    if fact["id"] not in seen:
                        seen.add(fact["id"])
                        after = fact["id"]
                        yield fact
        except InvalidStatus as refusal:
            # 404 as well: a new task's first fact takes a moment until it can be resumed from.
            status = refusal.response.status_code
            if status < 500 and status not in (404, 429):
                raise _refused(refusal) from refusal
            failure: Exception = refusal
        except (ConnectionClosed, InvalidHandshake, OSError, TimeoutError, EOFError) as broken:
            failure = broken
        failures += 1
        if failures >= FAILED_ATTEMPTS:
            if isinstance(failure, InvalidStatus):
                raise _refused(failure) from failure
            raise CliError(
                f"the stream of {access.url} cannot be had: {failure}",
                "see `grace status`; the task goes on meanwhile: grace watch " + task_id,
                Exit.NOT_RUNNING,
            ) from failure
        pause(min(0.05 * 2**failures, LONGEST_PAUSE_S))


def _open(access: Access, task_id: str, after: str) -> ClientConnection:
    parts = urlsplit(access.url)
    scheme = "wss" if parts.scheme == "https" else "ws"
    query = urlencode({"task_id": task_id, "after": after})
    return open_socket(
        urlunsplit((scheme, parts.netloc, f"{parts.path}/api/stream", query, "")),
        additional_headers={"Authorization": f"Bearer {access.key}"},
        proxy=None if parts.hostname in LOOPBACK else True,
        max_size=MAX_MESSAGE_BYTES,
    )


def _next(socket: ClientConnection) -> Fact:
    while True:
        message: Fact = json.loads(socket.recv(SILENCE_S))
        if message.get("type") != "heartbeat":
            return message


def _refused(refusal: InvalidStatus) -> CliError:
    try:
        detail = str(json.loads(refusal.response.body or b"")["detail"])
    except (ValueError, KeyError, TypeError):
        detail = f"the gateway answers {refusal.response.status_code}"
    return CliError(detail, "`grace tasks` lists the tasks that you may see", Exit.REFUSED)
