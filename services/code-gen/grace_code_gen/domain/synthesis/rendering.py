"""From a solution to a formatted function: imports, signature, docstring, inner functions, statements."""

import re
from collections.abc import Iterable, Sequence
from textwrap import indent
from typing import Final

from .inner_functions import TEXTS
from .terms import Form, Operator, Term

_TYPING: Final = re.compile(r"\b(Any|Dict|Iterable|List|Optional|Sequence|Set|Tuple|Union)\b")
_SENTENCE: Final = re.compile(r"(?<=[.!?])\s")
_LONGEST_LINE: Final = 88  # where ruff format would wrap


def function_source(signature: str, requirements: str, statements: Sequence[str], terms: Iterable[Term]) -> str:
    """Return the complete function.

    signature     the `def` line, with its colon
    requirements  prose whose first sentence becomes the docstring
    statements    lines of the body, without indentation
    terms         what the statements were rendered from: says which imports and inner functions are needed
    """
    imports: set[str] = set()
    functions: dict[str, None] = {}
    for term in terms:
        for node in term.nodes():
            if isinstance(node.head, Operator | Form):
                imports.update(node.head.imports)
            if isinstance(node.head, Operator) and node.head.function:
                functions[node.head.function] = None
    if names := sorted(set(_TYPING.findall(signature))):
        imports.add(f"from typing import {', '.join(names)}")
    lines = [f'"""{summary(requirements)}"""']
    for name in functions:
        lines += ["", *TEXTS[name].rstrip().split("\n")]
    if functions:
        lines.append("")
    lines.extend(statements)
    body = indent("\n".join(lines), "    ")
    header = "".join(f"{line}\n" for line in sorted(imports, key=lambda line: (line.startswith("from"), line)))
    return f"{header}\n\n{signature.strip()}\n{body}\n" if header else f"{signature.strip()}\n{body}\n"


def summary(requirements: str) -> str:
    """Return the first sentence of the prose, fit for a docstring on one line."""
    text = " ".join(requirements.split()).replace("\\", "/").replace('"', "'")
    sentence = _SENTENCE.split(text, maxsplit=1)[0] if text else "Do what the examples show."
    limit = _LONGEST_LINE - 4 - 6
    if len(sentence) > limit:
        sentence = sentence[: limit - 1].rsplit(" ", 1)[0].rstrip(",;:") + "…"
    return sentence
