"""Which gateway a command talks to, and as whom: the local stack's users, or GRACE_URL and GRACE_API_KEY."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from grace_cli.errors import CliError, Exit
from grace_cli.stack.home import Home, find_home

REQUESTER: Final = "ada"
REVIEWER: Final = "grace"
OPERATOR: Final = "olga"
AUDITOR: Final = "anton"


@dataclass(frozen=True, slots=True)
class Access:
    """Where the gateway is, and the key that says who is asking; `local` when it is this machine's own stack."""

    url: str
    key: str = field(repr=False)
    local: bool = True


def find_access(environ: Mapping[str, str], start: Path, user: str | None, usual: str) -> Access:
    """Return the access of a command.

    user    the local user that was asked for with --as, None for the one who usually does this
    usual   the local user whose role the command needs
    raises  CliError when nothing runs, a setting is missing, or no such user is known
    """
    if url := environ.get("GRACE_URL"):
        return _remote(url, environ, user)
    home = find_home(environ, start)
    key = environ.get("GRACE_API_KEY") if user is None else None
    return Access(local_url(home), key or local_key(home, user or usual))


def local_url(home: Home) -> str:
    """Return the URL of this machine's stack; raises CliError when none runs."""
    from grace_cli.stack.lifecycle import running_status

    status = running_status(home)
    if status is None:
        raise CliError(
            f"Grace is not running (state folder {home.root})",
            "start it: grace up   (or name another Grace in GRACE_URL and GRACE_API_KEY)",
            Exit.NOT_RUNNING,
        )
    if not status.url:
        raise CliError("the stack is starting and has no address yet", "wait for it: grace up", Exit.NOT_READY)
    return status.url.rstrip("/")


def local_key(home: Home, user: str) -> str:
    """Return a local user's API key; raises CliError for a name that has none."""
    path = home.credentials / "api-keys.json"
    try:
        users = json.loads(path.read_text())
    except FileNotFoundError as error:
        raise CliError(f"{path} does not exist", "`grace up` makes it", Exit.NOT_RUNNING) from error
    except (OSError, ValueError) as error:
        raise CliError(
            f"{path} cannot be read: {error}", "is it yours? `grace up` makes a new one if removed"
        ) from error
    if user not in users:
        names = ", ".join(f"{name} ({entry['role']})" for name, entry in users.items())
        raise CliError(f"there is no local user {user!r}", f"these have keys in {path}: {names}", Exit.USAGE)
    return str(users[user]["key"])


def _remote(url: str, environ: Mapping[str, str], user: str | None) -> Access:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise CliError(f"GRACE_URL is {url!r}", "expected an address such as https://grace.example.org", Exit.USAGE)
    if user is not None:
        raise CliError(
            "--as picks a key of the local stack, and GRACE_URL points elsewhere",
            "set GRACE_API_KEY to the key of whoever shall act, or unset GRACE_URL",
            Exit.USAGE,
        )
    key = environ.get("GRACE_API_KEY")
    if not key:
        raise CliError("GRACE_URL is set and GRACE_API_KEY is not", "ask an operator for a key", Exit.USAGE)
    return Access(url.rstrip("/"), key, local=False)
