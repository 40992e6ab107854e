"""A round's evidence made small enough for an envelope: the least telling probes go first."""

from collections.abc import Callable, Sequence
from typing import Final

from grace_common.contract.events.candidate import CandidatesGenerated, Row

MOST_BYTES: Final = 44 * 1024  # an envelope takes 48 KiB with its attributes
MOST_CANDIDATES: Final = 48  # with as many, everything the requester may give fits beside them
MOST_NOTES: Final = 12
MOST_NOTE: Final = 300  # characters


def fitted(event: CandidatesGenerated) -> CandidatesGenerated:
    """Return the event with as many probes as an envelope holds.

    Dropped are probes that nobody vouches for: first inputs at which all candidates agree, then inputs, then tests that
    a generator wrote, each from the last. What the requester gave always stays, and every report keeps all its results.
    """
    event = event.model_copy(update={"notes": noted(event.notes)})
    if _size(event) <= MOST_BYTES:
        return event
    columns = list(zip(*(row.outputs for row in event.rows), strict=True)) if event.rows else []
    order = [
        *_columns(event, "generated", lambda column: len(set(columns[column])) == 1),
        *_columns(event, "generated", lambda column: len(set(columns[column])) > 1),
        *_columns(event, "generated-test", lambda column: True),
    ]
    low, high = 0, len(order)
    while low < high:  # the fewest that must go
        middle = (low + high) // 2
        if _size(_without(event, order[:middle])) <= MOST_BYTES:
            high = middle
        else:
            low = middle + 1
    return _without(event, order[:low])


def noted(notes: Sequence[str]) -> tuple[str, ...]:
    """Return different notes, few and short enough to be read."""
    different = list(dict.fromkeys(note if len(note) <= MOST_NOTE else note[: MOST_NOTE - 1] + "…" for note in notes))
    if len(different) <= MOST_NOTES:
        return tuple(different)
    return (*different[: MOST_NOTES - 1], f"and {len(different) - MOST_NOTES + 1} more")


def _columns(event: CandidatesGenerated, kind: str, wanted: Callable[[int], bool]) -> list[int]:
    return [at for at in reversed(range(len(event.probes))) if event.probes[at].kind == kind and wanted(at)]


def _without(event: CandidatesGenerated, columns: Sequence[int]) -> CandidatesGenerated:
    gone = set(columns)
    kept = [at for at in range(len(event.probes)) if at not in gone]
    return event.model_copy(
        update={
            "probes": tuple(event.probes[at] for at in kept),
            "rows": tuple(_row(row, kept) for row in event.rows),
        }
    )


def _row(row: Row, kept: Sequence[int]) -> Row:
    return row.model_copy(update={"outputs": tuple(row.outputs[at] for at in kept)})


def _size(event: CandidatesGenerated) -> int:
    return len(event.model_dump_json().encode())
