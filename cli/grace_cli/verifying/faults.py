"""What is wrong with a log, named to the entry."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

_MOST: Final = 5  # changed entries that are named one by one


@dataclass(frozen=True, slots=True, order=True)
class Fault:
    """One thing found; `index` is the entry that it is about, or the first of those that it is about."""

    index: int
    text: str


def difference(first: int, expected: Sequence[bytes], found: Sequence[bytes]) -> list[Fault]:
    """Say how entries differ from those that belong there, both given by their hashes.

    first     index of the first entry
    expected  the hashes that the tree holds
    found     the hashes of the entries that stand there
    """
    unequal = [at for at, (left, right) in enumerate(zip(expected, found, strict=False)) if left != right]
    if not unequal:
        at = min(len(expected), len(found))
        if len(found) < len(expected):
            return [Fault(first + at, f"entry {first + at} and what follows it in its bundle are missing")]
        return [Fault(first + at, f"an entry was added after entry {first + at - 1}")]
    at = unequal[0]
    if len(unequal) == 2 and sorted(found) == sorted(expected):
        return [Fault(first + at, f"entries {first + at} and {first + unequal[1]} were exchanged")]
    if _alike(found[at:], expected[at + 1 :]):
        return [Fault(first + at, f"entry {first + at} is missing; those after it moved up")]
    if _alike(found[at + 1 :], expected[at:]):
        return [Fault(first + at, f"an entry was inserted before entry {first + at}")]
    if len(unequal) > _MOST:
        end = first + unequal[-1]
        return [Fault(first + at, f"{len(unequal)} entries from {first + at} to {end} are not those in the tree")]
    return [Fault(first + at, f"entry {first + at} is not the one in the tree: it was changed") for at in unequal]


def _alike(moved: Sequence[bytes], expected: Sequence[bytes]) -> bool:
    """Return whether one run begins as the other, and they have enough in common for that to say something."""
    common = min(len(moved), len(expected))
    return common > 0 and list(moved[:common]) == list(expected[:common])
