"""The execution matrix: every candidate of a round against every probe, as small classes of equal outputs."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from grace_common.contract.events.candidate import Probe, ProbeKind

from grace_code_gen.domain.report import ProbeResult

RIGHT: Final = 0  # the output class of a probe whose right answer is known
WRONG: Final = 1
ERROR: Final = -1
LIMIT: Final = -2
MAX_MATRIX_BYTES: Final = 16 * 1024
MAX_LABEL: Final = 80


@dataclass(frozen=True, slots=True)
class Question:
    """One probe before it is put: its id, its kind, and in words what is asked."""

    id: str
    kind: ProbeKind
    label: str


@dataclass(frozen=True, slots=True)
class ExecutionMatrix:
    """`rows[c][p]` is the output class of candidate c at probe p.

    Classes count per probe. Of an example or a test every output that passes is class RIGHT, and different outputs that
    fail are different classes from WRONG on; of a generated probe classes count from 0 in order of appearance. ERROR is
    an exception or a death, LIMIT time or memory exceeded.
    """

    probes: tuple[Probe, ...]
    rows: tuple[tuple[int, ...], ...]


def execution_matrix(questions: Sequence[Question], results: Sequence[Sequence[ProbeResult]]) -> ExecutionMatrix:
    """Return the matrix of one round; a candidate's results are in the questions' order, or empty if it never ran."""
    columns = [
        _classes(question, [row[number] if row else None for row in results])
        for number, question in enumerate(questions)
    ]
    rows = tuple(tuple(column[candidate] for column in columns) for candidate in range(len(results)))
    # Labels share what the numbers leave of the matrix's bytes.
    numbers = sum(len(f"{output},") for row in rows for output in row) + 90 * len(questions)
    room = (MAX_MATRIX_BYTES - numbers) // max(1, len(questions))
    return ExecutionMatrix(tuple(_probe(question, max(0, min(MAX_LABEL, room))) for question in questions), rows)


def _probe(question: Question, room: int) -> Probe:
    label = ascii(question.label)[1:-1]
    label = label if len(label) <= room else label[: max(0, room - 3)] + "..."
    return Probe(id=question.id, kind=question.kind, label=label, expected=_right(question))


def _right(question: Question) -> int | None:
    return RIGHT if question.kind in ("example", "test") else None  # what a model wrote may itself be wrong


def _classes(question: Question, results: Sequence[ProbeResult | None]) -> list[int]:
    first = 0 if question.kind == "generated" else WRONG
    classes: dict[str, int] = {}
    column = []
    for result in results:
        if result is None or result.verdict == "error":
            column.append(ERROR)
        elif result.verdict in ("timeout", "memory"):
            column.append(LIMIT)
        elif result.verdict == "passed":
            column.append(RIGHT)
        else:
            column.append(classes.setdefault(result.digest or "", len(classes) + first))
    return column
