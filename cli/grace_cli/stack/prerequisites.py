"""System packages that Grace cannot fetch itself."""

import shutil
from collections.abc import Callable
from typing import Final

# Package managers and the command with which each installs bubblewrap.
INSTALLERS: Final = {
    "apt-get": "apt-get install -y bubblewrap",
    "dnf": "dnf install -y bubblewrap",
    "pacman": "pacman -S --noconfirm bubblewrap",
    "zypper": "zypper install -y bubblewrap",
    "apk": "apk add bubblewrap",
}


def sandbox_advice(which: Callable[[str], str | None] = shutil.which) -> str:
    """Return what to do about a missing bubblewrap, empty when it is there."""
    if which("bwrap"):
        return ""
    command = next((command for name, command in INSTALLERS.items() if which(name)), "install the package bubblewrap")
    return (
        "bubblewrap is missing: generated code runs only in its sandbox, so nothing will be evaluated. "
        f"Type: {'sudo ' if which('sudo') else ''}{command}"
    )
