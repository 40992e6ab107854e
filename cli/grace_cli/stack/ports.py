"""TCP ports on the loopback interface."""

import json
import random
import socket
from collections.abc import Callable, Iterable
from contextlib import closing
from pathlib import Path
from typing import Final

from grace_cli.errors import CliError, Exit
from grace_cli.stack.home import write_whole

LOOPBACK: Final = "127.0.0.1"
RANGE: Final = range(20_000, 32_000)
_claims: Final[dict[int, socket.socket]] = {}


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
    """Return the first free port of those preferred, or else any free one; it is this process's until it ends.

    A server takes a while to listen, and another Grace that starts meanwhile must not choose the same port. Ports are
    chosen below the range from which the kernel takes those of outgoing connections, which may come in between too.
    """
    for port in preferred:
        if port and is_free(port) and _set_aside(port):
            return port
    for port in random.sample(RANGE, len(RANGE)):
        if port not in _claims and is_free(port) and _set_aside(port):  # what this process set aside has its own use
            return port
    raise CliError("no port is free on the loopback interface", "end what listens there", Exit.NOT_READY)


def _set_aside(port: int) -> bool:
    """Claim a port among Graces, by a name in the kernel that vanishes with this process."""
    if port in _claims:
        return True
    claim = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        claim.bind(f"\0grace-port-{port}")
    except OSError:
        claim.close()
        return False
    _claims[port] = claim
    return True


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
