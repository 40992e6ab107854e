"""Asking witnesses over HTTP to cosign a log's checkpoint."""

from collections.abc import Sequence
from typing import Final
from urllib.parse import urlsplit

import httpx
from grace_common.contract.errors import Refused
from grace_common.transparency.checkpoint import Checkpoint
from grace_common.transparency.note import Note, NoteSignature, VerifierKey
from grace_common.transparency.strict import decode_decimal
from grace_common.transparency.tile import TileReader
from grace_common.transparency.witness import SIZE_CONTENT_TYPE, submission_from_tiles

from grace_cli.client import LOOPBACK
from grace_cli.errors import CliError, Exit

_ATTEMPTS: Final = 4  # others may submit newer checkpoints between the answer and the next request
_LARGEST_ANSWER: Final = 64 * 1024


def cosignatures(
    url: str, log: TileReader, note: bytes, keys: Sequence[VerifierKey], transport: httpx.BaseTransport | None = None
) -> list[NoteSignature]:
    """Return what a witness signed over a checkpoint, verified with `keys`; lines of other keys are passed over.

    url     the witness's submission prefix
    log     with the tiles from which consistency proofs are made
    raises  CliError when the witness does not answer, refuses, or has cosigned a larger tree than the log shows;
            Refused, Unready when the log's tiles do not lead to the checkpoint, SignatureInvalid
    """
    size = Checkpoint.parse(Note.parse(note).text).size
    old_size = 0
    with httpx.Client(timeout=30.0, trust_env=urlsplit(url).hostname not in LOOPBACK, transport=transport) as http:
        for _ in range(_ATTEMPTS):
            body = submission_from_tiles(log, note, old_size).encode()
            answer = _post(http, f"{url.rstrip('/')}/add-checkpoint", body)
            if answer.status_code != 409:
                break
            old_size = _told_size(url, answer)
            if old_size > size:
                raise CliError(
                    f"{url} has cosigned a tree of {old_size} entries of this log, which now shows {size}: the log was "
                    "set back, or shows different people different states",
                    "keep a copy of what it shows you, and ask its operator",
                )
    if answer.status_code != 200:
        raise CliError(
            f"{url} answers {answer.status_code}: {answer.text[:500].strip()}",
            "422 means that the log is inconsistent with what the witness saw; 403 and 404 that it does not watch it",
        )
    lines = Note.parse(_text(note) + answer.content[:_LARGEST_ANSWER]).verified_by(keys)
    if not lines:
        raise CliError(
            f"{url} cosigned with none of the given keys", "name its vkey, from a place you trust, with --witness-key"
        )
    return lines


def _text(note: bytes) -> bytes:
    return Note.parse(note).text.encode() + b"\n"


def _post(http: httpx.Client, url: str, body: bytes) -> httpx.Response:
    try:
        return http.post(url, content=body)
    except (httpx.TransportError, httpx.InvalidURL) as error:
        raise CliError(f"{url} does not answer: {error}", "does the witness run there?", Exit.NOT_RUNNING) from error


def _told_size(url: str, answer: httpx.Response) -> int:
    if answer.headers.get("Content-Type") != SIZE_CONTENT_TYPE:
        raise CliError(f"{url} answers 409 without its size", "is it a witness?")
    try:
        return decode_decimal(answer.text.removesuffix("\n"), "the size that the witness states")
    except Refused as error:
        raise CliError(f"{url} answers 409 without its size: {error}", "is it a witness?") from error
