"""Asking the crypto-signer and the audit-log on this machine about their keys: by their own commands, or the running
signer over its socket.

Secrets go through standard input and the socket alone: arguments and environments can be seen by others.
"""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from grace_common.contract.topics import AUDIT_LOG, CRYPTO_SIGNER

from grace_cli.errors import CliError, Exit
from grace_cli.stack.command import base_environment
from grace_cli.stack.credentials import read_env_file
from grace_cli.stack.environment import folders
from grace_cli.stack.home import Home

PACKAGE: Final = "grace_crypto_signer"
LOG_PACKAGE: Final = "grace_audit_log"
TIMEOUT_S: Final = 300.0
SOCKET: Final = "unseal.sock"

Json = dict[str, Any]


def signer_environment(home: Home, environ: Mapping[str, str], service: str = CRYPTO_SIGNER) -> dict[str, str]:
    """Return the environment in which a service's commands run: what the stack wrote down for it, and its folders.

    raises  CliError when `grace up` never made them
    """
    told = read_env_file(home.credentials / f"{service}.env")
    own = {"GRACE_SERVICE": service, "GRACE_HTTP_PORT": "0", **folders(service, home, environ)}
    # Commands about files alone need neither server; the address is only there because every service has one.
    absent = {"GRACE_KAFKA_BOOTSTRAP": "127.0.0.1:1", "GRACE_DATABASE_URL": "postgresql://127.0.0.1:1/grace"}
    return base_environment(environ) | absent | told | own


def ask_signer(home: Home, environ: Mapping[str, str], verb: str, request: Json) -> Json:
    """Return the signer's answer to one request.

    raises  CliError when it refuses, when it is not installed here, or when what it needs does not answer
    """
    if find_spec(PACKAGE) is None:
        raise CliError(
            "the crypto-signer is not installed here",
            f"run it where it is: python -m {PACKAGE} keys {verb} < request.json   (docs/keys.md)",
            Exit.USAGE,
        )
    home.root.mkdir(mode=0o711, parents=True, exist_ok=True)
    done = subprocess.run(
        [sys.executable, "-m", PACKAGE, "keys", verb],
        input=json.dumps(request).encode(),
        env=signer_environment(home, environ),
        cwd=home.root,
        capture_output=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    return _answer(done.stdout, done.stderr.decode(errors="replace"))


def make_log_key(home: Home, environ: Mapping[str, str]) -> str:
    """Return the vkey of the key that shall succeed the log's: one that the audit-log makes, or that waits already.

    raises  CliError when the audit-log refuses, or is not installed here
    """
    if find_spec(LOG_PACKAGE) is None:
        raise CliError(
            "the audit-log is not installed here",
            f"run `python -m {LOG_PACKAGE} key rotate` where it is; the signer lists what it prints   (docs/keys.md)",
            Exit.USAGE,
        )
    return str(_ask_log(home, environ, "rotate", {}, "successor"))


def back_up_log_keys(home: Home, environ: Mapping[str, str], root: str, opening_key: str) -> Json | None:
    """Return the log's keys as the audit-log seals them to the root; None where it has none yet, or is not here.

    raises  CliError when the audit-log refuses
    """
    if find_spec(LOG_PACKAGE) is None:
        return None
    found = _ask_log(home, environ, "backup", {"root": root, "opening_key": opening_key}, "log_keys")
    return None if found is None else dict(found)


def _ask_log(home: Home, environ: Mapping[str, str], verb: str, request: Json, wanted: str) -> Any:
    """Return one member of what a command about the log's keys answers; raises CliError when it is refused."""
    done = subprocess.run(
        [sys.executable, "-m", LOG_PACKAGE, "key", verb],
        input=json.dumps(request).encode(),
        env=signer_environment(home, environ, AUDIT_LOG),
        cwd=home.root if home.root.exists() else None,
        capture_output=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    said = done.stderr.decode(errors="replace").strip().splitlines()
    if done.returncode:
        raise CliError(said[-1] if said else "the audit-log failed", "nothing was changed", Exit.REFUSED)
    try:
        return json.loads(done.stdout.splitlines()[-1])[wanted]
    except (IndexError, ValueError, KeyError) as error:
        raise CliError(f"the audit-log failed: `key {verb}` did not answer") from error


def ask_running_signer(home: Home, request: Json) -> Json:
    """Return the answer of the process that waits to be unsealed.

    raises  CliError when none waits, or it refuses
    """
    place = home.state(CRYPTO_SIGNER) / SOCKET
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(TIMEOUT_S)
            connection.connect(str(place))
            connection.sendall(json.dumps(request).encode() + b"\n")
            said = b""
            while not said.endswith(b"\n") and (part := connection.recv(65536)):
                said += part
    except OSError as error:
        raise CliError(
            f"no crypto-signer waits to be unsealed at {place}: {error.strerror or error}",
            "see `grace status`; it starts sealed with GRACE_SEALED=true in .grace/credentials/crypto-signer.env",
            Exit.NOT_RUNNING,
        ) from error
    return _answer(said, "it closed the connection")


def _answer(said: bytes, otherwise: str) -> Json:
    lines = said.decode(errors="replace").strip().splitlines()
    try:
        answer: Json = json.loads(lines[-1])
    except (IndexError, ValueError) as error:
        last = otherwise.strip().splitlines()
        raise CliError(f"the crypto-signer failed: {last[-1] if last else 'it said nothing'}") from error
    if "error" in answer:
        code = Exit.NOT_READY if answer.get("passes") else Exit.REFUSED
        passes = "give the command again later; `grace status` shows whether Grace runs"
        advice = passes if answer.get("passes") else "nothing was changed"
        raise CliError(str(answer["error"]), advice, code)
    return answer


def read_private(path: Path) -> str:
    """Return a file of secrets that only its owner can read; raises CliError."""
    try:
        if path.stat().st_mode & 0o077:
            raise CliError(f"{path} can be read by others", f"chmod 600 {path}", Exit.USAGE)
        return path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise CliError(f"{path} cannot be read: {error}", "name a file of yours", Exit.USAGE) from error


def state_home() -> Home:
    """Return the state folder of this machine's Grace."""
    from grace_cli.stack.home import find_home

    return find_home(os.environ, Path.cwd())
