"""What endpoints get from the application: its ports and its keyring."""

from typing import Annotated

from fastapi import Depends, Request

from grace_gateway.api.keyring import Keyring
from grace_gateway.ports import Ports


def _ports(request: Request) -> Ports:
    ports: Ports = request.app.state.ports
    return ports


def _keyring(request: Request) -> Keyring:
    keyring: Keyring = request.app.state.keyring
    return keyring


FromPorts = Annotated[Ports, Depends(_ports)]
FromKeyring = Annotated[Keyring, Depends(_keyring)]
