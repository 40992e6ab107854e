"""Which texts are one program written twice."""

from grace_consensus.domain.fingerprint import of_source

ORIGINAL = '''
def total(numbers: list[int]) -> int:
    """Return the sum."""
    result = 0
    for number in numbers:
        result += number  # add up
    return result
'''


def test_names_comments_docstrings_and_layout_make_no_difference() -> None:
    renamed = "def total(xs):\n  acc = 0\n  for x in xs: acc += x\n  return acc\n"

    assert of_source(ORIGINAL) == of_source(renamed)


def test_another_operation_or_another_called_name_is_another_program() -> None:
    assert of_source(ORIGINAL) != of_source(ORIGINAL.replace("+=", "-="))
    assert of_source("def f(x): return min(x)") != of_source("def f(x): return max(x)")


def test_exchanged_arguments_are_another_program() -> None:
    assert of_source("def f(a, b): return a - b") != of_source("def f(a, b): return b - a")


def test_text_that_does_not_parse_is_told_apart_by_its_characters() -> None:
    assert of_source("def f(:") == of_source("def  f(: ")
    assert of_source("def f(:") != of_source("def g(:")
