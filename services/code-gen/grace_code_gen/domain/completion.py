"""From a model's raw text to one function: fences, prose, trailing junk and half a last line are cut away.

What stays is the longest segment that parses and defines the entry point, and of it only what the entry point needs:
the imports, constants, classes and functions it reaches. Calls, asserts and prints beside it would run on import.
"""

import ast
import re
from collections.abc import Iterable, Iterator
from typing import Final

from grace_common.contract.python_source import parsed

MAX_COMPLETION: Final = 64_000  # characters looked at; no function worth delivering is longer
_FENCE: Final = re.compile(r"^```[^\n]*\n(.*?)(?:^```|\Z)", re.DOTALL | re.MULTILINE)
_OPENING: Final = re.compile(r"^(?:from\s+\S+\s+import\b|import\s|@|(?:async\s+)?def\s|class\s)")


def extract_code(completion: str, entry_point: str) -> str:
    """Return the source of `entry_point` with what it needs, ending in a newline; "" when the text defines none."""
    text = completion[:MAX_COMPLETION].replace("\r\n", "\n").replace("\r", "\n").replace("\t", "    ").replace("\0", "")
    for segment in _segments(text):
        module = _longest_module(segment, entry_point)
        if module is not None:
            return _needed(segment, module, entry_point)
    return ""


def _segments(text: str) -> Iterator[str]:
    """Yield where to look: every fenced block, the text itself, then the text from each line that could begin code."""
    yield from (match.group(1) for match in _FENCE.finditer(text))
    yield text
    lines = text.split("\n")
    for number, line in enumerate(lines):
        if number and _OPENING.match(line):
            yield "\n".join(lines[number:])


def _longest_module(segment: str, entry_point: str) -> ast.Module | None:
    """Return the longest prefix of whole lines that parses and defines the entry point, if any."""
    if not re.search(rf"^(?:async\s+)?def\s+{re.escape(entry_point)}\b", segment, re.MULTILINE):
        return None
    lines = segment.split("\n")
    end = len(lines)
    while end > 0:
        try:
            module = parsed("\n".join(lines[:end]))
        except SyntaxError as problem:
            # Nothing up to the offending line can be kept together with it; an unclosed bracket names its opening.
            end = min(end - 1, (problem.lineno or end) - 1 if problem.lineno != end else end - 1)
            continue
        return module if any(_defines(node, entry_point) for node in module.body) else None
    return None


def _defines(node: ast.stmt, name: str) -> bool:
    return isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name == name


def _needed(segment: str, module: ast.Module, entry_point: str) -> str:
    # Of several definitions the first counts: a model that goes on after its answer is cut off in the last one.
    first = next(node for node in module.body if _defines(node, entry_point))
    body = [node for node in module.body if _keeps(node) and (node is first or not _defines(node, entry_point))]
    wanted, taken = {entry_point, "*"}, set[int]()
    grown = True
    while grown:
        grown = False
        for index, node in enumerate(body):
            if index not in taken and wanted.intersection(_bound(node)):
                taken.add(index)
                wanted |= _read(node)
                grown = True
    lines = segment.split("\n")
    kept = [body[index] for index in sorted(taken)]
    head = "\n".join(_text(lines, node) for node in kept if _is_import(node))
    rest = "\n\n\n".join(_text(lines, node) for node in kept if not _is_import(node))
    return (head + "\n\n\n" if head else "") + rest + "\n"


def _keeps(node: ast.stmt) -> bool:
    return _is_import(node) or isinstance(
        node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Assign | ast.AnnAssign
    )


def _is_import(node: ast.stmt) -> bool:
    return isinstance(node, ast.Import | ast.ImportFrom)


def _bound(node: ast.stmt) -> Iterable[str]:
    """Return the names a top-level statement binds."""
    if isinstance(node, ast.ImportFrom) and node.module == "__future__":
        return ["*"]  # needed by whatever is kept, as is `from … import *`
    if isinstance(node, ast.Import | ast.ImportFrom):
        return [(alias.asname or alias.name).partition(".")[0] for alias in node.names]
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return [node.name]
    return [part.id for part in ast.walk(node) if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store)]


def _read(node: ast.stmt) -> set[str]:
    return {part.id for part in ast.walk(node) if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Load)}


def _text(lines: list[str], node: ast.stmt) -> str:
    decorators = getattr(node, "decorator_list", [])
    first = min([node.lineno, *(decorator.lineno for decorator in decorators)])
    text = lines[first - 1 : node.end_lineno]
    return "\n".join(line.rstrip() for line in text)
