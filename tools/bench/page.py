"""docs/benchmarks.md: its part by `make bench`, and the part on growth, which takes longer and is written by itself."""

import os
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
FILE: Final = ROOT / "docs" / "benchmarks.md"
BENCH: Final = "# Benchmarks"
GROWTH: Final = "## Growth"


def write_part(heading: str, text: str) -> None:
    """Replace the part under a heading, BENCH or GROWTH, and keep the other."""
    bench, mark, growth = (FILE.read_text() if FILE.exists() else "").partition(f"{GROWTH}\n")
    parts = {BENCH: bench, GROWTH: mark + growth} | {heading: text}
    FILE.parent.mkdir(exist_ok=True)
    FILE.write_text("\n\n".join(part.strip() for part in parts.values() if part.strip()) + "\n")


def machine() -> str:
    """Say what was measured on."""
    model = next(
        (line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line),
        platform.machine(),
    )
    return f"{os.cpu_count()} cores ({model}), Python {platform.python_version()}"


def packages() -> str:
    """Say which packages have a part in it."""
    names = ("faststream", "aiokafka", "pydantic", "sqlalchemy", "asyncpg")
    return ", ".join(f"{name} {version(name)}" for name in names)
