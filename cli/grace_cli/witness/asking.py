"""Asking witnesses over HTTP to cosign a log's checkpoint."""

from collections.abc import Sequence
from urllib.parse import urlsplit

import httpx
from grace_common.transparency.note import NoteSignature, VerifierKey
from grace_common.transparency.tile import TileReader
from grace_common.transparency.witness import LogDisputed, Request, WitnessDeclined

from grace_cli.client import LOOPBACK
from grace_cli.errors import CliError, Exit


def cosignatures(
    url: str, log: TileReader, note: bytes, keys: Sequence[VerifierKey], transport: httpx.BaseTransport | None = None
) -> list[NoteSignature]:
    """Return what a witness signed over a checkpoint, verified with `keys`; lines of other keys are passed over.

    url     the witness's submission prefix
    log     with the tiles from which consistency proofs are made
    raises  CliError when the witness does not answer, refuses, or has cosigned a larger tree than the log shows;
            Refused, Unready when the log's tiles do not lead to the checkpoint, SignatureInvalid
    """
    request = Request(log, note, keys)
    with httpx.Client(timeout=30.0, trust_env=urlsplit(url).hostname not in LOOPBACK, transport=transport) as http:
        lines = None
        while lines is None:
            answer = _post(http, f"{url.rstrip('/')}/add-checkpoint", request.body())
            try:
                lines = request.answered(answer.status_code, answer.headers.get("Content-Type"), answer.content)
            except LogDisputed as error:
                raise CliError(f"{url} {error}", "keep a copy of what it shows you, and ask its operator") from error
            except WitnessDeclined as error:
                advice = "does it watch this log (403, 404), and is its key the one given with --witness-key?"
                raise CliError(f"{url} {error}", advice) from error
    return lines


def _post(http: httpx.Client, url: str, body: bytes) -> httpx.Response:
    try:
        return http.post(url, content=body)
    except (httpx.TransportError, httpx.InvalidURL) as error:
        raise CliError(f"{url} does not answer: {error}", "does the witness run there?", Exit.NOT_RUNNING) from error
