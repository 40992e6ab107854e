"""`POST /add-checkpoint` and `GET /<origin hash>/checkpoint`, as c2sp.org/tlog-witness describes them."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final

from grace_common.contract.errors import Refused
from grace_common.transparency.ed25519 import Sign, SignatureInvalid
from grace_common.transparency.merkle import ProofInvalid
from grace_common.transparency.note import VerifierKey
from grace_common.transparency.strict import DECIMAL
from grace_common.transparency.witness import (
    SIZE_CONTENT_TYPE,
    OriginUnknown,
    SizeConflict,
    Submission,
    check_growth,
    open_signed,
    succeed,
    trusted_since,
)

from grace_cli.witness.memory import WitnessFile

LARGEST_BODY: Final = 256 * 1024  # 63 hashes and a note with some dozens of post-quantum signatures
_TEXT: Final = "text/plain; charset=utf-8"
_PATIENCE_S: Final = 30  # with a client that sends nothing


@dataclass(frozen=True, slots=True)
class Answer:
    """What is answered over HTTP; `told` is for the operator."""

    status: int
    body: bytes
    told: str
    content_type: str = _TEXT


class Witness:
    """Cosigns what continues the trees it has seen, one request after the other.

    logs   keys of logs; where one log has several, the newest is last. It counts once it has signed beside the one
           before, which alone counts no more from then on
    now_s  the time in POSIX seconds
    """

    def __init__(
        self, key: VerifierKey, sign: Sign, logs: Sequence[VerifierKey], memory: WitnessFile, now_s: Callable[[], float]
    ) -> None:
        self.key = key
        self._sign = sign
        self._logs = logs
        self._memory = memory
        self._now_s = now_s
        self._one_at_a_time = threading.Lock()

    def add_checkpoint(self, body: bytes) -> Answer:
        """Return the cosignature's line once the checkpoint is on the disk, else why there is none."""
        try:
            return self._cosign(Submission.parse(body))
        except OriginUnknown as error:
            return _refusal(404, error)
        except SignatureInvalid as error:
            return _refusal(403, error)
        except SizeConflict as error:
            return Answer(409, b"%d\n" % error.size, str(error), SIZE_CONTENT_TYPE)
        except ProofInvalid as error:
            return _refusal(422, error)
        except Refused as error:
            return _refusal(400, error)
        except OSError as error:  # nothing is cosigned that could be forgotten
            return Answer(503, b"the witness cannot keep what it cosigns\n", f"its memory cannot be written: {error}")

    def checkpoint(self, hashed_origin: str) -> Answer:
        """Return the newest cosigned checkpoint of a log."""
        note = self._memory.newest(hashed_origin)
        if note is None:
            return Answer(404, b"no checkpoint of that log was cosigned\n", "")
        return Answer(200, note, "")

    def _cosign(self, submission: Submission) -> Answer:
        tree = open_signed(submission.checkpoint, self._logs)
        origin = tree.checkpoint.origin
        keys = [key for key in self._logs if key.name == origin]
        with self._one_at_a_time:
            before = self._memory.note(origin)
            succeed(tree, keys, None if before is None else trusted_since(keys, before))
            check_growth(submission, tree, self._memory.seen(origin))
            line, cosigned = tree.cosigned(self.key, self._sign, int(self._now_s()))
            self._memory.keep(origin, cosigned)
        return Answer(200, f"{line.line}\n".encode(), f"cosigned {origin} at {tree.checkpoint.size}")


def _refusal(status: int, error: Refused) -> Answer:
    return Answer(status, f"{error}\n".encode(), str(error))


def listen(host: str, port: int, witness: Witness, tell: Callable[[Answer], object]) -> ThreadingHTTPServer:
    """Return a server that listens already; `serve_forever` answers until `shutdown`.

    tell    called with every answer to add-checkpoint, from many threads
    raises  OSError when the port is taken
    """

    class Requests(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"  # keep-alive, as the specification asks
        server_version = "grace-witness"
        sys_version = ""
        timeout = _PATIENCE_S

        def do_POST(self) -> None:
            if self.path != "/add-checkpoint":
                self._send(Answer(404, b"a witness answers to POST /add-checkpoint\n", ""), close=True)
                return
            length = self.headers.get("Content-Length", "")
            if not DECIMAL.fullmatch(length):
                self._send(Answer(411, b"the request states no Content-Length\n", ""), close=True)
            elif int(length) > LARGEST_BODY:
                self._send(Answer(400, b"the body has more than %d bytes\n" % LARGEST_BODY, ""), close=True)
            else:
                answer = witness.add_checkpoint(self.rfile.read(int(length)))
                tell(answer)
                self._send(answer)

        def do_GET(self) -> None:
            hashed, slash, name = self.path.removeprefix("/").partition("/")
            if slash and name == "checkpoint":
                self._send(witness.checkpoint(hashed))
            else:
                self._send(Answer(404, b"a witness shows /<SHA-256 of the origin>/checkpoint\n", ""))

        def log_message(self, format: str, *args: object) -> None:
            pass  # `tell` says what matters

        def _send(self, answer: Answer, *, close: bool = False) -> None:
            self.send_response(answer.status)
            self.send_header("Content-Type", answer.content_type)
            self.send_header("Content-Length", str(len(answer.body)))
            if close:  # the body that follows was not read
                self.send_header("Connection", "close")
            self.end_headers()
            self.wfile.write(answer.body)

    server = ThreadingHTTPServer((host, port), Requests)
    server.daemon_threads = True
    return server
