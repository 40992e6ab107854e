"""What remains of a fact whose content an entry of the ledger redacts: its shape, its ids and digests, no words."""

import re
from typing import Final

from pydantic import JsonValue

REDACTED: Final = "[redacted]"
_KEPT: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|[0-9a-f]{64}")


def blanked(value: JsonValue) -> JsonValue:
    """Return a value of the same shape, in which texts and numbers say nothing; ids and SHA-256 digests stay."""
    match value:
        case bool() | None:
            return value
        case str():
            return value if _KEPT.fullmatch(value) else REDACTED
        case int() | float():
            return 0
        case list():
            return [blanked(item) for item in value]
        case dict():
            return {name: blanked(item) for name, item in value.items()}
