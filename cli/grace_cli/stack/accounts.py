"""Whose account PostgreSQL runs under, and a folder that account can reach.

PostgreSQL refuses to run as root. Started by root, it runs as `postgres` or `nobody`, whichever exists; that account
must traverse every folder above its programs and data, and cannot where the repository lies below a home of mode 0700.
"""

import os
import pwd
import subprocess
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Final

from grace_cli.errors import CliError

CANDIDATES: Final = ("postgres", "nobody")
OUTSIDE_HOME: Final = ("/var/lib", "/var/tmp", tempfile.gettempdir())


@dataclass(frozen=True, slots=True)
class Account:
    """An account to switch to; only root can."""

    uid: int
    gid: int
    name: str


def server_account() -> Account | None:
    """Return the account PostgreSQL shall run under, None for the caller's own.

    raises  CliError where PostgreSQL cannot run: root without an unprivileged account, or a caller without a name
    """
    if os.geteuid() != 0:
        try:
            pwd.getpwuid(os.geteuid())
        except KeyError as error:
            raise CliError(
                f"user id {os.geteuid()} has no entry in /etc/passwd, and PostgreSQL's initdb insists on one",
                "run as a user that has a name, or run your own PostgreSQL and name it in GRACE_DATABASE_URL",
            ) from error
        return None
    for name in CANDIDATES:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(entry.pw_uid, entry.pw_gid, name)
    raise CliError(
        f"PostgreSQL refuses to run as root, and none of the accounts {', '.join(CANDIDATES)} exists",
        "run Grace as an ordinary user, or add one: useradd --system --shell /usr/sbin/nologin postgres",
    )


def can_enter(account: Account, folder: Path) -> bool:
    """Tell whether an account can traverse to a folder and run what lies there: tried, not computed."""
    probe = subprocess.run(
        ["/bin/sh", "-c", 'cd "$1" && test -x .', "sh", str(folder)],
        user=account.uid,
        group=account.gid,
        extra_groups=[],
        cwd="/",
        capture_output=True,
        check=False,
    )
    return probe.returncode == 0


def reachable_folder(home: Path, account: Account | None, outside: Iterable[str] = OUTSIDE_HOME) -> Path:
    """Return a folder for PostgreSQL's programs and data: in `home` where the account can reach it.

    Elsewhere it is `grace-<digest of home>` in a system folder, to which `home`/server is then a symbolic link, so that
    the same stack finds it again.

    raises  CliError when no folder serves
    """
    inside = home / "server"
    if account is None:
        inside.mkdir(mode=0o700, exist_ok=True)
        return inside
    if not inside.exists() and not inside.is_symlink():
        inside.mkdir(mode=0o755)
    if can_enter(account, inside):
        return inside.resolve()
    name = f"grace-{sha256(os.fsencode(home.resolve())).hexdigest()[:12]}"
    for parent in outside:
        folder = Path(parent) / name
        try:
            folder.mkdir(mode=0o755, exist_ok=True)
        except OSError:
            continue
        if folder.stat().st_uid == os.geteuid() and not folder.is_symlink() and can_enter(account, folder):
            if inside.is_symlink():
                inside.unlink()
            else:
                inside.rmdir()
            inside.symlink_to(folder)
            return folder
    raise CliError(
        f"the account {account.name}, under which PostgreSQL runs, can reach neither {inside} nor {', '.join(outside)}",
        "set GRACE_HOME to a folder below which others may look, such as /srv/grace",
    )
