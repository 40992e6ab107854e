"""What policies may say, and what becomes of one that cannot serve."""

from pathlib import Path
from typing import Any

import pytest
from grace_common.contract.events.round import Policy
from grace_mtl_orchestrator.adapters.policy_files import load, main, packaged
from grace_mtl_orchestrator.domain.policy import (
    ALLOWED_LANGUAGES,
    REQUIRED_APPROVALS,
    RULES,
    PolicyBroken,
    Ruling,
    check,
    decide,
)

TASK: dict[str, Any] = {"task": {"mode": "autonomous", "language": "python", "requester": "ada", "examples": 3}}


def policies(**expressions: str) -> list[Policy]:
    """The packaged policies with some expressions replaced."""
    return [
        policy.model_copy(
            update={"expressions": {name: expressions.get(name, text) for name, text in policy.expressions.items()}}
        )
        for policy in load(packaged())
    ]


def test_the_packaged_policies_answer_every_rule() -> None:
    defined = [name for policy in load(packaged()) for name in policy.expressions]

    assert sorted(defined) == sorted(rule.name for rule in RULES)


def test_an_answer_names_the_policy_that_gave_it() -> None:
    assert decide(ALLOWED_LANGUAGES, load(packaged()), TASK) == Ruling(("python",), "admission@1")


@pytest.mark.parametrize(
    ("expressions", "message"),
    [
        ({"max_rounds": "1 +"}, "max_rounds is no CEL expression"),
        ({"max_rounds": "'three'"}, "max_rounds does not answer: expected an int from 0 to 100"),
        ({"max_rounds": "true"}, "expected an int"),
        ({"max_rounds": "1000"}, "expected an int from 0 to 100"),
        ({"minimum_confidence": "1.5"}, "expected a number from 0 to 1"),
        ({"acceptable": "1"}, "expected a bool"),
        ({"allowed_languages": "[1]"}, "expected a list of strings"),
        ({"required_approvals": "task.nothing"}, "required_approvals does not answer"),
        ({"required_approvals": "1 / 0"}, "required_approvals does not answer"),
        ({"max_rounds": "round.number"}, "max_rounds uses round; it may use task"),
        ({"acceptable": "weather == 'fine'"}, "acceptable uses weather"),
    ],
)
def test_a_policy_that_cannot_serve_is_refused_by_name(expressions: dict[str, str], message: str) -> None:
    with pytest.raises(PolicyBroken, match=message):
        check(policies(**expressions))


def test_every_rule_is_defined_once_and_nothing_else_is() -> None:
    some = load(packaged())
    extra = Policy(name="extra", version=1, expressions={"max_rounds": "1"})

    with pytest.raises(PolicyBroken, match="2 policies define max_rounds, expected exactly one"):
        check([*some, extra])
    with pytest.raises(PolicyBroken, match="0 policies define"):
        check(some[:1])
    with pytest.raises(PolicyBroken, match="2 policies are called 'approval'"):
        check([*some, some[1]])
    with pytest.raises(PolicyBroken, match="'max_round', which is no rule"):
        check([*some, extra.model_copy(update={"expressions": {"max_round": "1"}})])
    with pytest.raises(PolicyBroken, match="no policy defines required_approvals"):
        decide(REQUIRED_APPROVALS, some[:1], TASK)


def test_a_folder_of_policies_replaces_the_packaged_ones(tmp_path: Path) -> None:
    for path in packaged().glob("*.toml"):
        text = path.read_text().replace("required_approvals = '1'", "required_approvals = '2'")
        (tmp_path / path.name).write_text(text)

    found = {policy.name: policy for policy in load(tmp_path)}

    assert found["approval"].expressions["required_approvals"] == "2"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"name = ", "is no readable TOML file"),
        (b"\xff", "is no readable TOML file"),
        (b"name = 'x'", "is no policy: version: Field required"),
        (None, "holds no policy file"),
    ],
)
def test_a_file_that_is_no_policy_is_refused_by_name(tmp_path: Path, content: bytes | None, message: str) -> None:
    if content is not None:
        (tmp_path / "broken.toml").write_bytes(content)

    with pytest.raises(PolicyBroken, match=message):
        load(tmp_path)


def test_the_checking_command_prints_what_is_in_force_or_why_it_cannot_be(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([]) == 0
    assert "approval@1: required_approvals, may_complete_without_approval" in capsys.readouterr().out
    assert main([str(tmp_path)]) == 1
    assert "holds no policy file" in capsys.readouterr().err
