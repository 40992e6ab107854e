"""What code-gen answers to code that others wrote."""

import json

import pytest
from grace_code_gen.domain.specification import Example
from grace_code_gen.handlers import examine
from grace_common.contract.approval import report_sha256
from grace_common.contract.envelope import MAX_ENVELOPE_BYTES, encode
from grace_common.contract.errors import Refused, Unready
from grace_common.contract.events.candidate import EvaluationCompleted, EvaluationFailed
from grace_common.contract.events.task import EvaluationRequested
from grace_common.contract.events.task import Specification as Requested
from grace_common.testing.events import TASK, enveloped

from .fakes import DOUBLE, Judges, ports


async def test_code_is_examined_on_request_by_its_own_definition() -> None:
    workbench = Judges()
    event = EvaluationRequested(
        evaluation_id=TASK,
        requester="ada",
        specification=Requested(requirements="Double", examples=DOUBLE.examples),
        code="import math\n\n\ndef double(n: int) -> int:\n    return 2 * n\n",
    )

    (completed,) = await examine(event, ports(workbench=workbench))

    assert isinstance(completed, EvaluationCompleted)
    asked, codes, _ = workbench.heard[0]
    assert (asked.entry_point, asked.signature, codes) == ("double", "def double(n: int) -> int:", (event.code,))
    assert asked.examples == (Example((2,), 4), Example((3,), 6))
    assert completed.report_sha256 == report_sha256(json.loads(json.dumps(completed.report)))
    assert len(encode(enveloped(completed))) <= MAX_ENVELOPE_BYTES


@pytest.mark.parametrize(
    ("asked", "code", "reason"),
    [
        (Requested(requirements="Print"), "print(1)", "defines no function"),
        (Requested(requirements="Print", language="cobol"), "DISPLAY 1", "these can: python"),
        (Requested(requirements="Print", signature="def ("), "def f(): pass", "no Python function header"),
    ],
)
async def test_what_cannot_be_examined_is_answered_with_why(asked: Requested, code: str, reason: str) -> None:
    event = EvaluationRequested(evaluation_id=TASK, requester="ada", specification=asked, code=code)

    (failed,) = await examine(event, ports())

    assert isinstance(failed, EvaluationFailed)
    assert failed.evaluation_id == TASK
    assert reason in failed.reason


async def test_tests_that_only_the_sandbox_knows_to_be_too_many_are_answered_with_why() -> None:
    workbench = Judges(fails=Refused("the tests have 61 asserts; at most 60 are run"))

    (failed,) = await examine(EvaluationRequested.example(), ports(workbench=workbench))

    assert failed == EvaluationFailed(
        evaluation_id=EvaluationRequested.example().evaluation_id,
        reason="the tests have 61 asserts; at most 60 are run",
    )


async def test_an_evaluation_waits_for_a_missing_sandbox_as_a_round_does() -> None:
    with pytest.raises(Unready):
        await examine(EvaluationRequested.example(), ports(workbench=Judges(fails=Unready("bubblewrap is missing"))))
