"""What the organisation rules on: CEL expressions, each with a fixed name, result type and variables.

A policy file names expressions; every rule below must be defined by exactly one of them. The variables:

    task       mode ("collaborative" | "autonomous"), language, requester, via ("http" | "kafka" | "mcp"),
               examples (how many were given), tests (whether tests were given), candidates (how many are wanted)
    round      number (1 for the first), attempts (rounds since a person last spoke, this one included)
    decision   confidence (0 to 1), candidates (how many were judged), dissent (how many clusters lost), method
    candidate  generator, quality_score (0 to 1), given_passed and given_failed (of the requester's examples and tests)
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from typing import Final, Generic, TypeVar

import cel
from grace_common.contract.errors import Refused
from grace_common.contract.events.round import Policy

Value = TypeVar("Value", covariant=True)
Variables = Mapping[str, Mapping[str, object]]


class PolicyBroken(Refused):
    """A policy cannot be read, or cannot answer: nothing may be decided by it."""


@dataclass(frozen=True, slots=True)
class Rule(Generic[Value]):
    """One question put to the policies. `read` returns CEL's result in the rule's type; ValueError for another."""

    name: str
    variables: tuple[str, ...]
    read: Callable[[object], Value]


@dataclass(frozen=True, slots=True)
class Ruling(Generic[Value]):
    """The answer, and the `name@version` of the policy that gave it."""

    value: Value
    policy: str


def _flag(result: object) -> bool:
    if not isinstance(result, bool):
        raise ValueError("expected a bool")
    return result


def _count(result: object) -> int:
    if isinstance(result, bool) or not isinstance(result, int) or not 0 <= result <= 100:
        raise ValueError("expected an int from 0 to 100")
    return result


def _share(result: object) -> float:
    if isinstance(result, bool) or not isinstance(result, (int, float)) or not 0 <= result <= 1:
        raise ValueError("expected a number from 0 to 1")
    return float(result)


def _texts(result: object) -> tuple[str, ...]:
    if not isinstance(result, list) or not all(isinstance(item, str) for item in result):
        raise ValueError("expected a list of strings")
    return tuple(result)


_AT_START = ("task",)
_AT_DECISION = ("task", "round", "decision", "candidate")

ALLOWED_LANGUAGES: Final = Rule("allowed_languages", _AT_START, _texts)
MAX_ROUNDS: Final = Rule("max_rounds", _AT_START, _count)
MINIMUM_CONFIDENCE: Final = Rule("minimum_confidence", _AT_START, _share)
ACCEPTABLE: Final = Rule("acceptable", _AT_DECISION, _flag)
REQUIRED_APPROVALS: Final = Rule("required_approvals", _AT_DECISION, _count)
MAY_COMPLETE_WITHOUT_APPROVAL: Final = Rule("may_complete_without_approval", _AT_DECISION, _flag)

RULES: Final[tuple[Rule[object], ...]] = (
    ALLOWED_LANGUAGES,
    MAX_ROUNDS,
    MINIMUM_CONFIDENCE,
    ACCEPTABLE,
    REQUIRED_APPROVALS,
    MAY_COMPLETE_WITHOUT_APPROVAL,
)


def reference(policy: Policy) -> str:
    """Return what decisions call the policy: `approval@1`."""
    return f"{policy.name}@{policy.version}"


def decide(rule: Rule[Value], policies: Sequence[Policy], variables: Variables) -> Ruling[Value]:
    """Return what the policies say; PolicyBroken when none answers, or the answer has another type than the rule's."""
    for policy in policies:
        if rule.name in policy.expressions:
            return Ruling(_evaluate(rule, policy, variables), reference(policy))
    raise PolicyBroken(f"no policy defines {rule.name}")


def check(policies: Sequence[Policy]) -> None:
    """Try every expression on sample cases; PolicyBroken names the first policy and expression that cannot serve."""
    names = Counter(policy.name for policy in policies)
    for name, count in names.items():
        if count > 1:
            raise PolicyBroken(f"{count} policies are called {name!r}; names must differ")
    rules = {rule.name: rule for rule in RULES}
    defined = Counter(expression for policy in policies for expression in policy.expressions)
    for policy in policies:
        for unknown in policy.expressions.keys() - rules.keys():
            raise PolicyBroken(
                f"policy {reference(policy)} defines {unknown!r}, which is no rule; rules are {', '.join(rules)}"
            )
    for name in rules:
        if defined[name] != 1:
            raise PolicyBroken(f"{defined[name]} policies define {name}, expected exactly one")
    for policy in policies:
        for name in policy.expressions:
            _try(rules[name], policy)


def _try(rule: Rule[object], policy: Policy) -> None:
    foreign = set(_program(policy, rule.name).variables()) - set(rule.variables)
    if foreign:
        raise PolicyBroken(
            f"policy {reference(policy)}: {rule.name} uses {', '.join(sorted(foreign))}; "
            f"it may use {', '.join(rule.variables)}"
        )
    for variables in _samples():
        _evaluate(rule, policy, variables)


def _evaluate(rule: Rule[Value], policy: Policy, variables: Variables) -> Value:
    known = {name: dict(variables[name]) for name in rule.variables}
    try:
        return rule.read(_program(policy, rule.name).execute(known))
    except (ValueError, TypeError, RuntimeError, KeyError, ArithmeticError, LookupError) as error:
        raise PolicyBroken(f"policy {reference(policy)}: {rule.name} does not answer: {error}") from error


def _program(policy: Policy, name: str) -> cel.Program:
    try:
        return _compiled(policy.expressions[name])
    except ValueError as error:
        raise PolicyBroken(f"policy {reference(policy)}: {name} is no CEL expression: {error}") from error


@lru_cache(maxsize=256)
def _compiled(expression: str) -> cel.Program:
    return cel.compile(expression)


def _samples() -> list[Variables]:
    """Every branch that an expression is likely to have: both modes, sure and unsure, passing and failing."""
    return [
        {
            "task": {
                "mode": mode,
                "language": "python",
                "requester": "ada",
                "via": via,
                "examples": examples,
                "tests": bool(examples),
                "candidates": 8,
            },
            "round": {"number": number, "attempts": number},
            "decision": {"confidence": confidence, "candidates": 8, "dissent": dissent, "method": "agreement@1"},
            "candidate": {
                "generator": "synthesis",
                "quality_score": confidence,
                "given_passed": examples,
                "given_failed": dissent,
            },
        }
        for mode, via, examples, number, confidence, dissent in product(
            ("collaborative", "autonomous"), ("http", "kafka", "mcp"), (0, 3), (1, 3), (0.0, 0.5, 1.0), (0, 2)
        )
    ]
