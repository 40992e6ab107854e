"""What a request really asks for, and how code-gen would go about it."""

import ast
import json
import keyword
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from grace_common.contract.errors import Refused
from grace_common.contract.events.task import Specification as Requested
from grace_common.contract.python_source import definitions, function_header, last_definition

from grace_code_gen.domain.draft import Brief
from grace_code_gen.domain.requester_tests import suite
from grace_code_gen.domain.specification import Example, Specification, require_evaluable

HOW_TO_BE_MET: Final = (
    'add examples (`"examples": [{"args": [3], "expected": 9}]`), or configure a model (GRACE_OPENAI_BASE_URL and '
    "GRACE_OPENAI_MODEL, or GRACE_ANTHROPIC_API_KEY and GRACE_ANTHROPIC_MODEL)"
)
MOST_ARGUMENTS: Final = 20
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}")  # the contract's `Identifier`
_WORD: Final = re.compile(r"[a-z0-9]+")
# What a request says around the name of what it wants.
_FILLERS: Final = frozenset(
    _WORD.findall(
        "a all an and any as at be by calculate calculates called can check checker checks code compute computes "
        "computing create creates def define determine determines do find finding finds for from function "
        "functions generate get gets give given gives i if implement implementation in integer integers into is "
        "it its list make me method n need number numbers of on or please program python return returning returns "
        "s script should simple string strings takes tell tells test tests that the this to two use using value "
        "values want which whose whether with write x y your"
    )
)


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
    raises  Refused when there is nothing to go by (no examples, no known concept, no model), and when what was given
            cannot be: an unknown language, a header or tests that are no Python, examples that contradict each other
    """
    require_evaluable(requested.language)
    function = _function(requested.signature)
    concept = catalogue.find(requested.requirements, requested.entry_point or (function.name if function else None))
    examples = tuple(Example(tuple(one.args), one.expected) for one in requested.examples)
    stands = concept is not None and not examples and _stands_for(concept, requested, function, models=models)
    named_by = concept.entry_point if concept is not None and (examples or stands) else None
    entry_point = _required_name(requested.entry_point or (function.name if function else named_by), function)
    signature = requested.signature
    adopted = None
    if concept is not None and stands:
        adopted, examples = concept.name, concept.examples
        if signature is None:
            signature = concept.signature.replace(f"def {concept.entry_point}(", f"def {entry_point}(", 1)
    if not examples and not models:
        raise Refused(
            f"{entry_point!r} is no concept that Grace knows, the request has no examples, and no model is configured: "
            + HOW_TO_BE_MET
        )
    _require_consistent(examples, _function(signature))
    if requested.tests:
        suite(requested.tests)
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
        concept=adopted,
        hints=concept.hints if concept is not None else frozenset(),
    )


def describe(brief: Brief, generators: Sequence[str], lessons: Sequence[str]) -> str:
    """Return the approach in a few sentences for the person who is to agree."""
    specification = brief.specification
    count = len(specification.examples)
    given = f"{count} example{'s' if count > 1 else ''}" if count else "the text alone"
    sentences = [
        f"Write `{(specification.signature or specification.entry_point).rstrip(': ')}` from {given}"
        + (" and your tests" if specification.tests else "")
        + f", with {', '.join(generators)}."
    ]
    if brief.concept is not None:
        first = specification.examples[0]
        call = f"{specification.entry_point}({', '.join(map(repr, first.args))})"
        sentences.append(
            f"Your request gives no examples and is read as the known concept “{brief.concept}”, whose examples are "
            f"used, such as {call} == {first.expected!r}; if you mean something else, submit it with examples."
        )
    sentences += [
        "Run every candidate in the sandbox on the examples, on your tests and on generated inputs; "
        "check style, types, security and complexity.",
        "Where candidates that satisfy everything still differ, the consensus decides and says how sure it is.",
    ]
    if lessons:
        more = f"; {len(lessons) - 1} more" if len(lessons) > 1 else ""
        sentences.append(f"Memory holds lessons on tasks like this: {lessons[0]}{more}.")
    return " ".join(sentences)


def examined(requested: Requested, code: str) -> Specification:
    """Return what a piece of code is held against: the request, completed from the code's own definition.

    raises  Refused when neither names a function
    """
    require_evaluable(requested.language)
    stated = _function(requested.signature)
    entry_point = requested.entry_point or (stated.name if stated else None) or last_definition(code)
    if entry_point is None:
        raise Refused("the code defines no function at its top level; name one as `entry_point`")
    return Specification(
        requirements=requested.requirements,
        entry_point=entry_point,
        language=requested.language,
        signature=requested.signature or _header(code, entry_point),
        examples=tuple(Example(tuple(one.args), one.expected) for one in requested.examples),
        tests=requested.tests,
    )


def _stands_for(concept: Concept, requested: Requested, function: ast.FunctionDef | None, *, models: bool) -> bool:
    """Return whether the concept's examples may stand for the request's.

    Beside a model, which could go by the prose alone, only a request that says no more than the concept's own words:
    "the sum of the primes up to n" mentions the primes up to n and wants something else.
    """
    if function is not None and not _takes(function, len(concept.examples[0].args)):
        return False
    if not models or requested.entry_point == concept.entry_point:
        return True
    said = set(_WORD.findall(requested.requirements.lower()))
    own = f"{concept.name} {concept.entry_point} {concept.description} {concept.signature}".replace("_", " ")
    return said <= _FILLERS | set(_WORD.findall(own.lower())) | {requested.entry_point}


def _required_name(entry_point: str | None, function: ast.FunctionDef | None) -> str:
    if entry_point is None:
        raise Refused(
            "the request names no function: give `entry_point`, or a `signature` such as `def area(width: int) -> int:`"
        )
    if not _NAME.fullmatch(entry_point) or keyword.iskeyword(entry_point):
        raise Refused(f"{entry_point!r} cannot name a function: expected ASCII letters, digits and _, and no keyword")
    if function is not None and function.name != entry_point:
        raise Refused(f"`entry_point` is {entry_point!r}, but the signature defines {function.name!r}")
    return entry_point


def _require_consistent(examples: Sequence[Example], function: ast.FunctionDef | None) -> None:
    """Refuse examples that no function satisfies: another number of arguments, or two results for one call."""
    known: dict[str, tuple[int, str]] = {}
    for number, example in enumerate(examples, start=1):
        count = len(example.args)
        if count > MOST_ARGUMENTS:
            raise Refused(f"example {number} has {count} arguments; at most {MOST_ARGUMENTS} are taken")
        if function is not None and not _takes(function, count):
            raise Refused(f"example {number} has {count} arguments, which the signature does not take")
        if function is None and count != len(examples[0].args):
            raise Refused(
                f"example {number} has {count} arguments and example 1 has {len(examples[0].args)}; give a `signature`"
            )
        expected = json.dumps(example.expected, sort_keys=True)
        first, before = known.setdefault(json.dumps(example.args, sort_keys=True), (number, expected))
        if expected != before:
            raise Refused(f"examples {first} and {number} contradict each other: one call, two results")


def _function(signature: str | None) -> ast.FunctionDef | None:
    """Return the header's syntax tree; Refused when it is none."""
    return None if signature is None else function_header(signature)


def _takes(function: ast.FunctionDef, count: int) -> bool:
    """Return whether a call with that many positional arguments fits the header."""
    arguments = function.args
    most = len(arguments.posonlyargs) + len(arguments.args)
    required_by_name = any(default is None for default in arguments.kw_defaults)
    return (
        most - len(arguments.defaults) <= count
        and (count <= most or arguments.vararg is not None)
        and not required_by_name
    )


def _names(count: int) -> list[str]:
    return ["value"] if count == 1 else [f"value_{number}" for number in range(1, count + 1)]


def _header(code: str, entry_point: str) -> str | None:
    """Return the header by which the code defines the function, None when it defines none."""
    for node in definitions(code):
        if node.name == entry_point:
            bare = ast.FunctionDef(node.name, node.args, [ast.Pass()], [], node.returns)
            return ast.unparse(ast.fix_missing_locations(bare)).partition("\n")[0]
    return None
