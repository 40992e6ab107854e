"""Who may do what: four roles, deny by default."""

from dataclasses import dataclass
from typing import Final, Literal, get_args

Role = Literal["requester", "reviewer", "operator", "auditor"]

REQUESTER: Final[Role] = "requester"
REVIEWER: Final[Role] = "reviewer"
OPERATOR: Final[Role] = "operator"
AUDITOR: Final[Role] = "auditor"
ROLES: Final[tuple[Role, ...]] = get_args(Role)

_SEES_ALL: Final = frozenset((REVIEWER, OPERATOR, AUDITOR))


@dataclass(frozen=True, slots=True)
class Identity:
    """Who is asking: a person or a program, by the name that the ledger shows."""

    user: str
    roles: frozenset[str]
    key_id: str

    def has_any(self, roles: frozenset[Role]) -> bool:
        return not self.roles.isdisjoint(roles)

    def sees(self, requester: str) -> bool:
        """Requesters see what they asked for; reviewers, operators and auditors see everything."""
        return self.user == requester or not self.roles.isdisjoint(_SEES_ALL)

    @property
    def sees_all(self) -> bool:
        return not self.roles.isdisjoint(_SEES_ALL)
