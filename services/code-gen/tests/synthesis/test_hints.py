"""What is read out of the prose."""

from grace_code_gen.domain.synthesis.hints import (
    StatedCase,
    constant,
    fallbacks,
    literals,
    outcomes,
    request_text,
    spelled,
    stated_cases,
    written,
)
from grace_code_gen.domain.synthesis.weights import default_weights


def test_numbers_number_words_and_quoted_strings_are_constants() -> None:
    assert literals("Replace 'ab' by \"-\" at most 3 times, two or 2.5 each.") == ["ab", "-", 3, 2.5, 2]


def test_a_name_is_spelled_out_as_words() -> None:
    assert spelled("countUpTo") == spelled("count_up_to") == "count up to"


def test_literals_are_written_as_ruff_formats_them() -> None:
    assert [written(value) for value in ("it's", 'say "x"', [1, "a"], {"k": None}, "a\n")] == [
        '"it\'s"', "'say \"x\"'", '[1, "a"]', '{"k": None}', '"a\\n"',
    ]  # fmt: skip


def test_a_constant_of_one_letter_is_a_char() -> None:
    assert constant('"a"') == ('"a"', "char", "a")
    assert constant("[]") == ("[]", "list[?]", ())


def test_results_that_recur_or_are_quoted_are_outcomes_and_computed_ones_are_not() -> None:
    assert outcomes(["Yes", "No", "Yes"], "Return 'No' if not.") == ["Yes", "No"]
    assert outcomes(["abc", "cba", None], "Reverse it.") == [None]


def test_stated_fallbacks_are_found() -> None:
    assert fallbacks("If there is none return -1. Returns an empty list otherwise, or return None.") == [
        "-1",
        "[]",
        "None",
    ]


def test_cases_with_condition_and_result_are_found() -> None:
    prose = "Sum it up. If n is greater than m, return -1. If the list is empty, return None."

    assert stated_cases(prose, ["n", "m"]) == [StatedCase(("<", "m", "n"), "-1"), StatedCase(("empty",), "None")]


def test_words_of_the_request_make_productions_cheaper() -> None:
    weights = default_weights()
    informed, spoken = weights.informed_by(request_text("Count the vowels.", "count_vowels"))

    assert informed.cost("is_vowel") < weights.cost("is_vowel")
    assert "vowel" in {hint.name for hint in spoken}


def test_a_named_hint_holds_without_its_words() -> None:
    weights = default_weights()
    informed, _ = weights.informed_by("", frozenset({"prime"}))

    assert informed.cost("is_prime") < weights.cost("is_prime")
