"""The key directory in receipts, as both verifiers judge it: who signed it, what it lists, and when keys ended."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

import orjson
import pytest
from grace_common.testing.ledger import EXPIRY, TIME, MemoryLedger, SeededKey
from grace_common.transparency.directory import PAYLOAD_TYPE, DirectoryKey, KeyDirectory, digest_of
from grace_common.transparency.dsse import sign_envelope
from grace_common.transparency.receipt import make_receipt, verify_receipt

from .test_verifiers import VECTORS, Case, changed, places, stand_alone, vector

EARLIER: Final = "2026-11-21T00:00:00Z"
LATER: Final = "2026-11-23T00:00:00Z"
ROOT: Final = SeededKey("root")


def listing(
    ledger: MemoryLedger, *signed: bytes, subjects: tuple[str, ...] = ("1",), root: bytes | None = None
) -> Case:
    """A receipt whose every signature and proof is right, with these signed directories in it, of these versions."""
    delivered = ledger.deliver()
    entries = delivered.receipt.entries
    indices = [entry.index for entry in entries]
    payloads = {entry.index: entry.payload for entry in entries if entry.payload is not None}
    for one, subject in zip(signed, subjects, strict=True):
        announced, stated = ledger.state_directory(one, subject)
        indices.append(announced)
        payloads[stated] = one
    note, keys = ledger.log.publish(), [ledger.ca.public_key]
    made = make_receipt(
        "double.py", delivered.artifact, indices, ledger.log.tree(), note, keys, payloads, int(subjects[-1])
    )
    return Case("", "", made.encode(), delivered.artifact, delivered.log_vkey, root)


def judged(case: Case) -> str | None:
    """Why Grace's own verifier refuses it, None when it accepts it; the other one must agree."""
    refusal, (other,) = case.refusal(), stand_alone([case])
    assert (refusal is None) == (other is None), f"{refusal!r} and {other!r}"
    return refusal


def signed(directory: KeyDirectory, *roots: SeededKey) -> bytes:
    return MemoryLedger.sign_directory(directory, *(roots or (ROOT,)))


def with_key(directory: KeyDirectory, purpose: str, **change: Any) -> KeyDirectory:
    keys = tuple(replace(key, **change) if key.purpose == purpose else key for key in directory.keys)
    return replace(directory, keys=keys)


def test_a_receipt_says_which_version_stands_behind_its_keys_and_who_signed_it() -> None:
    receipt, artifact, vkey = vector("listed")
    plain = verify_receipt(receipt, artifact, vkey).sentences
    pinned = verify_receipt(receipt, artifact, vkey, root_key=ROOT.public_key).sentences

    said = (
        f"Version 1 of the key directory of example, issued at {TIME} and entry 311 of the log, lists all these keys; "
    )
    said += f"the root {ROOT.key_id} signed it, which "
    assert said + "nobody vouches for but the log." in plain
    assert said + "is the one you named or follows from it." in pinned
    without = verify_receipt(*vector("authored")).sentences
    assert "No version of the key directory stands behind these keys: the log alone vouches for them." in without


@pytest.mark.parametrize("name", ["listed", "succeeded"])
def test_a_root_that_the_reader_names_must_have_signed_or_be_succeeded_by_one_that_did(name: str) -> None:
    receipt, artifact, vkey = vector(name)

    def judge(root: SeededKey) -> str | None:
        return judged(Case("", "", receipt, artifact, vkey, root.public_key))

    assert judge(ROOT) is None
    assert (judge(SeededKey("another root")) is None) == (name == "succeeded")
    assert "not signed by the root that you named" in (judge(SeededKey("nobody's root")) or "")


def test_a_receipt_without_a_directory_does_not_hold_for_who_names_a_root() -> None:
    assert "shows no key directory" in (judged(Case("", "", *vector("authored"), ROOT.public_key)) or "")


@pytest.mark.parametrize("purpose", ["ca", "notary", "attestation", "log"])
def test_a_key_that_is_not_listed_is_refused(purpose: str) -> None:
    ledger = MemoryLedger()
    directory = ledger.directory()
    kept = tuple(key for key in directory.keys if key.purpose != purpose)

    assert purpose.replace("log", "log's") + " key" in (
        judged(listing(ledger, signed(replace(directory, keys=kept)))) or ""
    )


@pytest.mark.parametrize("purpose", ["ca", "notary", "attestation"])
def test_a_key_that_had_ended_signs_nothing_after_the_directory_that_says_so(purpose: str) -> None:
    before = MemoryLedger()
    assert judged(listing(before, signed(with_key(before.directory(), purpose, not_after=TIME)))) is None or (
        purpose == "notary"  # it announced the key that signs the directory's own entry, but before it
    )
    after = MemoryLedger()
    announced, stated = after.publish_key(after.notary, "notary"), []
    one = signed(with_key(after.directory(), purpose, not_after=TIME))
    stated = list(after.state_directory(one, "1"))
    delivered = after.deliver()
    entries = delivered.receipt.entries
    payloads = {entry.index: entry.payload for entry in entries if entry.payload is not None} | {stated[1]: one}
    indices = [announced, stated[0], *(entry.index for entry in entries)]
    made = make_receipt(
        "double.py",
        delivered.artifact,
        indices,
        after.log.tree(),
        after.log.publish(),
        [after.ca.public_key],
        payloads,
        1,
    )

    refusal = judged(Case("", "", made.encode(), delivered.artifact, delivered.log_vkey))

    assert f"the {purpose} key" in (refusal or "")
    assert "after version 1 of the key directory had ended it" in (refusal or "")


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"not_after": TIME}, "in use at"),
        ({"not_before": LATER}, "in use at"),
        ({"name": "log.example/other"}, "in use at"),
        ({"public_key": SeededKey("x").public_key}, "in use at"),
        ({"not_after": LATER}, None),
    ],
)
def test_the_logs_key_must_be_in_use(change: dict[str, Any], why: str | None) -> None:
    ledger = MemoryLedger()

    refusal = judged(listing(ledger, signed(with_key(ledger.directory(), "log", **change))))

    assert why is None if refusal is None else why is not None and why in refusal


def test_a_directory_that_had_expired_stands_behind_nothing() -> None:
    ledger = MemoryLedger()
    old = replace(ledger.directory(), issued=EARLIER, expires=TIME)

    assert "expired at" in (judged(listing(ledger, signed(old))) or "")


@pytest.mark.parametrize(
    ("subjects", "roots", "why"),
    [
        (("2",), (ROOT,), "not the next shown"),
        (("1",), (SeededKey("x"),), "not signed by|none of which is known"),
        (("1",), (ROOT, SeededKey("x")), None),
    ],
)
def test_the_entry_names_the_version_and_the_root_signed_it(
    subjects: tuple[str, ...], roots: tuple[SeededKey, ...], why: str | None
) -> None:
    ledger = MemoryLedger()

    refusal = judged(listing(ledger, signed(ledger.directory(), *roots), subjects=subjects))

    assert (refusal is None) == (why is None)


@pytest.mark.parametrize("order", [(1, 2, 3), (1, 3), (2, 3), (3,), (2, 1), (1, 1)])
def test_a_new_root_counts_where_the_old_one_signed(order: tuple[int, ...]) -> None:
    ledger, new = MemoryLedger(), SeededKey("another root")
    first = ledger.directory()
    second = replace(first, version=2, previous=digest_of(signed(first)), root=new.public_key)
    third = replace(second, version=3, previous=digest_of(signed(second, ROOT, new)))
    files = {1: signed(first), 2: signed(second, ROOT, new), 3: signed(third, new)}
    subjects = tuple(map(str, order))

    case = listing(ledger, *(files[number] for number in order), subjects=subjects)
    outcomes = [judged(replace(case, root=root)) is None for root in (None, ROOT.public_key, new.public_key)]

    # Version 3 does not follow from version 1 without version 2 between them, which both roots signed.
    assert (
        outcomes
        == {
            (1, 2, 3): [True, True, True],
            (1, 3): [False, False, True],
            (2, 3): [True, True, True],
            (3,): [True, False, True],
            (2, 1): [False, False, False],
            (1, 1): [False, False, False],
        }[order]
    )


def test_both_verifiers_read_directories_alike() -> None:
    sound = json.loads(MemoryLedger().directory().encode())
    wrongs = (None, 0, 2, "", "x", EXPIRY, EARLIER, "2026-02-30T00:00:00Z", "2026-11-22 00:00:00Z", [], {}, True)

    def put(wrong: Any) -> Callable[[Any, Any], object]:
        return lambda container, key: container.__setitem__(key, wrong)

    spoiled = [
        changed(sound, path, change)
        for path, _ in places(sound)
        if path
        for change in (*(put(wrong) for wrong in wrongs), lambda container, key: container.pop(key))
    ]
    key = DirectoryKey("notary", MemoryLedger().notary.public_key, TIME).as_object()
    spoiled += [orjson.dumps({**sound, "keys": [*sound["keys"], key]}), orjson.dumps({**sound, "more": 1}), b"{}", b"x"]
    cases = []
    for payload in (orjson.dumps(sound), *spoiled):
        envelope = sign_envelope(PAYLOAD_TYPE, payload, ROOT.key_id, ROOT.sign).encode()
        cases.append(listing(MemoryLedger(), envelope))
    typed = sign_envelope("application/json", orjson.dumps(sound), ROOT.key_id, ROOT.sign).encode()
    cases.append(listing(MemoryLedger(), typed))

    refusals = [case.refusal() for case in cases]
    others = stand_alone(cases)

    assert (refusals[0], others[0]) == (None, None)
    for case, payload, refusal, other in zip(cases, (b"", *spoiled, b""), refusals, others, strict=True):
        assert (refusal is None) == (other is None), f"{case.change} {payload!r}: {refusal!r} and {other!r}"
    assert sum(refusal is None for refusal in refusals) == 27  # other names, and other times that leave it in force


def test_the_vectors_of_the_first_format_name_no_directory() -> None:
    formats = {
        name: json.loads(vector(name)[0])["format"]
        for name in ("authored", "reviewed", "listed", "succeeded", "overlapping")
    }

    assert formats == {
        "authored": "grace-receipt/v1",
        "reviewed": "grace-receipt/v1",
        "listed": "grace-receipt/v2",
        "succeeded": "grace-receipt/v2",
        "overlapping": "grace-receipt/v2",
    }
    assert len(list(VECTORS.glob("*.vkey"))) >= len(formats)
