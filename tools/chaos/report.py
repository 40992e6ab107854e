"""The table that `make chaos` prints."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(slots=True)
class Row:
    """What died: a stage's name or a victim's; `recoveries` are seconds from a death to a successor that is ready."""

    what: str
    times: int
    recoveries: list[float]


@dataclass
class Report:
    """Everything that a run found."""

    seed: int
    stages: list[Row] = field(default_factory=list)
    kills: list[Row] = field(default_factory=list)
    entries: int = 0
    acknowledged: int = 0
    lost: int = 0
    doubled: int = 0
    checkpoints: int = 0
    violations: list[str] = field(default_factory=list)
    verdicts: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def sound(self) -> bool:
        """Whether nothing was lost, doubled or inconsistent; what foreign programs refuse raises before."""
        return not (self.lost or self.doubled or self.violations)

    def text(self) -> str:
        """Return the tables and what was found, for people."""
        kills = sum(row.times for row in self.kills)
        lines = [
            *_table("died by its own hand at", self.stages),
            "",
            *_table("killed at random", self.kills),
            "",
            f"seed {self.seed} · {len(self.stages)} stages reached · {kills} random kills · {self.seconds:.0f} s",
            f"acknowledged {self.acknowledged} · lost {self.lost} · doubled {self.doubled}",
            f"entries {self.entries} · checkpoints checked {self.checkpoints} · inconsistent {len(self.violations)}",
            *self.violations,
            *self.verdicts,
        ]
        return "\n".join(lines)


def _table(title: str, rows: Sequence[Row]) -> list[str]:
    if not rows:
        return []
    width = max(len(title), *(len(row.what) for row in rows))
    lines = [f"{title:<{width}}  times  recovery: median  longest"]
    for row in rows:
        median, longest = statistics.median(row.recoveries), max(row.recoveries)
        lines.append(f"{row.what:<{width}}  {row.times:>5}  {median:>14.1f} s  {longest:>5.1f} s")
    return lines
