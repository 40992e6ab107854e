"""What a request really asks for, and how code-gen would go about it."""

import ast
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from grace_common.contract.errors import Refused
from grace_common.contract.events.task import Specification as Requested

from grace_code_gen.domain.draft import Brief
from grace_code_gen.domain.specification import Example, Specification


@dataclass(frozen=True, slots=True)
class Concept:
    """A named function that everybody knows: its signature, examples of it, hints to the synthesis."""

    name: str
    entry_point: str
    signature: str
    description: str
    examples: tuple[Example, ...]
    hints: frozenset[str] = frozenset()


class Catalogue(Protocol):
    def find(self, requirements: str, entry_point: str | None) -> Concept | None:
        """Return the concept that a request names, or None."""
        ...


def brief_of(requested: Requested, catalogue: Catalogue, *, models: bool) -> Brief:
    """Return the task for the generators: what was given, completed from the signature and the catalogue.

    models  whether any generator can go by prose alone
    raises  Refused when there is nothing to go by: no examples, no known concept, no model
    """
    concept = catalogue.find(requested.requirements, requested.entry_point)
    entry_point = requested.entry_point or _name_in(requested.signature) or (concept.entry_point if concept else None)
    if entry_point is None:
        raise Refused(
            "the request names no function: give `entry_point`, or a `signature` such as `def area(width: int) -> int:`"
        )
    examples = tuple(Example(tuple(one.args), one.expected) for one in requested.examples)
    hints: frozenset[str] = frozenset()
    signature = requested.signature
    if concept is not None:
        hints = concept.hints
        if not examples:
            examples = concept.examples
        if signature is None and _arity(concept.signature) == (len(examples[0].args) if examples else None):
            signature = concept.signature.replace(f"def {concept.entry_point}(", f"def {entry_point}(", 1)
    if not examples and not models:
        raise Refused(
            f"{entry_point!r} is no concept that Grace knows, the request has no examples, and no model is configured; "
            "add examples (`examples: [{args: […], expected: …}]`), or configure a model (GRACE_OPENAI_BASE_URL and "
            "GRACE_OPENAI_MODEL, or GRACE_ANTHROPIC_API_KEY)"
        )
    if signature is None and examples:
        signature = f"def {entry_point}({', '.join(_names(len(examples[0].args)))}):"
    return Brief(
        Specification(
            requirements=requested.requirements,
            entry_point=entry_point,
            language=requested.language,
            signature=signature,
            examples=examples,
            tests=requested.tests,
        ),
        hints=hints,
    )


def describe(brief: Brief, generators: Sequence[str], lessons: Sequence[str]) -> str:
    """Return the approach in a few sentences for the person who is to agree."""
    specification = brief.specification
    given = f"{len(specification.examples)} examples" if specification.examples else "the text alone"
    sentences = [
        f"Write `{(specification.signature or specification.entry_point).rstrip(':')}` from {given}"
        + (" and your tests" if specification.tests else "")
        + f", with {', '.join(generators)}.",
        "Run every candidate in the sandbox on the examples, on your tests and on generated inputs; "
        "check style, types, security and complexity.",
        "Where candidates that satisfy everything still differ, the consensus decides and says how sure it is.",
    ]
    if lessons:
        sentences.append(f"Memory holds {len(lessons)} lessons on tasks like this; the first: {lessons[0]}")
    return " ".join(sentences)


def entry_point_of(code: str) -> str | None:
    """Return the last function that a piece of code defines at its top level."""
    try:
        names = [node.name for node in ast.parse(code).body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    return names[-1] if names else None


def _function(signature: str | None) -> ast.FunctionDef | None:
    if signature is None:
        return None
    try:
        body = ast.parse(signature.strip().rstrip(":") + ": pass").body
    except SyntaxError as error:
        raise Refused(f"the signature is no Python: {error.msg}; expected `def name(a: int) -> int:`") from error
    if len(body) != 1 or not isinstance(body[0], ast.FunctionDef):
        raise Refused("the signature must be one `def name(…):` line")
    return body[0]


def _name_in(signature: str | None) -> str | None:
    function = _function(signature)
    return function.name if function else None


def _arity(signature: str) -> int:
    function = _function(signature)
    return len(function.args.args) if function else 0


def _names(count: int) -> list[str]:
    return ["value"] if count == 1 else [f"value_{number}" for number in range(1, count + 1)]
