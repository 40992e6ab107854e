"""Who may ask what of a task, and when: the checks that answer at once instead of after a round trip.

The orchestrator decides; it applies the same rules to its own state. What is refused here never reaches it.
"""

from collections.abc import Sequence
from typing import Any, Final

from grace_common.contract.errors import Refused
from grace_common.contract.events.task import Ballot, Specification
from grace_common.contract.python_source import function_header, last_definition, require_tests

from grace_gateway.domain.progress import TERMINAL
from grace_gateway.domain.refusals import Conflicting, Forbidden, Unprocessable
from grace_gateway.domain.roles import OPERATOR, Identity

LANGUAGES: Final = ("python",)  # what code-gen's sandbox can evaluate


def check_language(language: str) -> None:
    """Raise Unprocessable for a language whose code cannot be evaluated, and name those that can."""
    if language not in LANGUAGES:
        raise Unprocessable(f"language {language!r} cannot be evaluated yet; these can: {', '.join(LANGUAGES)}")


def check_specification(specification: Specification) -> None:
    """Raise Unprocessable for what no generator and no sandbox could go by: a language, a signature, tests."""
    check_language(specification.language)
    try:
        if specification.signature is not None:
            function_header(specification.signature)
        if specification.tests:
            require_tests(specification.tests)
    except Refused as error:
        raise Unprocessable(str(error)) from error


def check_evaluation(specification: Specification, code: str) -> None:
    """Raise Unprocessable for an evaluation that names no function, besides what every specification must be."""
    check_specification(specification)
    if specification.entry_point is None and specification.signature is None and last_definition(code) is None:
        raise Unprocessable("the code defines no function at its top level; name one as `entry_point`")


def check_ballots(options: Sequence[str], ballots: Sequence[Ballot]) -> None:
    """Raise Unprocessable for options or voters that repeat, or a ballot for something that is no option."""
    if len(set(options)) != len(options):
        raise Unprocessable("options must differ from one another")
    if len({ballot.voter for ballot in ballots}) != len(ballots):
        raise Unprocessable("a voter casts one ballot, and one of them cast several")
    strangers = sorted({ballot.choice for ballot in ballots} - set(options))
    if strangers:
        raise Unprocessable(f"a ballot is for {strangers[0][:100]!r}, which is none of the options")


def check_guidance(task: dict[str, Any]) -> None:
    """Guidance answers a proposed approach: before it there is nothing to answer, after it the round runs."""
    _check_open(task)
    if task["state"] != "approach-proposed":
        raise Conflicting(f"guidance answers a proposed approach, and the task is {task['state']}")


def check_review(task: dict[str, Any], by: Identity, digest: str) -> None:
    """A review names the digest that is up for approval now, and nobody reviews what they asked for themselves."""
    _check_open(task)
    approval = task["approval"]
    if task["state"] != "awaiting-approval" or approval is None:
        raise Conflicting(f"nothing is up for approval: the task is {task['state']}")
    if task["requester"] == by.user:
        raise Forbidden("the requester's own review never counts: another person must give it")
    if approval["digest"] != digest:
        raise Conflicting(
            f"the digest is stale: {approval['digest']} is up for approval now; read the task again before you decide"
        )


def check_approval(task: dict[str, Any], by: Identity, digest: str) -> None:
    """One person approves once."""
    check_review(task, by, digest)
    if by.user in task["approval"]["approved_by"]:
        raise Conflicting(f"{by.user} has approved this digest already; {task['approval']['missing']} more must")


def check_cancellation(task: dict[str, Any], by: Identity) -> None:
    """The requester or an operator cancels what has not ended."""
    if task["requester"] != by.user and OPERATOR not in by.roles:
        raise Forbidden("only the requester or an operator cancels a task")
    _check_open(task)


def _check_open(task: dict[str, Any]) -> None:
    if task["state"] in TERMINAL:
        raise Conflicting(f"the task is {task['state']}: nothing can be asked of it any more")
