"""The peers that come from the Go module registry: Tessera's POSIX log, and Go's own client for logs like ours."""

import shutil
import subprocess
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from tools.bench.page import ROOT

BATCHES: Final = (256, 1024, 4096)
ENTRIES: Final = 40_960  # a whole number of each batch
ENTRY_BYTES: Final = 1024
MODULE: Final = ROOT / "tests" / "interop" / "go"
USUAL_PLACE: Final = "/usr/local/go/bin/go"  # where Go's own installer puts it, often without a place in PATH


class Peers:
    """The built programs of tests/interop/go.

    raises  SystemExit where Go is missing, or its modules cannot be had
    """

    def __init__(self, folder: Path) -> None:
        go = shutil.which("go") or shutil.which(USUAL_PLACE)
        if go is None:
            raise SystemExit(
                "make bench measures its peers in the same run and needs Go 1.24 or later for them: install it from "
                "your system's packages (golang-go or golang) or from the Go project's own archive, and try again"
            )
        command = [go, "build", "-buildvcs=false", "-o", f"{folder}/", "./..."]
        built = subprocess.run(command, cwd=MODULE, capture_output=True, text=True, check=False)
        if built.returncode != 0:
            raise SystemExit(f"the peers in {MODULE.relative_to(ROOT)} cannot be built:\n{built.stderr}")
        self._folder = folder

    def tessera(self, disk: Path) -> dict[int, float]:
        """Return entries a second for each size of batch, of a new POSIX log on the disk of this folder."""
        rates = {}
        for batch in BATCHES:
            with TemporaryDirectory(prefix="tessera-", dir=disk) as folder:
                words = [f"{self._folder}/appender", f"{folder}/log", str(ENTRIES), str(ENTRY_BYTES), str(batch)]
                rates[batch] = float(subprocess.run(words, capture_output=True, text=True, check=True).stdout)
        return rates

    def accept(self, log: Path) -> float:
        """Return the seconds in which Go's sumdb packages verify all of a log."""
        return _seconds(self._folder / "interop", log)

    def fsck(self, log: Path) -> float:
        """Return the seconds in which Tessera's fsck verifies all of a log, on all cores."""
        return _seconds(self._folder / "fsck", log)


def _seconds(program: Path, log: Path) -> float:
    started = time.perf_counter()
    subprocess.run([program, log], capture_output=True, check=True)
    return time.perf_counter() - started
