"""The weights are data about productions that exist."""

from grace_code_gen.domain.synthesis.forms import FORMS, forms_with_default
from grace_code_gen.domain.synthesis.operators import OPERATORS
from grace_code_gen.domain.synthesis.weights import default_weights

RULES = {"if_statement", "recurrence", "patience"}


def productions() -> set[str]:
    forms = [*FORMS, *forms_with_default("None", None)]
    return {operator.name for operator in OPERATORS} | {form.name for form in forms}


def test_every_production_has_a_weight_and_every_weight_a_production() -> None:
    named = {name for name in default_weights().costs if "." not in name}

    assert named - RULES == productions()


def test_hints_boost_productions_that_exist() -> None:
    boosted = {name for hint in default_weights().hints for name in hint.boosts}

    assert boosted - RULES <= productions()


def test_names_of_productions_are_unique() -> None:
    assert len({operator.name for operator in OPERATORS} | {form.name for form in FORMS}) == len(OPERATORS) + len(FORMS)
