"""A witness outside Grace, asked over HTTP as c2sp.org/tlog-witness describes it."""

import asyncio
from typing import Final
from urllib.parse import urlsplit

import httpx
from grace_common.contract.errors import Refused, Unready
from grace_common.transparency.note import NoteSignature, VerifierKey
from grace_common.transparency.tile import TileReader
from grace_common.transparency.witness import LARGEST_ANSWER, Request, WitnessDeclined

_LOOPBACK: Final = ("localhost", "127.0.0.1", "::1")


class HttpWitness:
    """Implements `OutsideWitness`.

    url       its submission prefix
    log       with the tiles from which consistency proofs are made
    timeout_s  for each step of an exchange; whoever asks bounds the whole
    raises    Refused when the url is none of http or https
    """

    def __init__(
        self,
        url: str,
        key: VerifierKey,
        log: TileReader,
        timeout_s: float,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        try:
            parts = urlsplit(url)
            host, _ = parts.hostname, parts.port
        except ValueError as error:
            raise Refused(f"the witness {key.name} has no usable address: {url!r}: {error}") from error
        if parts.scheme not in ("http", "https") or not host:
            raise Refused(f"the witness {key.name} has the address {url!r}; expected http://… or https://…")
        self._url = f"{url.rstrip('/')}/add-checkpoint"
        self._key = key
        self._log = log
        self._old_size = 0
        self._http = httpx.AsyncClient(
            timeout=timeout_s,
            trust_env=host not in _LOOPBACK,
            headers={"Accept-Encoding": "identity"},
            transport=transport,
        )

    async def cosign(self, note: bytes) -> NoteSignature:
        request = Request(self._log, note, [self._key], self._old_size)
        lines = None
        while lines is None:
            try:
                body = await asyncio.to_thread(request.body)
            except OSError as error:
                raise Unready(f"is not asked, the published log cannot be read: {error}") from error
            lines = request.answered(*await self._post(body))
            self._old_size = request.old_size
        self._old_size = request.size
        return lines[0]

    async def close(self) -> None:
        await self._http.aclose()

    async def _post(self, body: bytes) -> tuple[int, str | None, bytes]:
        """Return status, content type and body of the answer; raises Unready, WitnessDeclined."""
        content = b""
        try:
            async with self._http.stream("POST", self._url, content=body) as answer:
                async for part in answer.aiter_raw():
                    content += part
                    if len(content) > LARGEST_ANSWER:
                        raise WitnessDeclined(f"answers more than {LARGEST_ANSWER} bytes")
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise Unready(f"does not answer: {type(error).__name__}: {error}") from error
        return answer.status_code, answer.headers.get("Content-Type"), content
