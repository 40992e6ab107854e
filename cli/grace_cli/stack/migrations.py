"""Bring the tables of several services up to date: `python -m grace_cli.stack.migrations SERVICE=PACKAGE...`.

It does what `python -m PACKAGE migrate` does for each of them, in one process: loading SQLAlchemy and Alembic takes far
longer than finding that nothing is to be done. Each service's role migrates its own schema; its URL comes from its
credential file below GRACE_HOME, never from the command line. The first failure ends the process.
"""

import os
import sys
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

from grace_common.runtime import migrate
from grace_common.runtime.database import Database

from grace_cli.stack.credentials import read_env_file
from grace_cli.stack.home import Home, find_home


def main(home: Home, arguments: Sequence[str]) -> None:
    """Migrate one service after the other; raises what stops a migration."""
    for argument in arguments:
        service, _, package = argument.partition("=")
        url = read_env_file(home.credentials / f"{service}.env")["GRACE_DATABASE_URL"]
        own = Path(str(files(package) / "migrations"))
        migrate.run(Database(url, pool_size=1), own if own.is_dir() else None)


if __name__ == "__main__":
    main(find_home(os.environ, Path.cwd()), sys.argv[1:])
