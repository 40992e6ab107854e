"""The trace of what was refused: one fact each, but no flood of them.

Beyond a rate, a client's refusals are counted, and the count is stated once a minute: nobody can fill the ledger so.
"""

from collections import Counter
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

from grace_common.contract.envelope import Envelope
from grace_common.contract.events.operation import RequestRefused
from grace_common.runtime.operation import Operation

from grace_gateway.api.limits import RateLimit
from grace_gateway.domain.credentials import without_credentials
from grace_gateway.domain.roles import Identity
from grace_gateway.ports import Entry, Ports

ANONYMOUS: Final = "anonymous"
_MOST_CLIENTS: Final = 1_000
_OTHERS: Final = "others"


def new_operation(ports: Ports, id_: UUID, actor: str, subject: str) -> Operation:
    """Return the operation that a request is; its endpoint gives it its name."""
    return Operation(
        id=id_,
        name="gateway.request",
        service="gateway",
        actor=actor,
        subject=without_credentials(subject)[:200],
        correlation=str(id_),
        why="http",
        started_at=ports.clock.now(),
    )


def client_name(identity: Identity | None, address: str) -> str:
    """Return under which name a client's refusals are counted and stated."""
    return identity.user if identity else f"{ANONYMOUS} at {address}"


@dataclass
class Refusals:
    """What was refused since the last time the counts were stated."""

    ports: Ports
    rate: RateLimit
    counts: dict[str, Counter[int]] = field(default_factory=dict)

    def trace(
        self, operation: Operation, client: str, method: str, path: str, status: int, reason: str
    ) -> list[Envelope]:
        """Return the fact that states a refusal; nothing when it is only counted."""
        if not self.rate.admits(client):
            name = client if client in self.counts or len(self.counts) < _MOST_CLIENTS else _OTHERS
            self.counts.setdefault(name, Counter())[status] += 1
            return []
        event = RequestRefused(
            refusal_id=operation.id,
            actor=client,
            method=method,
            path=without_credentials(path)[:500],
            status=status,
            reason=without_credentials(reason)[:2000],
        )
        return [operation.envelope(event, self.ports.clock.now())]

    async def state_counts(self) -> None:
        """State, in one fact for each client, the refusals that were only counted."""
        counts, self.counts = self.counts, {}
        for client, statuses in counts.items():
            id_ = self.ports.clock.new_id()
            said = ", ".join(f"{count} times {status}" for status, count in sorted(statuses.items()))
            event = RequestRefused(
                refusal_id=id_,
                actor=client,
                method="*",
                path="*",
                status=max(statuses),
                reason=f"{statuses.total()} further requests of this client were refused: {said}",
            )
            operation = new_operation(self.ports, id_, client, "*")
            await self.ports.journal.commit(Entry([operation.envelope(event, self.ports.clock.now())]))
