"""A service for tests of the supervisor: answers /ready and /health, dies or refuses as it is told.

Arguments: `serve FOLDER` runs, `migrate FOLDER` leaves a mark, `fail` ends with code 3, `issue FILE` writes a file.
In FOLDER the file `unready` makes /ready answer 503, and `environment.json` is what it was told.
"""

import json
import os
import signal
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class Answers(BaseHTTPRequestHandler):
    folder: Path

    def do_GET(self) -> None:
        unready = self.path == "/ready" and (self.folder / "unready").exists()
        body = b"the cupboard is bare" if unready else b"ok"
        self.send_response(503 if unready else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


def serve(folder: Path) -> None:
    Answers.folder = folder
    folder.mkdir(exist_ok=True)
    (folder / "environment.json").write_text(json.dumps(dict(os.environ)))
    print("serving", flush=True)
    server = ThreadingHTTPServer(("127.0.0.1", int(os.environ["GRACE_HTTP_PORT"])), Answers)

    def stop(number: int, frame: object) -> None:
        (folder / "stopped").touch()
        raise SystemExit(0)

    signal.signal(signal.SIGTERM, stop)
    server.serve_forever()


def main(verb: str, *arguments: str) -> int:
    if verb == "serve":
        serve(Path(arguments[0]))
    elif verb == "migrate":
        Path(arguments[0]).mkdir(exist_ok=True)
        (Path(arguments[0]) / "migrated").touch()
    elif verb == "issue":
        Path(arguments[0]).write_text("certificate")
    elif verb == "fail":
        print("the reason is this")
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
