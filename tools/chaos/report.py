"""The table that `make chaos` prints."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field

from grace_common.transparency.note import VerifierKey


@dataclass(slots=True)
class Row:
    """What died: a stage's name or a victim's; `recoveries` are seconds from a death to a successor that is ready."""

    what: str
    times: int
    recoveries: list[float]


@dataclass(slots=True)
class Change:
    """How often the keys of a level were changed, and what became of the commands.

    cut    how often one was cut short
    again  how often one was given again because it was refused for a reason that passes
    """

    level: str
    times: int = 0
    cut: int = 0
    again: int = 0


@dataclass
class Report:
    """Everything that a run found.

    log_keys  that signed the log, the newest first
    """

    seed: int
    stages: list[Row] = field(default_factory=list)
    kills: list[Row] = field(default_factory=list)
    changes: list[Change] = field(default_factory=list)
    entries: int = 0
    acknowledged: int = 0
    lost: int = 0
    doubled: int = 0
    checkpoints: int = 0
    violations: list[str] = field(default_factory=list)
    log_keys: tuple[VerifierKey, ...] = ()
    verdicts: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def sound(self) -> bool:
        """Whether nothing was lost, doubled or inconsistent; what foreign programs refuse raises before."""
        return not (self.lost or self.doubled or self.violations)

    def text(self) -> str:
        """Return the tables and what was found, for people."""
        kills = sum(row.times for row in self.kills)
        changes = sum(row.times for row in self.changes)
        lines = [
            *_table("died by its own hand at", self.stages),
            "",
            *_table("killed at random", self.kills),
            "",
            *_changed(self.changes),
            "",
            f"seed {self.seed} · {len(self.stages)} stages reached · {kills} random kills · "
            f"{changes} changes of keys · {self.seconds:.0f} s",
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


def _changed(rows: Sequence[Change]) -> list[str]:
    if not rows:
        return []
    lines = ["keys changed   times  cut short  not ready"]
    return lines + [f"{row.level:<13}  {row.times:>5}  {row.cut:>9}  {row.again:>9}" for row in rows]
