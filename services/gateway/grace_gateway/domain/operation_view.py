"""What the API shows of an operation: key generated, started, what it touched, how it ended, and the proof of each."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

KEY_TYPES: Final = ("cryptographic_key_generated", "grace.operation-key-generated.v1")


def operation_view(operation: Mapping[str, Any] | None, entries: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """Return an operation with its ledger entries, oldest first; None when nobody knows anything of it.

    An operation whose facts are sealed but not yet in the read model is shown by its entries alone.
    """
    if operation is None and not entries:
        return None
    known = dict(operation) if operation is not None else {"id": entries[0]["operation_id"], "outcome": None}
    ordered = sorted(entries, key=lambda entry: entry["index"])
    key = next((entry for entry in ordered if entry["entry_type"] in KEY_TYPES), None)
    return {**known, "key_generated": key, "ledger_entries": ordered}
