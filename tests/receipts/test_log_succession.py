"""Receipts across a change of the log's own key, as both verifiers judge them with the older and the newer vkey."""

from dataclasses import replace

import pytest
from grace_common.testing.ledger import TIME, MemoryLedger, SeededKey
from grace_common.transparency.directory import KeyDirectory

from .test_directories import judged, listing, signed
from .test_verifiers import Case

SUCCESSOR = SeededKey("successor")


def both(ledger: MemoryLedger) -> tuple[str, str]:
    """Let two keys sign the log; return the older vkey and the newer."""
    old = ledger.log.key
    ledger.log.succeed(SUCCESSOR)
    return str(old), str(ledger.log.key)


def ended(directory: KeyDirectory, vkey: str) -> KeyDirectory:
    """The directory when it says that this key of the log had ended by then."""
    keys = (
        replace(key, not_after=TIME) if key in directory.of("log") and str(named(key.public_key)) == vkey else key
        for key in directory.keys
    )
    return replace(directory, keys=tuple(keys))


def named(public_key: bytes) -> object:
    return replace(MemoryLedger().log.key, public_key=public_key)


def refusals(case: Case, *vkeys: str) -> list[str | None]:
    return [judged(replace(case, vkey=vkey, root=SeededKey("root").public_key)) for vkey in vkeys]


def test_a_receipt_made_before_the_change_verifies_for_ever_with_the_older_key() -> None:
    ledger = MemoryLedger()
    delivered = ledger.deliver(listed=True)
    case = Case("", "", delivered.receipt.encode(), delivered.artifact, "")
    old, new = both(ledger)

    assert refusals(case, old) == [None]
    [refusal] = refusals(case, new)
    assert "no signature by" in (refusal or "")


def test_a_receipt_made_while_both_sign_verifies_with_either() -> None:
    ledger = MemoryLedger()
    old, new = both(ledger)

    case = listing(ledger, signed(ledger.directory()))

    assert refusals(case, old, new) == [None, None]


def test_a_receipt_made_after_the_older_key_ended_verifies_with_the_newer_alone() -> None:
    ledger = MemoryLedger()
    old, new = both(ledger)
    directory = ended(ledger.directory(), old)
    ledger.log.retire()

    case = listing(ledger, signed(directory))

    assert refusals(case, new) == [None]
    [refusal] = refusals(case, old)
    assert "no signature by" in (refusal or "")


@pytest.mark.parametrize("which", ["older", "newer"])
def test_a_key_that_is_not_in_use_by_the_directory_stands_behind_nothing_though_it_signed(which: str) -> None:
    ledger = MemoryLedger()
    old, new = both(ledger)
    gone, stays = (old, new) if which == "older" else (new, old)

    case = listing(ledger, signed(ended(ledger.directory(), gone)))

    assert refusals(case, stays) == [None]
    [refusal] = refusals(case, gone)
    assert "in use at" in (refusal or "")
