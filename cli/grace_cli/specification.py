"""What is to be written, as a person types it: requirements, examples as `args => expected`, files."""

import ast
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from grace_cli.errors import CliError, Exit

ARROW: Final = "=>"
FIELDS: Final = (
    "requirements",
    "language",
    "entry_point",
    "signature",
    "examples",
    "tests",
    "mode",
    "candidates",
    "deadline_s",
)
KEPT_HERE: Final = ("id", "check")  # of a task file: a name for people, and the hidden check that Grace never sees


def read_example(line: str) -> dict[str, Any]:
    """Return the example that a line such as `[1, 2], 3 => 4` states; values are Python or JSON literals.

    raises  CliError for a line that states none
    """
    parts = line.split(ARROW)
    for split in range(1, len(parts)):  # an arrow may stand inside a string
        left, right = ARROW.join(parts[:split]).strip(), ARROW.join(parts[split:]).strip()
        try:
            return {"args": _values(left), "expected": _only(_values(right))}
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            continue
    raise CliError(
        f"{line.strip()[:100]!r} is no example",
        "write the arguments, an arrow and the result as literals: '[1, 2], 3 => 4' or '\"abc\" => \"cba\"'",
        Exit.USAGE,
    )


def read_examples(path: Path) -> list[dict[str, Any]]:
    """Return the examples of a file: a JSON array of {args, expected}, or one `args => expected` per line."""
    text = read_text(path)
    if text.lstrip().startswith("["):
        try:
            listed = json.loads(text)
        except ValueError:
            listed = None  # lines of examples may begin with a bracket, too
        if isinstance(listed, list):
            return [_checked(one, path) for one in listed]
    lines = (line.strip() for line in text.splitlines())
    return [read_example(line) for line in lines if line and not line.startswith("#")]


def read_task(path: Path) -> dict[str, Any]:
    """Return the request in a task file; what is not for Grace (`id`, `check`) is left out.

    raises  CliError for a file that is no task
    """
    try:
        content = json.loads(read_text(path))
    except ValueError as error:
        raise CliError(f"{path} is not JSON: {error}", "", Exit.USAGE) from error
    if not isinstance(content, dict) or "requirements" not in content:
        raise CliError(f"{path} is no task", "expected an object with `requirements`", Exit.USAGE)
    strangers = sorted(set(content) - {*FIELDS, *KEPT_HERE})
    if strangers:
        raise CliError(
            f"{path} has unknown fields: {', '.join(strangers)}", f"known are {', '.join(FIELDS)}", Exit.USAGE
        )
    return request_of(content)


def request_of(task: dict[str, Any]) -> dict[str, Any]:
    """Return the part of a task that is sent to Grace."""
    return {name: value for name, value in task.items() if name in FIELDS}


def read_text(path: Path) -> str:
    """Return a file's text; raises CliError when it cannot be read."""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CliError(f"{path} cannot be read: {error}", "is the path right?", Exit.USAGE) from error


def _checked(one: Any, path: Path) -> dict[str, Any]:
    if not isinstance(one, dict) or set(one) != {"args", "expected"} or not isinstance(one["args"], list):
        raise CliError(f"{path}: {str(one)[:100]} is no example", 'expected {"args": […], "expected": …}', Exit.USAGE)
    return one


def _values(text: str) -> list[Any]:
    """Return the values of a comma-separated row of literals."""
    try:
        row: list[Any] = json.loads(f"[{text}]")
    except ValueError:
        literal = ast.literal_eval(f"({text},)" if text else "()")
        row = [_plain(value) for value in literal]
    return row


def _plain(value: Any) -> Any:
    """Return a literal as JSON carries it; TypeError for sets, bytes and the like."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        return {key: _plain(one) for key, one in value.items()}
    raise TypeError(f"{type(value).__name__} has no JSON form")


def _only(values: Iterable[Any]) -> Any:
    (value,) = values
    return value
