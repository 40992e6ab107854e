"""What a JSON value from outside may look like, beyond what its schema says."""

from typing import Any, Final

from grace_common.contract.envelope import MAX_DEPTH

_ESCAPED_NUL: Final = b"\\u0000"


def fault(text: bytes, value: Any) -> str | None:
    """Return what is wrong with a JSON value, None when nothing is.

    text  the bytes that `value` was read from: few brackets and no escaped NUL let nearly every value pass unwalked
    """
    if sum(map(text.count, (b"{", b"["))) > MAX_DEPTH and deeper_than(value, MAX_DEPTH):
        return f"it is nested deeper than {MAX_DEPTH} levels"
    if _ESCAPED_NUL in text and _holds_nul(value):
        return "it contains a NUL character, which PostgreSQL's text cannot hold"
    return None


def deeper_than(value: object, limit: int) -> bool:
    """Return whether a JSON value has more than `limit` levels of objects and lists."""
    level = [value]
    for _ in range(limit):
        level = [
            child
            for item in level
            if isinstance(item, dict | list)
            for child in (item.values() if isinstance(item, dict) else item)
        ]
        if not level:
            return False
    return any(isinstance(item, dict | list) for item in level)


def _holds_nul(value: object) -> bool:
    """Return whether a text anywhere in a value holds a NUL; the value is not deep, so recursion ends soon."""
    if isinstance(value, str):
        return "\0" in value
    if isinstance(value, dict):
        return any(_holds_nul(item) for pair in value.items() for item in pair)
    return isinstance(value, list) and any(map(_holds_nul, value))
