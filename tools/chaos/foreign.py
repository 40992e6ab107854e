"""Programs that know nothing of Grace and judge an exported log: those of tests/interop, built with Go."""

import shutil
import subprocess
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from tempfile import mkdtemp
from typing import Final

PROGRAMS: Final = Path(__file__).parents[2] / "tests" / "interop" / "go"
_USUAL_PLACE: Final = "/usr/local/go/bin/go"  # where Go's own installer puts it, often without a place in PATH


def judges() -> Iterator[Callable[[Path], str]]:
    """Build the programs and yield each; called with a log's folder it returns what it says.

    raises  RuntimeError when Go is missing, or a program does not build or refuses the log
    """
    go = shutil.which("go") or shutil.which(_USUAL_PLACE)
    if go is None:
        raise RuntimeError("foreign programs judge the log in the end: install Go 1.24 or later")
    folder = Path(mkdtemp(prefix="grace-judges-"))
    try:
        _run([go, "build", "-buildvcs=false", "-o", f"{folder}/", ".", "./fsck"], PROGRAMS)
        for program in sorted(folder.iterdir()):
            yield partial(_judge, program)
    finally:
        shutil.rmtree(folder)


def _judge(program: Path, log: Path) -> str:
    return f"{program.name}: {_run([str(program), str(log)], log)}"


def _run(arguments: list[str], folder: Path) -> str:
    done = subprocess.run(arguments, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(arguments)}: {done.stderr or done.stdout}")
    return " ".join(done.stdout.split())
