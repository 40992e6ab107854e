"""What a Grace of the tests has around it: a model's server that quotes what it should not, and witnesses.

Everything secret that Grace is given has one mark, so that a test finds it wherever it leaks.
"""

import json
import os
import secrets
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Final
from urllib.parse import urlsplit

from grace_cli.stack.command import Command
from grace_cli.stack.credentials import write_env_file
from grace_cli.stack.home import Home
from grace_cli.stack.ports import free_port
from grace_cli.stack.provision import principals
from grace_cli.witness import key_file
from grace_common.transparency.note import VerifierKey
from grace_common.transparency.policy import Policy

from tests.e2e.patience import until

SECRET: Final = "s3cr3tCanary"  # stands in every planted secret
CONTENT: Final = "c0nt3ntCanary"  # stands in what a requester writes, wherever it is marked
MODEL_KEY: Final = f"sk-{SECRET}-model"
WITNESSES: Final = ("friend", "other", "lost")  # of which the last never answers


def planted(what: str) -> str:
    """Return a new secret with the mark."""
    return f"{SECRET}-{what}-{secrets.token_urlsafe(12)}"


def plant(home: Home) -> None:
    """Give every principal marked passwords before the first start; a stack that has some keeps them."""
    home.make()
    for name in {*principals(), "admin"}:
        file = home.credentials / f"{name}.env"
        if not file.exists():
            values = {f"GRACE_{kind}_PASSWORD": planted(f"{name}-{kind.lower()}") for kind in ("KAFKA", "DATABASE")}
            write_env_file(file, values)


class _Model(BaseHTTPRequestHandler):
    """Answers with nothing; to whom shows it marked content it repeats the key and the prompt, as some servers do."""

    def do_POST(self) -> None:
        asked = self.rfile.read(int(self.headers.get("Content-Length", "0"))).decode()
        if CONTENT in asked:
            said = {"error": {"message": f"{self.headers['Authorization']} may not ask: {asked}", "code": MODEL_KEY}}
            self._send(400, said)
            return
        message = {"role": "assistant", "content": ""}
        choice = {"index": 0, "finish_reason": "stop", "message": message}
        self._send(200, {"id": "1", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice]})

    def log_message(self, format: str, *args: object) -> None:
        pass

    def _send(self, status: int, said: object) -> None:
        body = json.dumps(said).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@contextmanager
def model() -> Iterator[dict[str, str]]:
    """Run the model's server; yield the settings with which Grace uses it."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Model)
    server.daemon_threads = True
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        yield {
            "GRACE_OPENAI_BASE_URL": f"http://127.0.0.1:{server.server_address[1]}/v1",
            "GRACE_OPENAI_MODEL": "m",
            "GRACE_OPENAI_API_KEY": MODEL_KEY,
        }
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@dataclass(frozen=True)
class Watch:
    """Witnesses of other operators: two that run and one that is away, and the policy that demands two of them."""

    folder: Path
    ports: Mapping[str, int]

    @property
    def policy(self) -> Path:
        return self.folder / "policy"

    @classmethod
    def prepare(cls, folder: Path) -> "Watch":
        """Make keys and the policy; a folder that has them keeps them, for a stack that runs."""
        folder.mkdir(exist_ok=True)
        before = folder / "policy"
        urls = Policy.parse(before.read_bytes()).urls if before.exists() else {}
        watch = cls(folder, {name: urlsplit(urls.get(name, "")).port or free_port() for name in WITNESSES})
        keys = {name: watch._key(name) for name in WITNESSES}
        lines = [f"witness {name} {key} http://127.0.0.1:{watch.ports[name]}" for name, key in keys.items()]
        watch.policy.write_text("\n".join([*lines, f"group two 2 {' '.join(WITNESSES)}", "quorum two", ""]))
        return watch

    @contextmanager
    def running(self, log: str, logs: Path) -> Iterator[None]:
        """Run all but the last of the witnesses of a log, each with `grace witness serve`, and wait until they listen.

        logs  where what they say is written, for a test that fails
        """
        started: dict[str, subprocess.Popen[bytes]] = {}
        try:
            for name in WITNESSES[:-1]:
                files = ["--key", str(self.folder / f"{name}.key"), "--state", str(self.folder / f"{name}.json")]
                words = ["witness", "serve", *files, "--log", log, "--port", str(self.ports[name])]
                command = Command([sys.executable, "-m", "grace_cli.main", *words], os.environ, self.folder)
                with (logs / f"witness-{name}.log").open("ab") as said:
                    started[name] = subprocess.Popen(
                        command.tethered(), stdout=said, stderr=subprocess.STDOUT, **command.popen_arguments()
                    )
            for name, process in started.items():
                until(f"listening witness {name}", lambda name=name, process=process: self._listens(name, process))
            yield
        finally:
            for process in started.values():
                process.kill()
                process.wait()

    def _listens(self, name: str, process: "subprocess.Popen[bytes]") -> bool:
        assert process.poll() is None, f"the witness {name} ended with code {process.returncode}"
        with closing(socket.socket(socket.AF_INET, socket.SOCK_STREAM)) as client:
            return client.connect_ex(("127.0.0.1", self.ports[name])) == 0

    def _key(self, name: str) -> VerifierKey:
        file = self.folder / f"{name}.key"
        return key_file.load(file)[0] if file.exists() else key_file.make(file, f"{name}.example/w")
