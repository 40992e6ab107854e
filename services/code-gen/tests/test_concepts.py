"""The catalogue of named concepts."""

import ast

import pytest
from grace_code_gen.domain.concepts import Concept, catalogue, concept_of
from grace_code_gen.domain.synthesis import default_weights
from grace_common.contract.errors import Refused


@pytest.mark.parametrize(
    ("request_text", "name"),
    [
        ("Create a function to calculate fibonacci", "fibonacci"),
        ("Write a palindrome checker", "palindrome"),
        ("I need the greatest common divisor of two numbers", "greatest common divisor"),
        ("sum of even numbers in a list", "sum of even numbers"),
        ("the sum of the digits", "digit sum"),
        ("Is it a leap-year?", "leap year"),
        ("largest prime factor, please", "largest prime factor"),
    ],
)
def test_prose_names_a_concept(request_text: str, name: str) -> None:
    assert concept_of(request_text).name == name


def test_the_entry_point_names_a_concept() -> None:
    assert concept_of("Do it.", "is_leap_year").name == "leap year"
    assert concept_of("", "calculateFactorial").name == "factorial"


def test_an_unknown_name_is_refused_with_what_to_do() -> None:
    with pytest.raises(Refused, match=r"frobnicate.*add examples.*configure a model"):
        concept_of("Frobnicate the widgets with frobnicate")


def test_the_catalogue_has_eighty_concepts_with_names_of_their_own() -> None:
    concepts = catalogue()
    assert len(concepts) >= 80
    assert len({concept.name for concept in concepts}) == len(concepts)
    assert len({concept.entry_point for concept in concepts}) == len(concepts)


@pytest.mark.parametrize("concept", catalogue(), ids=lambda concept: concept.name)
def test_a_concept_is_consistent(concept: Concept) -> None:
    function = ast.parse(f"{concept.signature}\n    pass").body[0]
    assert isinstance(function, ast.FunctionDef)
    assert function.name == concept.entry_point
    assert 4 <= len(concept.examples) <= 8
    arguments = [repr(example.args) for example in concept.examples]
    assert len(set(arguments)) == len(arguments)
    assert all(len(example.args) == len(function.args.args) for example in concept.examples)
    assert concept.specification().examples == concept.examples
    assert concept.hints <= {hint.name for hint in default_weights().hints}
    assert concept_of(concept.name) == concept
