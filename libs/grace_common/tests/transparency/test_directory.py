"""The public key directory: signed by the root, version after version, none left out, none for ever."""

from base64 import b64decode
from dataclasses import replace
from datetime import UTC, datetime

import orjson
import pytest
from grace_common.contract.errors import Refused
from grace_common.testing.ledger import SeededKey
from grace_common.transparency.directory import (
    PAYLOAD_TYPE,
    DirectoryExpired,
    DirectoryKey,
    KeyDirectory,
    digest_of,
    follow,
    open_directory,
    sign_directory,
)
from grace_common.transparency.dsse import sign_envelope
from grace_common.transparency.ed25519 import SignatureInvalid
from grace_common.transparency.strict import Malformed

ROOT, NEW_ROOT, OTHER = SeededKey("root"), SeededKey("new root"), SeededKey("other")
BEGIN, ROTATED, END = "2026-11-22T00:00:00+00:00", "2026-12-01T00:00:00+00:00", "2027-11-22T00:00:00+00:00"
CA = DirectoryKey("ca", SeededKey("ca").public_key, BEGIN)
NOTARY = DirectoryKey("notary", SeededKey("notary").public_key, BEGIN)
NEXT_NOTARY = DirectoryKey("notary", SeededKey("next notary").public_key, ROTATED)
LOG = DirectoryKey("log", SeededKey("log").public_key, BEGIN, name="grace.local/log")
FIRST = KeyDirectory(1, "grace.local", BEGIN, END, ROOT.public_key, None, (CA, NOTARY))


def signed(directory: KeyDirectory, *keys: SeededKey) -> bytes:
    return sign_directory(directory, [(key.key_id, key.sign) for key in keys or (ROOT,)])


SIGNED = signed(FIRST)
SECOND = replace(
    FIRST,
    version=2,
    previous=digest_of(SIGNED),
    issued=ROTATED,
    keys=(CA, replace(NOTARY, not_after=ROTATED), NEXT_NOTARY, LOG),
)


def test_a_directory_is_what_was_signed() -> None:
    assert open_directory(SIGNED, ROOT.public_key) == FIRST
    assert open_directory(signed(SECOND), ROOT.public_key) == SECOND
    assert KeyDirectory.parse(SECOND.encode()) == SECOND


def test_only_the_root_signs() -> None:
    with pytest.raises(SignatureInvalid):
        open_directory(signed(FIRST, OTHER), ROOT.public_key)
    with pytest.raises(SignatureInvalid):
        open_directory(SIGNED, OTHER.public_key)
    foreign = sign_envelope("text/plain", FIRST.encode(), ROOT.key_id, ROOT.sign).encode()
    with pytest.raises(Malformed, match="no key directory"):
        open_directory(foreign, ROOT.public_key)


def test_every_changed_byte_of_the_payload_is_found() -> None:
    envelope = orjson.loads(SIGNED)
    payload = b64decode(envelope["payload"])
    for at in range(0, len(payload), 7):
        changed = payload[:at] + bytes([payload[at] ^ 1]) + payload[at + 1 :]
        forged = sign_envelope(PAYLOAD_TYPE, changed, ROOT.key_id, lambda _: b"").as_object()
        forged["signatures"] = envelope["signatures"]
        with pytest.raises(Refused):
            open_directory(orjson.dumps(forged), ROOT.public_key)


def test_keys_are_found_by_purpose_and_time() -> None:
    before, after = datetime(2026, 11, 25, tzinfo=UTC), datetime(2026, 12, 2, tzinfo=UTC)

    assert SECOND.of("notary", before) == [replace(NOTARY, not_after=ROTATED)]
    assert SECOND.of("notary", after) == [NEXT_NOTARY]
    assert len(SECOND.of("notary")) == 2
    assert SECOND.of("ca", datetime(2020, 1, 1, tzinfo=UTC)) == []


def test_an_expired_directory_is_refused() -> None:
    FIRST.require_current(datetime(2027, 11, 21, tzinfo=UTC))
    with pytest.raises(DirectoryExpired, match="version 1 of the key directory expired at 2027-11-22"):
        FIRST.require_current(datetime(2027, 11, 22, tzinfo=UTC))


def test_a_reader_follows_from_version_to_version() -> None:
    assert follow(SIGNED, ROOT.public_key, []) == FIRST
    assert follow(SIGNED, ROOT.public_key, [signed(SECOND)]) == SECOND


@pytest.mark.parametrize(
    ("newer", "why"),
    [
        (replace(SECOND, version=3), "version 3 of the key directory does not follow version 1"),
        (replace(SECOND, previous="00" * 32), "does not follow"),
        (replace(SECOND, keys=(CA, LOG)), "drops or changes"),
        (replace(SECOND, keys=(replace(CA, not_before=ROTATED), NOTARY)), "drops or changes"),
        (replace(SECOND, trust_domain="elsewhere"), "drops or changes"),
    ],
)
def test_a_version_that_does_not_continue_the_one_before_is_refused(newer: KeyDirectory, why: str) -> None:
    with pytest.raises(Refused, match=why):
        follow(SIGNED, ROOT.public_key, [signed(newer)])


def test_a_new_root_counts_when_the_old_one_has_signed_as_well() -> None:
    moved = replace(SECOND, root=NEW_ROOT.public_key)

    assert follow(SIGNED, ROOT.public_key, [signed(moved, ROOT, NEW_ROOT)]) == moved
    for signers in ((ROOT,), (NEW_ROOT,)):
        with pytest.raises(SignatureInvalid):
            follow(SIGNED, ROOT.public_key, [signed(moved, *signers)])
    third = replace(moved, version=3, previous=digest_of(signed(moved, ROOT, NEW_ROOT)))
    newer = [signed(moved, ROOT, NEW_ROOT), signed(third, NEW_ROOT)]
    assert follow(SIGNED, ROOT.public_key, newer) == third


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"v": 2}, "format 2"),
        ({"version": 0}, "names None as the one before"),
        ({"version": 2}, "names None as the one before"),
        ({"expires": BEGIN}, "before it was issued"),
        ({"issued": "yesterday"}, "not a time"),
        ({"issued": "2026-11-22T00:00:00"}, "not a time"),
        ({"issued": "2026-02-30T00:00:00Z"}, "does not exist"),
        ({"root": {"key_id": "00", "public_key": "AA=="}}, "has 1 bytes"),
        ({"root": {"key_id": "00", "public_key": "A" * 43 + "="}}, "the key's is"),
        ({"extra": 1}, "unknown"),
        ({"keys": [CA.as_object(), CA.as_object()]}, "twice"),
        ({"keys": [CA.as_object() | {"purpose": "root"}]}, "purpose is 'root'"),
        ({"keys": [CA.as_object() | {"name": "log"}]}, "keys that sign notes have names, no other has"),
        ({"keys": [LOG.as_object() | {"name": None}]}, "keys that sign notes have names, no other has"),
        ({"keys": [CA.as_object() | {"not_after": "2020-01-01T00:00:00Z"}]}, "ends before it begins"),
    ],
)
def test_what_is_no_directory_is_refused(change: dict[str, object], why: str) -> None:
    with pytest.raises(Malformed, match=why):
        KeyDirectory.parse(orjson.dumps(orjson.loads(FIRST.encode()) | change))
