"""Room on the disk: a server that starts without it ends with words that nobody understands, or damages its data."""

import shutil
from pathlib import Path
from typing import Final

from grace_cli.errors import CliError

MIB: Final = 1024 * 1024


def require_room(server: str, folder: Path, least_bytes: int) -> None:
    """Raise CliError when the disk of a folder, which need not exist yet, has too little room for a server to start."""
    place = folder
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    if free < least_bytes:
        raise CliError(
            f"the disk is full: {server} needs {least_bytes // MIB} MiB, and {place} has {free // MIB} MiB left; "
            "free some space",
            "it starts by itself then",
        )
