"""The words for a model: the task, the guidance, the evidence; and what to take from its answer."""

import json
import re

from grace_code_gen.domain.draft import Brief

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
        calls = [
            f"{specification.entry_point}({', '.join(json.dumps(arg) for arg in example.args)}) == "
            f"{json.dumps(example.expected)}"
            for example in specification.examples
        ]
        parts.append("It must satisfy (values written as JSON):\n" + "\n".join(calls))
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


def tests_message(brief: Brief) -> str:
    """Return a request for test cases as assert statements."""
    specification = brief.specification
    return (
        f"Task:\n{specification.requirements}\n\nSignature:\n{specification.signature or specification.entry_point}\n\n"
        f"Write eight assert statements, one a line, each of the form `assert {specification.entry_point}(…) == …`, that "
        "a correct solution satisfies. Answer with one fenced Python block and nothing else."
    )


def asserts_in(answer: str, entry_point: str) -> list[str]:
    """Return the assert statements on the wanted function that a model's answer holds, one a line."""
    return re.findall(rf"^\s*(assert {re.escape(entry_point)}\(.*)$", answer, re.MULTILINE)
