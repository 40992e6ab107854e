"""The catalogue of named concepts: what a request without examples is met from.

A concept is a signature with examples and, for the harder ones, names of the grammar's hints; never a solution.
"""

import json
import re
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Any

from grace_common.contract.errors import Refused

from .synthesis import Example, Specification

_REMEDY = (
    "add examples (arguments and expected results), name a concept of the catalogue, or configure a model as generator"
)


@dataclass(frozen=True, slots=True)
class Concept:
    """A function that people know by name.

    keywords  phrases by which a request may name it, in lower case
    hints     hints of the grammar's weights that its synthesis starts with
    """

    name: str
    keywords: tuple[str, ...]
    entry_point: str
    signature: str
    description: str
    examples: tuple[Example, ...]
    hints: frozenset[str]

    def specification(self) -> Specification:
        """Return what the synthesiser needs."""
        return Specification(self.entry_point, self.signature, self.description, self.examples)


@lru_cache(maxsize=1)
def catalogue() -> tuple[Concept, ...]:
    """Return the concepts of the catalogue, in its order."""
    data: dict[str, Any] = json.loads(files(__package__).joinpath("concepts.json").read_text(encoding="utf-8"))
    return tuple(
        Concept(
            name=entry["name"],
            keywords=tuple(entry["keywords"]),
            entry_point=entry["entry_point"],
            signature=entry["signature"],
            description=entry["description"],
            examples=tuple(Example(tuple(example["args"]), example["expected"]) for example in entry["examples"]),
            hints=frozenset(entry.get("hints", ())),
        )
        for entry in data["concepts"]
    )


def concept_of(request: str, entry_point: str = "") -> Concept:
    """Return the concept that a request names.

    request      prose such as "Create a function to calculate fibonacci"
    entry_point  name of the wanted function; decides where it is a concept's own
    raises       Refused when neither names a concept, saying how to be met all the same
    """
    for concept in catalogue():
        if entry_point and entry_point == concept.entry_point:
            return concept
    spoken = f"{request} {entry_point}"
    named = [
        (len(phrase), -position, concept)
        for position, concept in enumerate(catalogue())
        for phrase in (*concept.keywords, concept.name, concept.entry_point)
        if _names(spoken, phrase)
    ]
    if not named:
        wanted = request.strip() or entry_point or "an empty request"
        raise Refused(f"no examples were given and no known concept is named by {wanted[:120]!r}: {_REMEDY}")
    return max(named, key=lambda ranked: ranked[:2])[2]


def _names(text: str, phrase: str) -> bool:
    """Say whether the text contains the phrase as whole words, with spaces, hyphens or underscores between them."""
    words = re.split(r"[^a-z0-9]+", phrase.lower())
    flat = re.sub(r"[^a-z0-9]+", " ", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", text).lower())
    return f" {' '.join(words)} " in f" {flat.strip()} "
