"""Outside programs that produce to Kafka: enrolled over the API with keys that Grace never sees."""

import base64
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from grace_common.contract.topics import INTAKE
from grace_common.runtime.follower import MOST_LAG_S
from grace_common.runtime.seal import Sealer
from grace_common.transparency.statement import key_id

from tests.e2e.bus import Bus, Place, outside_event, sealed
from tests.e2e.doors import Json, Person
from tests.e2e.patience import until


@dataclass(frozen=True)
class Outsider:
    """An enrolled producer and its key."""

    name: str
    key: Ed25519PrivateKey

    @property
    def key_id(self) -> str:
        return key_id(self.key.public_key().public_bytes_raw())

    @property
    def sealer(self) -> Sealer:
        return Sealer(self.key, self.key_id)

    def ask(self, bus: Bus, id_: UUID, type_: str, data: Json, partition: int = 0) -> Place:
        """Produce a sealed request to the intake topic."""
        value = outside_event(id_, type_, data)
        key = str(id_).encode()
        return bus.send("producer", INTAKE, key, value, sealed(self.sealer, INTAKE, key, value), partition)


def enrol(operator: Person, name: str, *roles: str) -> Outsider:
    """Enrol a producer with a new key; return it once its key is certified."""
    outsider = Outsider(name, Ed25519PrivateKey.generate())
    public_key = base64.b64encode(outsider.key.public_key().public_bytes_raw()).decode()
    valid_until = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    operator.post(
        "/api/keys/producers",
        {"name": name, "public_key": public_key, "roles": list(roles or ("requester",)), "valid_until": valid_until},
    )
    until(f"certificate of {name}", lambda: _certificate(operator, outsider.key_id))
    return outsider


def revoke(operator: Person, outsider: Outsider) -> None:
    """Withdraw a producer's key; return once that is in force."""
    operator.post(f"/api/keys/{outsider.key_id}/revocation", {"reason": "the laptop was lost"})
    until(f"revocation of {outsider.name}", lambda: (_certificate(operator, outsider.key_id) or {}).get("revoked_at"))
    time.sleep(MOST_LAG_S)  # no service checks a record by older knowledge


def _certificate(operator: Person, key: str) -> dict[str, Any] | None:
    answer = operator.patiently("GET", f"/api/keys/{key}")
    return answer.json() if answer.status_code == 200 else None
