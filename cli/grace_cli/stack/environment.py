"""What each service is told, and by omission what it is not: its own credentials, never another's."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from grace_common.contract.topics import CODE_GEN, CRYPTO_SIGNER

from grace_cli.stack.command import base_environment
from grace_cli.stack.credentials import Passwords, read_env_file
from grace_cli.stack.home import Home
from grace_cli.stack.provision import service_url

# Settings of the stack itself: they carry admin rights or mean nothing to a service.
STACK_ONLY: Final = re.compile(
    r"GRACE_(HOME|CACHE|PLAN|RESTART_LONGEST_S|URL|API_KEY|TEST_.*|KAFKA_(?!COMPRESSION).*|DATABASE_(URL|PASSWORD))"
)
# How long a key lasts is no secret, though it has a key in its name.
SECRET: Final = re.compile(r"(?!.*_(DAYS|CHECKPOINTS|EVERY_S)$).*(KEY|PASSWORD|SECRET|TOKEN)(_.*)?")

# The checked-in contracts: beside the CLI in a checkout; elsewhere GRACE_SCHEMAS_DIR says where they are.
SCHEMAS: Final = Path(__file__).parents[3] / "schemas"

# The only ones that get secrets of the caller's environment, which are keys of model providers.
MODEL_CALLERS: Final = (CODE_GEN,)


@dataclass(frozen=True, slots=True)
class Servers:
    """Where Kafka and PostgreSQL are.

    kafka_protocol  librdkafka's security.protocol
    authenticates   whether Kafka asks for a name and password
    admin_url       the administrator's connection URL
    database        the one Grace lives in
    """

    kafka_bootstrap: str
    kafka_protocol: str
    authenticates: bool
    admin_url: str = field(repr=False)
    database: str


def service_environment(
    service: str, port: int, servers: Servers, passwords: Passwords, home: Home, caller: Mapping[str, str]
) -> dict[str, str]:
    """Return a service's whole environment.

    caller  the environment of whoever ran `grace up`; its GRACE_ settings are handed on, except those of the stack
            itself and, but for callers of models, secrets. Lines that an operator adds to `credentials/<service>.env`
            reach that service alone.
    """
    handed_on = {
        name: value
        for name, value in caller.items()
        if name.startswith("GRACE_")
        and not STACK_ONLY.fullmatch(name)
        and (service in MODEL_CALLERS or not SECRET.fullmatch(name))
    }
    own = {
        "GRACE_SERVICE": service,
        "GRACE_KAFKA_BOOTSTRAP": servers.kafka_bootstrap,
        "GRACE_DATABASE_URL": service_url(servers.admin_url, servers.database, service, passwords.database),
        "GRACE_HTTP_PORT": str(port),
        **folders(service, home, caller),
    }
    if servers.authenticates:
        own |= {
            "GRACE_KAFKA_USERNAME": service,
            "GRACE_KAFKA_PASSWORD": passwords.kafka,
            "GRACE_KAFKA_SECURITY_PROTOCOL": servers.kafka_protocol,
        }
    return base_environment(caller) | handed_on | extra_settings(home.credentials / f"{service}.env") | own


def folders(service: str, home: Home, caller: Mapping[str, str]) -> dict[str, str]:
    """Return the settings that say where a service's folders are."""
    found = {
        "GRACE_IDENTITY_DIR": str(home.identity(service)),
        "GRACE_STATE_DIR": str(home.state(service)),
        "GRACE_PUBLICATION_DIR": str(home.publication),
        "GRACE_SCHEMAS_DIR": caller.get("GRACE_SCHEMAS_DIR", str(SCHEMAS)),
    }
    if service == CRYPTO_SIGNER:
        found["GRACE_IDENTITIES_DIR"] = str(home.root / "identity")
    return found


def extra_settings(path: Path) -> dict[str, str]:
    """Return the settings an operator added to a service's credential file: all but those the stack writes there."""
    return {name: value for name, value in read_env_file(path).items() if not STACK_ONLY.fullmatch(name)}
