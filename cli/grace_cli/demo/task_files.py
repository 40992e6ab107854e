"""The tasks of a demo: Grace's own ten, or those of a folder."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from grace_cli.errors import CliError, Exit
from grace_cli.specification import request_of

REQUIRED = ("id", "requirements", "entry_point", "check")


@dataclass(frozen=True, slots=True)
class DemoTask:
    """One task.

    request  what Grace is told
    check    Python text that defines check(candidate): decides at the end whether the delivered code is right, and
             is never shown to Grace
    """

    id: str
    entry_point: str
    request: dict[str, Any]
    check: str


def own_tasks() -> list[DemoTask]:
    """Return the ten tasks that come with Grace."""
    found = sorted(files("grace_cli.demo").joinpath("tasks").iterdir(), key=lambda file: file.name)
    return [_task(json.loads(file.read_text()), file.name) for file in found if file.name.endswith(".json")]


def tasks_in(folder: Path) -> list[DemoTask]:
    """Return the tasks of a folder: of every JSON file that is one, or that lists some under `tasks`.

    raises  CliError when there are none, or one is not as it must be
    """
    if not folder.is_dir():
        raise CliError(f"{folder} is no folder", "name one with JSON files of tasks", Exit.USAGE)
    found: list[DemoTask] = []
    for path in sorted(folder.glob("*.json")):
        try:
            content = json.loads(path.read_text())
        except (OSError, ValueError) as error:
            raise CliError(f"{path} cannot be read: {error}", "is it a task file?", Exit.USAGE) from error
        found += [_task(one, str(path)) for one in _listed(content)]
    if not found:
        raise CliError(f"{folder} has no tasks", f"a task is a JSON object with {', '.join(REQUIRED)}", Exit.USAGE)
    return found


def _listed(content: Any) -> Iterator[dict[str, Any]]:
    """Yield what looks like a task; other JSON files may lie beside."""
    listed = content.get("tasks", [content]) if isinstance(content, dict) else content
    for one in listed if isinstance(listed, list) else []:
        if isinstance(one, dict) and "requirements" in one:
            yield one


def _task(content: dict[str, Any], where: str) -> DemoTask:
    missing = [name for name in REQUIRED if not isinstance(content.get(name), str)]
    if missing:
        raise CliError(f"a task in {where} lacks {', '.join(missing)}", "each is a text", Exit.USAGE)
    return DemoTask(content["id"], content["entry_point"], request_of(content), content["check"])
