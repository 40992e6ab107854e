"""From a solution to a formatted function: imports, signature, docstring, inner functions, statements."""

import re
from collections.abc import Iterable, Sequence
from textwrap import dedent, indent
from typing import Final

from .inner_functions import TEXTS
from .terms import Form, Operator, Term

_TYPING: Final = re.compile(r"\b(Any|Dict|Iterable|List|Optional|Sequence|Set|Tuple|Union)\b")
_DEFINED: Final = re.compile(r"def (\w+)")
_CALL: Final = re.compile(r"return (\w+)\((\w+(?:, \w+)*)\)")
_WORD: Final = re.compile(r"\b[A-Za-z_]\w*\b")
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
    body_itself = _dissolved(statements, functions)
    if body_itself is not None:
        lines.extend(body_itself)
    else:
        own_name = _DEFINED.match(signature.strip())
        for name in functions:
            lines += ["", *TEXTS[name].rstrip().split("\n")]
        if functions:
            lines.append("")
        lines.extend(statements)
        if own_name and own_name[1] in functions:  # a function inside must not carry the name of the one around it
            renamed = (re.sub(rf"\b{own_name[1]}\(", f"inner_{own_name[1]}(", line) for line in lines[1:])
            lines = [lines[0], *renamed]
    body = indent("\n".join(lines), "    ")
    header = "".join(f"{line}\n" for line in sorted(imports, key=lambda line: (line.startswith("from"), line)))
    return f"{header}\n\n{signature.strip()}\n{body}\n" if header else f"{signature.strip()}\n{body}\n"


def _dissolved(statements: Sequence[str], functions: Iterable[str]) -> list[str] | None:
    """Return the body of the one inner function when all that is done is to call it with names; None otherwise.

    Its parameters take the arguments' names, unless one of those already means something in it.
    """
    [*names] = functions
    call = _CALL.fullmatch(statements[0]) if len(statements) == 1 and len(names) == 1 else None
    if call is None or call[1] != names[0]:
        return None
    head, *body = TEXTS[names[0]].rstrip().split("\n")
    arguments = [one.strip() for one in call[2].split(",")]
    parameters = [one.strip() for one in head[head.index("(") + 1 : head.rindex(")")].split(",")]
    text = dedent("\n".join(body))
    taken = set(_WORD.findall(text)) - set(parameters)
    if len(set(arguments)) != len(parameters) or names[0] in taken or taken & set(arguments):
        return None
    renamed = dict(zip(parameters, arguments, strict=True))
    return _WORD.sub(lambda word: renamed.get(word[0], word[0]), text).split("\n")


def summary(requirements: str) -> str:
    """Return the first sentence of the prose, fit for a docstring on one line."""
    text = " ".join(requirements.split()).replace("\\", "/").replace('"', "'")
    sentence = _SENTENCE.split(text, maxsplit=1)[0] if text else "Do what the examples show."
    limit = _LONGEST_LINE - 4 - 6
    if len(sentence) > limit:
        sentence = sentence[: limit - 1].rsplit(" ", 1)[0].rstrip(",;:") + "…"
    return sentence
