"""TCP ports on the loopback interface."""

import json
import socket
from collections.abc import Callable, Iterable
from contextlib import closing
from pathlib import Path
from typing import Final

from grace_cli.stack.home import write_whole

LOOPBACK: Final = "127.0.0.1"


def is_free(port: int) -> bool:
    """Tell whether a server could listen on a loopback port now."""
    with closing(socket.socket(socket.AF_INET, socket.SOCK_STREAM)) as probe:
        # As servers do: a port whose last connections are in TIME_WAIT is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def free_port(preferred: Iterable[int] = ()) -> int:
    """Return the first free port of those preferred, or else any free one."""
    for port in preferred:
        if is_free(port):
            return port
    with closing(socket.socket(socket.AF_INET, socket.SOCK_STREAM)) as probe:
        probe.bind((LOOPBACK, 0))
        port = probe.getsockname()[1]
        assert isinstance(port, int)
        return port


class Ports:
    """Ports by the name of who listens, remembered in a file so that a stack comes back where it was."""

    def __init__(self, path: Path, say: Callable[[str], None]) -> None:
        self._path = path
        self._say = say

    def take(self, name: str, default: int) -> int:
        """Return the port to listen on: the last one, else the default, else any free one, which is told."""
        known = self._known()
        port = free_port([known.get(name, default), default])
        if port != default and port != known.get(name):
            self._say(f"port {default} is taken: {name} listens on {port}")
        if known.get(name) != port:
            write_whole(self._path, json.dumps(known | {name: port}, indent=2) + "\n")
        return port

    def _known(self) -> dict[str, int]:
        try:
            content = json.loads(self._path.read_text())
        except (OSError, ValueError):
            return {}
        if not isinstance(content, dict):
            return {}
        return {str(name): port for name, port in content.items() if isinstance(port, int)}
