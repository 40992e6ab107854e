"""What a model reads, and what is taken from its answer."""

from grace_code_gen.domain import prompt
from grace_code_gen.domain.draft import Brief
from grace_code_gen.domain.specification import Example, Specification

FLAGS = Specification(
    "Tell whether any flag is set",
    "any_set",
    signature="def any_set(flags: list[bool], default: str | None) -> bool:",
    examples=(Example(([True, False], None), True), Example(([], "x"), False)),
    tests="assert not any_set([False], None)\n",
)


def test_a_model_reads_task_signature_examples_and_tests_in_python() -> None:
    message = prompt.user_message(Brief(FLAGS))

    assert message.startswith("Task:\nTell whether any flag is set\n\nSignature:\ndef any_set(flags: list[bool]")
    assert "any_set([True, False], None) == True\nany_set([], 'x') == False" in message
    assert "```python\nassert not any_set([False], None)\n```" in message


def test_without_a_signature_it_reads_the_name() -> None:
    assert prompt.user_message(Brief(Specification("Frobnicate", "frob"))) == (
        "Task:\nFrobnicate\n\nThe function is called frob."
    )


def test_it_reads_what_people_said_what_memory_holds_and_what_went_wrong() -> None:
    message = prompt.user_message(
        Brief(FLAGS, guidance=("be brief",), lessons=("use any()",), evidence=("any_set raised",))
    )

    assert message.index("- be brief") < message.index("- use any()") < message.index("- any_set raised")
    assert "do not repeat their mistakes" in message


def test_a_request_for_tests_shows_what_is_known_and_asks_for_other_inputs() -> None:
    asked, bare = prompt.tests_message(Brief(FLAGS)), prompt.tests_message(Brief(Specification("Frobnicate", "frob")))

    assert "any_set([], 'x') == False" in asked
    assert "`assert any_set(…) == …`" in asked
    assert "Signature:\nfrob" in bare
    assert "Known to be right" not in bare


def test_only_asserts_on_the_function_are_taken_from_an_answer() -> None:
    answer = "Here:\n```python\nassert f(1) == 2\n  assert not f(0)\nassert g(1) == 2\nassert f2(1)\nprint(f(3))\n```"

    assert prompt.asserts_in(answer, "f") == ["assert f(1) == 2", "assert not f(0)"]
