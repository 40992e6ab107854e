"""Keys, producers, dead letters, schemas."""

import base64
import stat
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key
from grace_cli.commands.producers import generate_key, read_public_key
from grace_cli.errors import CliError, Exit
from grace_common.testing.ledger import MemoryLedger, SeededKey, sign_statement, statement
from grace_common.transparency.attestation import Attestation, Subject
from grace_common.transparency.statement import key_id

from .conftest import Run
from .fake_gateway import FakeGateway


def certificate(key: str, subject: str, revoked: str | None = None) -> dict[str, Any]:
    return {
        "key_id": key,
        "subject": subject,
        "certificate": base64.b64encode(bytes(100)).decode(),
        "not_before": "2026-11-22T00:00:00+00:00",
        "not_after": "2026-12-22T00:00:00+00:00",
        "roles": ["requester"],
        "revoked_at": revoked,
        "reason": None,
    }


@pytest.fixture(autouse=True)
def keys(gateway: FakeGateway) -> None:
    gateway.lists["keys"] = [
        certificate("aa", "gateway"),
        certificate("bb", "producer/build-farm"),
        certificate("cc", "producer/build-farm", revoked="2026-11-22T01:00:00+00:00"),
    ]
    gateway.things["keys/aa"] = certificate("aa", "gateway")


def test_keys_are_listed_shown_and_revoked(run: Run, gateway: FakeGateway) -> None:
    assert [line.split()[0] for line in run("keys", "list").out.splitlines()] == ["key", "aa", "bb", "cc"]
    assert len(run("keys", "list", "--json").json["items"]) == 3
    shown = run("keys", "show", "aa").out
    assert "subject      gateway" in shown
    assert "BEGIN CERTIFICATE" in shown
    assert run("keys", "show", "aa", "--json").json["key_id"] == "aa"
    assert "is stated" in run("keys", "revoke", "aa", "--reason", "lost").out
    assert gateway.asked[-1] == ("POST", "/api/keys/aa/revocation", "olga", {"reason": "lost"})
    assert run("keys", "revoke", "aa").code == Exit.USAGE
    assert run("keys", "revoke", "aa", "--reason", "lost", "--json").json["reason"] == "lost"


def test_the_entries_that_a_lost_key_may_have_sealed_are_listed(run: Run, gateway: FakeGateway) -> None:
    gateway.things |= {f"keys/{one['key_id']}": one for one in gateway.lists["keys"]}
    entry = {"index": 7, "time": "2026-11-22T00:30:00Z", "entry_type": "grace.task-submitted.v1"}
    gateway.lists["ledger"] = [entry | {"actor": "build-farm", "correlation": "a task"}]

    told = run("keys", "affected", "cc", "--producer").out
    assert "grace.task-submitted.v1" in told
    assert "had other keys in that time as well (aa, bb)" in told
    answer = run("keys", "affected", "cc", "--producer", "--since", "2026-11-22T00:20:00Z", "--json").json
    assert (answer["since"], answer["until"]) == ("2026-11-22T00:20:00Z", "2026-11-22T01:00:00+00:00")
    assert [item["index"] for item in answer["items"]] == [7]
    gateway.lists["ledger"] = []
    gateway.lists["keys"] = [one for one in gateway.lists["keys"] if one["key_id"] == "aa"]
    assert run("keys", "affected", "aa", "--producer").out.startswith("no entry of gateway from 2026-11-22")


SEALED = "ab" * 16


def sealed_log(folder: Path) -> MemoryLedger:
    """A log of four facts, of which the lost key sealed the second and the fourth, and another the third."""
    ledger = MemoryLedger()
    ledger.publish_key(ledger.notary, "notary")
    ledger.publish_key(ledger.attester, "attestation")
    ledger.announce("work")
    work = SeededKey("work")
    for number, sealed in enumerate((None, SEALED, "cd" * 16, SEALED)):
        fact = replace(
            statement(f"fact-{number}", "grace.task-submitted.v1", "ada", "work", digest="0" * 64), sealed_with=sealed
        )
        ledger.log.append(sign_statement(fact, work.key_id, work.sign))
    ledger.attest(Attestation((Subject("double.py", "1" * 64),), "https://example.com/claim/v1", {}))
    ledger.log.publish()
    for path, data in ledger.log.files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
    return ledger


def test_exactly_the_entries_that_a_key_sealed_or_signed_are_listed(run: Run, tmp_path: Path) -> None:
    ledger = sealed_log(tmp_path / "log")

    def listed(key: str, *more: str) -> list[tuple[int, str]]:
        answer = run("keys", "affected", key, "--log", str(tmp_path / "log"), "--json", *more).json
        return [(item["index"], item["how"]) for item in answer["items"]]

    assert listed(SEALED) == [(4, "sealed"), (6, "sealed")]
    assert listed(SEALED, "--since", "2026-11-23T00:00:00Z") == []
    assert listed(ledger.ca.key_id) == [(0, "signed"), (1, "signed")]
    assert listed(ledger.notary.key_id) == [(2, "signed")]
    assert listed(ledger.attester.key_id) == [(7, "signed")]
    assert listed("epoch:1") == [(index, "derived") for index in range(2, 7)]
    assert listed("epoch:2") == []
    assert "sealed" in run("keys", "affected", SEALED, "--log", str(tmp_path / "log")).out
    assert "no entry of the log rests on" in run("keys", "affected", "epoch:9", "--log", str(tmp_path / "log")).out


def test_what_names_no_key_no_time_or_no_log_is_said(run: Run, tmp_path: Path) -> None:
    ledger = sealed_log(tmp_path / "log")
    log = ("--log", str(tmp_path / "log"))

    assert run("keys", "affected", "epoch:x", *log).code == Exit.USAGE
    assert run("keys", "affected", SEALED, "--limit", "3", *log).code == Exit.USAGE
    assert run("keys", "affected", SEALED, "--producer", *log).code == Exit.USAGE
    assert run("keys", "affected", SEALED, "--since", "yesterday", *log).code == Exit.USAGE
    assert run("keys", "affected", SEALED, "--since", "2026-11-23T00:00:00", *log).code == Exit.USAGE
    (tmp_path / "log" / "tile/entries/000.p/8").unlink()
    assert ledger.log.files
    refused = run("keys", "affected", SEALED, *log)
    assert refused.error is not None
    assert "cannot be read" in refused.error.message


def test_a_producer_is_enrolled_with_a_new_key_that_only_its_owner_reads(
    run: Run, gateway: FakeGateway, tmp_path: Path
) -> None:
    gateway.certifies = True

    outcome = run("producers", "enrol", "farm", "--generate", str(tmp_path / "farm"))

    assert outcome.code == Exit.OK, outcome.error
    pem = tmp_path / "farm" / "key.pem"
    assert stat.S_IMODE(pem.stat().st_mode) == 0o600
    private = load_pem_private_key(pem.read_bytes(), None)
    assert isinstance(private, Ed25519PrivateKey)
    assert (tmp_path / "farm" / "key-id").read_text().strip() == key_id(private.public_key().public_bytes_raw())
    assert "BEGIN CERTIFICATE" in (tmp_path / "farm" / "cert.pem").read_text()
    _, path, user, body = next(one for one in gateway.asked if one[0] == "POST")
    assert (path, user, body["roles"]) == ("/api/keys/producers", "olga", ["requester"])
    assert run("producers", "enrol", "farm", "--generate", str(tmp_path / "farm")).code == Exit.USAGE


def test_a_producer_is_enrolled_with_a_key_of_its_own(run: Run, gateway: FakeGateway, tmp_path: Path) -> None:
    gateway.certifies = True
    public = Ed25519PrivateKey.generate().public_key()
    raw = public.public_bytes_raw()
    (tmp_path / "pem").write_bytes(public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    (tmp_path / "raw").write_bytes(raw)
    (tmp_path / "base64").write_bytes(base64.b64encode(raw) + b"\n")

    assert [read_public_key(tmp_path / name) for name in ("pem", "raw", "base64")] == [raw] * 3
    enrolled = run("producers", "enrol", "farm", "--public-key", str(tmp_path / "pem"), "--role", "reviewer", "--json")
    assert enrolled.json["key_id"] == key_id(raw)


def test_what_is_no_ed25519_key_is_refused(run: Run, tmp_path: Path) -> None:
    other = generate_private_key(SECP256R1()).public_key()
    (tmp_path / "ec").write_bytes(other.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    (tmp_path / "short").write_bytes(base64.b64encode(b"short"))
    (tmp_path / "text").write_text("not a key!")
    (tmp_path / "file").touch()

    for name in ("ec", "short", "text", "absent"):
        with pytest.raises(CliError, match="public key"):
            read_public_key(tmp_path / name)
    with pytest.raises(CliError, match="no key can be made"):
        generate_key(tmp_path / "file")
    assert run("producers", "enrol", "farm").code == Exit.USAGE


def test_producers_are_listed_and_every_living_key_of_one_is_revoked(run: Run, gateway: FakeGateway) -> None:
    assert [line.split()[:2] for line in run("producers", "list").out.splitlines()[1:]] == [
        ["build-farm", "bb"],
        ["build-farm", "cc"],
    ]
    assert len(run("producers", "list", "--json").json["items"]) == 2
    gateway.lists["keys"] = gateway.lists["keys"][1:]
    assert run("producers", "revoke", "build-farm", "--reason", "gone", "--json").json == {"revoked": ["bb"]}
    assert "bb is stated" in run("producers", "revoke", "build-farm", "--reason", "gone").out
    gateway.lists["keys"] = gateway.lists["keys"][1:]
    assert run("producers", "revoke", "build-farm", "--reason", "gone").code == Exit.REFUSED


def test_dead_letters_are_listed_read_and_replayed(run: Run, gateway: FakeGateway) -> None:
    letter = {"refusal_id": "r1", "at": "t", "consumer": "consensus", "topic": "grace.task.v1", "code": "malformed"}
    letter["reason"] = "the record is not JSON"
    gateway.lists["governance/dead-letters"] = [letter]
    value = base64.b64encode(b"not json").decode()
    gateway.things["governance/dead-letters/r1"] = {"items": [letter | {"value": value, "key": None}]}

    assert "the record is not JSON" in run("dead-letters", "list").out
    assert run("dead-letters", "list", "--json").json["items"] == [letter]
    assert "value        not json" in run("dead-letters", "show", "r1").out
    assert run("dead-letters", "show", "r1", "--json").json["items"][0]["value"] == value
    assert "consensus will handle it again" in run("dead-letters", "replay", "r1", "--consumer", "consensus").out
    assert run("dead-letters", "replay", "r1", "--json").code == Exit.OK
    gateway.lists["governance/dead-letters"] = []
    assert "nothing was refused" in run("dead-letters", "list").out


def test_schemas_are_listed_and_shown(run: Run, gateway: FakeGateway) -> None:
    gateway.lists["schemas"] = [{"path": "events/task/a.schema.json", "url": "/x"}]
    gateway.things["schemas/events/task/a.schema.json"] = {"type": "object"}

    assert run("schemas", "list").out == "events/task/a.schema.json\n"
    assert run("schemas", "list", "--json").json["items"][0]["url"] == "/x"
    assert run("schemas", "show", "events/task/a.schema.json").out == '{\n  "type": "object"\n}\n'
    assert run("schemas", "show", "events/task/a.schema.json", "--json").json == {"type": "object"}
    assert run("schemas", "show", "nothing").code == Exit.REFUSED


def test_an_operator_asks_for_the_redaction_of_an_entry(run: Run, gateway: FakeGateway) -> None:
    assert "its content goes when that is sealed" in run("ledger", "redact", "17", "--reason", "a name").out
    assert gateway.asked[-1] == ("POST", "/api/ledger/entries/17/redaction", "olga", {"reason": "a name"})
    assert run("ledger", "redact", "17").code == Exit.USAGE
    assert run("ledger", "redact", "17", "--reason", "a name", "--json").json["reason"] == "a name"
