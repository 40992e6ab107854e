"""Passwords and API keys of the local stack: made once, kept in files that only their owner reads."""

import hashlib
import hmac
import json
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from grace_cli.stack.home import Home, write_secret

PASSWORD_BYTES: Final = 24
PEPPER_BYTES: Final = 32
KEY_PREFIX: Final = "grc_"  # lets secret scanners recognise a leaked key

# The people of a laptop's Grace. The requester's own approval never counts, so there must be a second one.
FIRST_USERS: Final = (("ada", "requester"), ("grace", "reviewer"), ("olga", "operator"), ("anton", "auditor"))


@dataclass(frozen=True, slots=True)
class Passwords:
    """What one principal proves itself with."""

    kafka: str = field(repr=False)
    database: str = field(repr=False)


def read_env_file(path: Path) -> dict[str, str]:
    """Return the NAME=value lines of a file, none when it does not exist."""
    if not path.exists():
        return {}
    pairs = (line.partition("=") for line in path.read_text().splitlines() if line and not line.startswith("#"))
    return {name: value for name, _, value in pairs}


def write_env_file(path: Path, values: dict[str, str]) -> None:
    """Write NAME=value lines readable by their owner alone; a shell can `source` them."""
    write_secret(path, "".join(f"{name}={value}\n" for name, value in values.items()))


def passwords(home: Home, principal: str) -> Passwords:
    """Return a principal's passwords, made at the first call; `principal` is a service, `admin` or `producer`."""
    path = home.credentials / f"{principal}.env"
    known = read_env_file(path)
    found = Passwords(
        known.get("GRACE_KAFKA_PASSWORD") or secrets.token_urlsafe(PASSWORD_BYTES),
        known.get("GRACE_DATABASE_PASSWORD") or secrets.token_urlsafe(PASSWORD_BYTES),
    )
    known |= {"GRACE_KAFKA_PASSWORD": found.kafka, "GRACE_DATABASE_PASSWORD": found.database}
    write_env_file(path, known)
    return found


def ensure_api_keys(home: Home, gateway_state: Path, users: Sequence[tuple[str, str]] = FIRST_USERS) -> Path:
    """Make one API key for each user who has none, and the file of keyed hashes that the gateway reads.

    The keys themselves go to `credentials/api-keys.json`; the gateway gets HMAC-SHA-256(pepper, key) alone. Keys that
    an operator added or took away stay as they are.

    returns  the path of `credentials/api-keys.json`
    """
    keys_path = home.credentials / "api-keys.json"
    hashes_path = gateway_state / "api-keys.json"
    pepper_path = gateway_state / "pepper"
    if not pepper_path.exists():
        write_secret(pepper_path, secrets.token_hex(PEPPER_BYTES))
        hashes_path.unlink(missing_ok=True)  # hashes under another pepper match nothing
        keys_path.unlink(missing_ok=True)
    if keys_path.exists() and hashes_path.exists():
        return keys_path
    pepper = pepper_path.read_text().encode()
    keys = {user: KEY_PREFIX + secrets.token_urlsafe(32) for user, _ in users}
    hashes = [
        {
            "id": hashlib.sha256(keys[user].encode()).hexdigest()[:16],
            "user": user,
            "roles": [role],
            "hash": hmac.digest(pepper, keys[user].encode(), "sha256").hex(),
            "expires": None,
        }
        for user, role in users
    ]
    write_secret(hashes_path, json.dumps(hashes, indent=2) + "\n")
    shown = {user: {"role": role, "key": keys[user]} for user, role in users}
    write_secret(keys_path, json.dumps(shown, indent=2) + "\n")
    return keys_path
