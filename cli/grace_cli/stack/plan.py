"""What the supervisor shall run besides Kafka and PostgreSQL: services, and the work that goes before them.

Services are found by their entry points (group `grace.services`), so that a seventh needs no edit here.
"""

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import entry_points
from typing import Any, Final

from grace_common.contract.topics import CRYPTO_SIGNER, GATEWAY

from grace_cli.stack.home import Home

GROUP: Final = "grace.services"
GATEWAY_PORT: Final = 8420
IDENTITIES: Final = "certificates"


@dataclass(frozen=True, slots=True)
class ServicePlan:
    """One service.

    run      arguments that run it
    migrate  arguments that bring its tables up to date, before its first start; empty when it has none
    port     the HTTP port to take when it is free; None for any free one
    package  its Python package: what `migrate` does is tried first for all services that name one, in one process
    """

    name: str
    run: tuple[str, ...]
    migrate: tuple[str, ...] = ()
    port: int | None = None
    package: str = ""


@dataclass(frozen=True, slots=True)
class Preparation:
    """A command that must succeed before some services start.

    service       in whose environment it runs, after that service's migrations
    before        the services that wait for it
    certificates  PEM files it makes; the command runs at each start of the stack, and again when one of these has a
                  third of its life left, or less
    """

    name: str
    run: tuple[str, ...]
    service: str
    before: tuple[str, ...]
    certificates: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class StackPlan:
    """What runs, in the order in which it is shown."""

    services: tuple[ServicePlan, ...]
    preparations: tuple[Preparation, ...] = field(default=())

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "StackPlan":
        content = json.loads(text)

        def tuples(entry: dict[str, Any]) -> dict[str, Any]:
            return {name: tuple(value) if isinstance(value, list) else value for name, value in entry.items()}

        return cls(
            tuple(ServicePlan(**tuples(entry)) for entry in content["services"]),
            tuple(Preparation(**tuples(entry)) for entry in content["preparations"]),
        )


def installed_services() -> tuple[ServicePlan, ...]:
    """Return every installed service; the gateway has a well-known port."""
    found = []
    for point in sorted(entry_points(group=GROUP), key=lambda point: point.name):
        package = point.module.split(".")[0]
        module = (sys.executable, "-m", package)
        port = GATEWAY_PORT if point.name == GATEWAY else None
        found.append(ServicePlan(point.name, module, (*module, "migrate"), port, package))
    return tuple(found)


def identities(home: Home, services: Sequence[ServicePlan]) -> tuple[Preparation, ...]:
    """Return the command that makes Grace's CA and each service's certificate; none where no signer is installed."""
    signer = next((service for service in services if service.name == CRYPTO_SIGNER), None)
    if signer is None:
        return ()
    names = tuple(service.name for service in services)
    command = (*signer.run, "init", *names, "--out-root", str(home.root / "identity"))
    files = tuple(str(home.identity(name) / "cert.pem") for name in names)
    return (Preparation(IDENTITIES, command, CRYPTO_SIGNER, names, files),)


def default_plan(home: Home) -> StackPlan:
    """Return the plan for what is installed."""
    services = installed_services()
    return StackPlan(services, identities(home, services))
