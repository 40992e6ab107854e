"""Entries of the ledger on their way: stated, then signed, then packed into records of `grace.signature.v1`.

What one key has to sign is signed together: the key of an operation its facts, the notary's key the keys it announces.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple
from uuid import NAMESPACE_URL, UUID, uuid5

import orjson
from grace_common.contract import topics
from grace_common.contract.envelope import MAX_ENVELOPE_BYTES
from grace_common.contract.events.signature import EntriesNotarized
from grace_common.transparency.statement import Statement, sign_statements

from grace_crypto_signer.domain.keyring import SigningKey

MOST_SIGNED_TOGETHER: Final = 16  # each carries ⌈log2⌉ of it hashes of 32 bytes: here four, for a sixteenth of the work
_ROOM: Final = MAX_ENVELOPE_BYTES - 2048  # for the entries; the attributes around them need less than the rest
_OPERATION: Final = uuid5(NAMESPACE_URL, f"grace-notary:{topics.CRYPTO_SIGNER}")  # the one that notarising is
_DATASCHEMA: Final = f"urn:grace:schema:{EntriesNotarized.schema_name()}"


class Draft(NamedTuple):
    """An entry whose leaf is still to be signed.

    statement, signing  what its leaf says and whose key signs it; None where `members` has the leaf already
    members             the members of `NotarizedEntry`, as JSON takes them
    """

    statement: Statement | None
    signing: SigningKey | None
    members: dict[str, Any]


def groups(drafts: Sequence[Draft]) -> Iterator[Sequence[Draft]]:
    """Yield the drafts that one key signs together, of all that are not signed yet."""
    by_key: dict[str, list[Draft]] = {}
    for draft in drafts:
        if draft.signing is not None:
            group = by_key.setdefault(draft.signing.key_id, [])
            group.append(draft)
            if len(group) == MOST_SIGNED_TOGETHER:
                yield by_key.pop(draft.signing.key_id)
    yield from by_key.values()


def sign(group: Sequence[Draft]) -> None:
    """Give each draft of one key its leaf."""
    signing = group[0].signing
    statements = [draft.statement for draft in group if draft.statement is not None]
    if signing is None or len(statements) != len(group):
        raise TypeError("these drafts are signed already, or say nothing")
    leaves = sign_statements(statements, signing.key_id, signing.sign)
    for draft, leaf in zip(group, leaves, strict=True):
        draft.members["leaf"] = leaf.decode()


def records(drafts: Sequence[Draft]) -> list[bytes]:
    """Return signed entries, in their order, as the values of records: each an envelope's size, or a single entry."""
    packed: list[bytes] = []
    rows: list[bytes] = []
    used = first = 0
    for number, draft in enumerate(drafts):
        row = orjson.dumps(draft.members)
        if rows and used + len(row) > _ROOM:
            packed.append(_record(drafts[first:number], rows))
            rows, used, first = [], 0, number
        rows.append(row)
        used += len(row) + 1
    if rows:
        packed.append(_record(drafts[first:], rows))
    return packed


def signed(drafts: Sequence[Draft]) -> list[bytes]:
    """Sign drafts and return them as the values of records."""
    for group in groups(drafts):
        sign(group)
    return records(drafts)


def _record(drafts: Sequence[Draft], rows: Sequence[bytes]) -> bytes:
    """Return an envelope's bytes as `contract.envelope` would encode it, without the cost of its classes."""
    first, last = drafts[0].members, drafts[-1].members
    return orjson.dumps(
        {
            "specversion": "1.0",
            "id": uuid5(UUID(first["entry_id"]), f"{EntriesNotarized.TYPE}#{len(drafts)}#{last['entry_id']}"),
            "source": f"/grace/{topics.CRYPTO_SIGNER}",
            "type": EntriesNotarized.TYPE,
            "time": last["time"],
            "subject": "log",
            "datacontenttype": "application/json",
            "dataschema": _DATASCHEMA,
            "correlationid": "log",
            "operationid": _OPERATION,
            "actor": topics.CRYPTO_SIGNER,
            "data": {"entries": orjson.Fragment(b"[%b]" % b",".join(rows))},
        }
    )
