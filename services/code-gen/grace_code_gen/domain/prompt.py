"""The words for a model: the task, the guidance, the evidence; and what to take from its answer."""

import hashlib
import re

from grace_common.contract.events.candidate import Prompt

from grace_code_gen.domain.draft import Brief
from grace_code_gen.domain.specification import Specification

SYSTEM = (
    "You write one correct, readable Python function. Answer with one fenced Python block that holds the imports "
    "and the function, and nothing else. Do not read files, open sockets or print."
)


def user_message(brief: Brief) -> str:
    """Return the request as a model reads it; everything in it is the requester's or the evaluator's own."""
    specification = brief.specification
    parts = [f"Task:\n{specification.requirements}"]
    if specification.signature:
        parts.append(f"Signature:\n{specification.signature}")
    else:
        parts.append(f"The function is called {specification.entry_point}.")
    if specification.examples:
        parts.append("It must satisfy (tuples and sets are written as lists):\n" + "\n".join(_calls(specification)))
    if specification.tests:
        parts.append(f"It must pass these tests:\n```python\n{specification.tests.strip()}\n```")
    if brief.guidance:
        parts.append("Guidance of the people who asked:\n" + "\n".join(f"- {one}" for one in brief.guidance))
    if brief.lessons:
        parts.append("Lessons from tasks like this one:\n" + "\n".join(f"- {one}" for one in brief.lessons))
    if brief.evidence:
        parts.append(
            "Earlier candidates failed; do not repeat their mistakes:\n"
            + "\n".join(f"- {one}" for one in brief.evidence)
        )
    return "\n\n".join(parts)


def digests(message: str) -> tuple[Prompt, ...]:
    """Return what stands for the words of one request: SHA-256 of each message's UTF-8 bytes, in order."""
    return (
        Prompt(role="system", sha256=hashlib.sha256(SYSTEM.encode()).hexdigest()),
        Prompt(role="user", sha256=hashlib.sha256(message.encode()).hexdigest()),
    )


def tests_message(brief: Brief) -> str:
    """Return a request for test cases as assert statements."""
    specification = brief.specification
    name = specification.entry_point
    parts = [f"Task:\n{specification.requirements}", f"Signature:\n{specification.signature or name}"]
    if specification.examples:
        parts.append("Known to be right:\n" + "\n".join(_calls(specification)))
    parts.append(
        f"Write eight assert statements on other inputs, one a line, each of the form `assert {name}(…) == …`, that a "
        "correct solution satisfies. Answer with one fenced Python block and nothing else."
    )
    return "\n\n".join(parts)


def asserts_in(answer: str, entry_point: str) -> list[str]:
    """Return the assert statements on the wanted function that a model's answer holds, one a line."""
    return re.findall(rf"^\s*(assert (?:not )?{re.escape(entry_point)}\(.*)$", answer, re.MULTILINE)


def _calls(specification: Specification) -> list[str]:
    return [
        f"{specification.entry_point}({', '.join(map(repr, example.args))}) == {example.expected!r}"
        for example in specification.examples
    ]
