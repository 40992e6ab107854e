"""The weights of the grammar: how probable each production is, and what words of the request say about that."""

import json
import re
from dataclasses import dataclass
from importlib.resources import files
from typing import Any


@dataclass(frozen=True, slots=True)
class Hint:
    """What some words in a request make likelier: productions, a constant, or both.

    pattern   regular expression, searched in the request and the function's name, ignoring case
    boosts    bits by which each named production becomes cheaper
    expects   bits by which a program is penalised that uses none of the boosted productions
    constants Python literals that become available
    """

    name: str
    pattern: re.Pattern[str]
    boosts: dict[str, int]
    expects: int
    constants: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Weights:
    """Costs in whole bits, the negative base-2 logarithm of a production's probability."""

    costs: dict[str, int]
    default: int
    hints: tuple[Hint, ...]

    def cost(self, production: str) -> int:
        """Return the cost of a production."""
        return self.costs.get(production, self.default)

    @classmethod
    def from_json(cls, text: str) -> "Weights":
        """Return the weights that a file of the form of `weights.json` states."""
        data: dict[str, Any] = json.loads(text)
        hints = tuple(
            Hint(
                name=name,
                pattern=re.compile(hint["words"], re.IGNORECASE),
                boosts=dict(hint.get("boosts", {})),
                expects=hint.get("expects", 0),
                constants=tuple(hint.get("constants", ())),
            )
            for name, hint in data["hints"].items()
        )
        return cls(costs=dict(data["costs"]), default=data["default"], hints=hints)

    def informed_by(self, request: str, named: frozenset[str] = frozenset()) -> tuple["Weights", tuple[Hint, ...]]:
        """Return the weights as the request's words change them, and the hints that spoke.

        request  the prose with the function's name
        named    hints that hold whatever the request says
        """
        spoken = tuple(hint for hint in self.hints if hint.name in named or hint.pattern.search(request))
        costs = dict(self.costs)
        boosts: dict[str, int] = {}
        for hint in spoken:
            for production, bits in hint.boosts.items():
                boosts[production] = max(bits, boosts.get(production, bits))
        for production, bits in boosts.items():
            costs[production] = max(1, self.cost(production) - bits)
        return Weights(costs=costs, default=self.default, hints=self.hints), spoken


def default_weights() -> Weights:
    """Return the weights that come with the package."""
    return Weights.from_json(files(__package__).joinpath("weights.json").read_text(encoding="utf-8"))
