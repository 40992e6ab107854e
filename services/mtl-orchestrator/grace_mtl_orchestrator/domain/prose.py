"""Keeping what is said within an envelope: texts are cut by bytes as JSON counts them, and say that they were cut."""

from collections.abc import Sequence
from typing import Final

from pydantic_core import to_json

_CUT: Final = " […]"


def size(text: str) -> int:
    """Return the bytes that the text takes as a JSON string with its comma."""
    return len(to_json(text)) + 1


def shorten(text: str, limit: int) -> str:
    """Return the text, or its beginning with a mark that more followed, in at most `limit` JSON bytes (limit ≥ 16)."""
    if size(text) <= limit:
        return text
    low, high = 0, len(text)
    while low < high:
        middle = (low + high + 1) // 2
        if size(text[:middle] + _CUT) <= limit:
            low = middle
        else:
            high = middle - 1
    return text[:low] + _CUT


def newest(texts: Sequence[str], limit: int) -> tuple[str, ...]:
    """Return the last texts that fit in `limit` JSON bytes, in their order; the very last is shortened to fit."""
    kept: list[str] = []
    left = limit
    for text in reversed(texts):
        taken = shorten(text, left) if not kept else text
        if size(taken) > left:
            break
        kept.append(taken)
        left -= size(taken)
    return tuple(reversed(kept))
