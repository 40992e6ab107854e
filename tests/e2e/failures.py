"""Keeping the logs of a Grace with which a test failed: the folder that they lie in goes with the session."""

import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from grace_cli.stack.home import FOLDER, Home
from grace_cli.stack.lifecycle import FAILED_TESTS

_ROOT = Path(__file__).parents[2]


def keep_logs(home: Home, name: str, root: Path = _ROOT) -> Path:
    """Copy a Grace's logs to a folder of this name, in place of what was kept there before, and return it."""
    kept = root / FOLDER / FAILED_TESTS / re.sub(r"[^\w.-]+", "-", name).strip("-")
    shutil.rmtree(kept, ignore_errors=True)
    shutil.copytree(home.logs, kept)
    return kept


def keep_logs_of(test: str, fixtures: Mapping[str, Any], report: pytest.TestReport, root: Path = _ROOT) -> None:
    """Keep the logs of every Grace that is among a failed test's fixtures, and say in its report where."""
    homes = {stack.home for stack in fixtures.values() if isinstance(getattr(stack, "home", None), Home)}
    for number, home in enumerate(sorted(homes, key=str)):
        kept = keep_logs(home, test if number == 0 else f"{test}-{number}", root)
        report.sections.append(("The logs of Grace are kept in", str(kept)))
