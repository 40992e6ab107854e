"""What the supervisor shall run besides Kafka and PostgreSQL: services, and the work that goes before them.

Services are found by their entry points (group `grace.services`), so that a seventh needs no edit here.
"""

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Final

from grace_common.contract.topics import CRYPTO_SIGNER, GATEWAY

from grace_cli.stack.home import Home

GROUP: Final = "grace.services"
GATEWAY_PORT: Final = 8420
AUTHORITY: Final = "certificate authority"


@dataclass(frozen=True, slots=True)
class ServicePlan:
    """One service.

    run      arguments that run it
    migrate  arguments that bring its tables up to date, before its first start; empty when it has none
    port     the HTTP port to take when it is free; None for any free one
    """

    name: str
    run: tuple[str, ...]
    migrate: tuple[str, ...] = ()
    port: int | None = None


@dataclass(frozen=True, slots=True)
class Preparation:
    """A command that must succeed before some services start.

    service      in whose environment it runs, after that service's migrations
    before       the services that wait for it
    after        the preparation it must follow; those that follow the same one run side by side
    certificate  a PEM file it makes; while that has more than a third of its life left the command is not run, and
                 when it falls below it is run again; None: the command runs at each start of the stack
    """

    name: str
    run: tuple[str, ...]
    service: str
    before: tuple[str, ...]
    after: str = ""
    certificate: str | None = None


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
        module = (sys.executable, "-m", point.module.split(".")[0])
        port = GATEWAY_PORT if point.name == GATEWAY else None
        found.append(ServicePlan(point.name, module, (*module, "migrate"), port))
    return tuple(found)


def certificates(home: Home, services: Sequence[ServicePlan]) -> tuple[Preparation, ...]:
    """Return the commands that make Grace's CA and each service's certificate; none where no signer is installed."""
    signer = next((service for service in services if service.name == CRYPTO_SIGNER), None)
    if signer is None:
        return ()
    names = tuple(service.name for service in services)

    def issue(name: str) -> Preparation:
        folder: Path = home.identity(name)
        command = (*signer.run, "issue", name, "--out", str(folder))
        return Preparation(
            f"certificate of {name}", command, CRYPTO_SIGNER, (name,), AUTHORITY, str(folder / "cert.pem")
        )

    # The signer first: the others' records are notarised only when it runs.
    others = [issue(name) for name in names if name != CRYPTO_SIGNER]
    return (Preparation(AUTHORITY, (*signer.run, "init"), CRYPTO_SIGNER, names), issue(CRYPTO_SIGNER), *others)


def default_plan(home: Home) -> StackPlan:
    """Return the plan for what is installed."""
    services = installed_services()
    return StackPlan(services, certificates(home, services))
