"""What endpoints get from the application: its ports and its keyring.

They are read from the request where every microsecond counts, else they come as dependencies. The dependencies are
async because FastAPI runs others in a thread, which costs more than the rest of a request.
"""

from typing import Annotated

from fastapi import Depends, Request

from grace_gateway.api.keyring import Keyring
from grace_gateway.ports import Ports


def ports_of(request: Request) -> Ports:
    """Return the ports of the application that answers a request."""
    ports: Ports = request.app.state.ports
    return ports


async def _ports(request: Request) -> Ports:
    return ports_of(request)


async def _keyring(request: Request) -> Keyring:
    keyring: Keyring = request.app.state.keyring
    return keyring


FromPorts = Annotated[Ports, Depends(_ports)]
FromKeyring = Annotated[Keyring, Depends(_keyring)]
