"""Speaking HTTP with the gateway: bearer key, bounded retries, problems turned into errors that say what to do."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final
from urllib.parse import urlsplit
from uuid import uuid4

import httpx

from grace_cli.access import Access
from grace_cli.errors import CliError, Exit

LOOPBACK: Final = ("127.0.0.1", "localhost", "::1")
TIMEOUT_S: Final = 30.0
ATTEMPTS: Final = 7
LONGEST_PAUSE_S: Final = 10.0
PAGE: Final = 200
_AGAIN: Final = frozenset((429, 502, 503, 504))
_ADVICE: Final[Mapping[int, str]] = {
    401: "is the key right and still valid? `grace up` writes the local keys to .grace/credentials/api-keys.json",
    403: "act as somebody else: --as ada (requester), grace (reviewer), olga (operator), anton (auditor)",
    404: "`grace tasks` lists tasks",
    409: "look at it again: grace tasks TASK",
    413: "send less: fewer or shorter examples and tests",
    422: "correct the input and try again",
}

Json = dict[str, Any]


class Gateway:
    """One gateway as one user. Every POST carries an Idempotency-Key, so that a retry cannot do a thing twice."""

    def __init__(self, access: Access, pause: Callable[[float], None] = time.sleep) -> None:
        self.access = access
        self.pause = pause
        self._http = httpx.Client(
            base_url=access.url,
            headers={"Authorization": f"Bearer {access.key}", "User-Agent": "grace-cli"},
            timeout=TIMEOUT_S,
            trust_env=urlsplit(access.url).hostname not in LOOPBACK,  # a proxy cannot reach this machine's loopback
        )

    def __enter__(self) -> "Gateway":
        return self

    def __exit__(self, *error: object) -> None:
        self._http.close()

    def get(self, path: str, **query: Any) -> Json:
        """Return the JSON object at `path`; parameters that are None are left out."""
        answer: Json = self._ask(
            "GET", path, params={name: value for name, value in query.items() if value is not None}
        ).json()
        return answer

    def read(self, path: str, attempts: int = ATTEMPTS) -> bytes:
        """Return the bytes at `path`."""
        return self._ask("GET", path, attempts).content

    def post(self, path: str, body: Json) -> Json:
        """Ask for something; return the answer's JSON object."""
        answer: Json = self._ask("POST", path, json=body, headers={"Idempotency-Key": str(uuid4())}).json()
        return answer

    def items(self, path: str, most: int | None = None, **query: Any) -> Iterator[Json]:
        """Yield the items of a list, page by page, `most` at most."""
        left = most
        cursor: str | None = None
        while left is None or left > 0:
            limit = PAGE if left is None else min(PAGE, left)
            page = self.get(path, limit=limit, cursor=cursor, **query)
            yield from page["items"]
            left = None if left is None else left - len(page["items"])
            cursor = page.get("next_cursor")
            if cursor is None:
                return

    def _ask(self, method: str, path: str, attempts: int = ATTEMPTS, **arguments: Any) -> httpx.Response:
        """Return a success; what heals by waiting is asked again.

        raises  CliError for what does not heal, or has not after so many attempts
        """
        for attempt in range(1, attempts + 1):
            wait_s = 0.1 * 2**attempt
            try:
                answer = self._http.request(method, path, **arguments)
            except httpx.TransportError as error:
                failure = self._unreachable(error)
            else:
                if answer.is_success:
                    return answer
                failure = problem(answer)
                told_s = _retry_after_s(answer)
                if told_s is None and answer.status_code not in _AGAIN:
                    break
                wait_s = told_s or wait_s
            if attempt < attempts:
                self.pause(min(wait_s, LONGEST_PAUSE_S))
        raise failure

    def _unreachable(self, error: httpx.TransportError) -> CliError:
        advice = "see `grace status`" if self.access.local else "is GRACE_URL right, and is the network there?"
        return CliError(f"{self.access.url} does not answer: {error}", advice, Exit.NOT_RUNNING)


def problem(answer: httpx.Response) -> CliError:
    """Return the error that an RFC 9457 problem, or another answer that is no success, stands for."""
    try:
        body = answer.json()
        detail = str(body["detail"])
    except (ValueError, KeyError, TypeError):
        detail = answer.text[:300] or answer.reason_phrase
    status = answer.status_code
    if status in _AGAIN:
        return CliError(f"the gateway says {status}: {detail}", "try again later; see `grace status`", Exit.NOT_READY)
    if 400 <= status < 500:
        return CliError(detail, _ADVICE.get(status, ""), Exit.REFUSED)
    return CliError(f"the gateway says {status}: {detail}", "its log tells more: .grace/logs/gateway.log")


def _retry_after_s(answer: httpx.Response) -> float | None:
    text = answer.headers.get("retry-after", "")
    return float(text) if text.isdigit() else None


@contextmanager
def connect(user: str | None, usual: str) -> Iterator[Gateway]:
    """Open the gateway that the environment names, as `user` or as the local user who usually does this."""
    import os
    from pathlib import Path

    from grace_cli.access import find_access

    with Gateway(find_access(os.environ, Path.cwd(), user, usual)) as gateway:
        yield gateway
