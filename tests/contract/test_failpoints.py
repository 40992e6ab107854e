"""The list of stages and the code tell the same story, and what ships cannot kill."""

import ast
import os
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

from grace_common.runtime import failpoint
from hatchling.builders.wheel import WheelBuilder

ROOT = Path(__file__).parents[2]
LIBRARY = ROOT / "libs" / "grace_common"
SERVICE_CODE = [LIBRARY / "grace_common", *ROOT.glob("services/*/grace_*")]
ARMED = """
from pathlib import Path
from grace_common.contract.errors import Refused
from grace_common.runtime import failpoint

try:
    failpoint.arm("relay.sent", Path())
except Refused as refusal:
    print(refusal)
"""


def calls(name: str) -> Iterator[ast.Call]:
    """Every call of a function of this name in what services are made of."""
    for folder in SERVICE_CODE:
        for file in sorted(folder.rglob("*.py")):
            for node in ast.walk(ast.parse(file.read_text())):
                if isinstance(node, ast.Call):
                    called = node.func
                    if name == (called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "")):
                        yield node


def literal(node: ast.expr) -> str | None:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


def test_the_stages_are_those_that_the_code_passes() -> None:
    streams = {group for call in calls("RecordStream") if (group := literal(call.args[1])) is not None}
    consumers = streams | {part for call in calls("Commits") if (part := literal(call.args[0])) is not None}
    passed: set[str] = set()
    for call in calls("reached"):
        part, step = (literal(argument) for argument in call.args)
        assert step is not None, ast.unparse(call)
        # The runtime says for every stream, and commits for every consumer, what its own name is.
        parts = {part} if part is not None else consumers if step == "positioned" else streams
        passed |= {f"{one}.{step}" for one in parts}

    stages = (*failpoint.STAGES, *failpoint.KEY_STAGES)
    assert len(set(stages)) == len(stages)
    assert passed == set(stages)


def test_what_ships_has_no_failpoints_and_refuses_to_start_when_it_is_told_to_die(tmp_path: Path) -> None:
    wheel = Path(next(iter(WheelBuilder(str(LIBRARY)).build(directory=str(tmp_path), versions=["standard"]))))
    shipped = tmp_path / "shipped"
    with zipfile.ZipFile(wheel) as archive:
        assert not [name for name in archive.namelist() if "/testing/" in name]
        archive.extractall(shipped)

    told = subprocess.run(
        [sys.executable, "-c", ARMED],
        env=dict(os.environ) | {"PYTHONPATH": str(shipped)},
        capture_output=True,
        text=True,
    )

    assert told.stderr == ""
    assert told.stdout == (
        "GRACE_FAILPOINT is 'relay.sent', but this build has no failpoints: they are for tests alone; unset it\n"
    )
