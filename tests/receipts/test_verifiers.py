"""Two verifiers, Grace's own and the stand-alone one, on receipts that hold and on every way to change one."""

import json
import re
import subprocess
import sys
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from itertools import product
from pathlib import Path
from typing import Any, Final

import pytest
from grace_common.testing.ledger import MemoryLedger, SeededKey, statement
from grace_common.transparency.attestation import (
    AUTHORSHIP,
    PROVENANCE,
    REVIEW,
    REVIEW_V1,
    TEST_RESULT,
    Attestation,
    Subject,
)
from grace_common.transparency.attestation import PAYLOAD_TYPE as ATTESTATION_TYPE
from grace_common.transparency.batch_signature import BATCH_TYPE, sign_batch
from grace_common.transparency.dsse import DsseEnvelope, EnvelopeSignature, pae, sign_envelope
from grace_common.transparency.merkle import leaf_hash
from grace_common.transparency.note import Note, SignatureType, VerifierKey, cosign
from grace_common.transparency.receipt import ReceiptRejected, make_receipt, verify_receipt
from grace_common.transparency.statement import PAYLOAD_TYPE, Statement
from grace_common.transparency.strict import compact_json

ROOT: Final = Path(__file__).parent.parent.parent
VECTORS: Final = ROOT / "tests/vectors/receipts"
STAND_ALONE: Final = ROOT / "contrib/verify_receipt.py"
NAMES: Final = sorted(file.name.removesuffix(".vkey") for file in VECTORS.glob("*.vkey"))

# Reads cases from standard input, and says of each why it is rejected, or null: one process for thousands of cases.
ASK: Final = """
import json, runpy, sys
from base64 import b64decode
verifier = runpy.run_path(sys.argv[1])
for line in sys.stdin:
    receipt, artifact, vkey, root = json.loads(line)
    try:
        verifier["verify"](b64decode(receipt), b64decode(artifact), vkey, [], 0, None, b64decode(root) or None)
    except verifier["Rejected"] as error:
        print(json.dumps(str(error) or "?"))
    else:
        print("null")
"""

# What a changed value at a place is called in the refusal; the first pattern that fits the place counts.
NAMED: Final = [
    (r"format", r"is of format '"),
    (r"artifact\.name", r"another artifact|artifact\.name"),
    (r"artifact\.(sha256|size)", r"the receipt is for|artifact\.(sha256|size)"),
    (r"attestations\.\d+\..*", r"attestations are not those of the ledger entries: number \d|attestations\[\d\]: "),
    (r"entries\.\d+\.index", r"entry \d+: .*(leaf|index)|entry \d+ stands after|entries\[\d+\]\.index"),
    (r"entries\.\d+\.(leaf|proof\.\d+)", r"entry \d+: the inclusion proof|entries\[\d+\]\.(leaf|proof)"),
    (r"entries\.\d+\.payload", r"entry \d+: the payload|entries\[\d+\]\.payload"),
    (r"keys\.ca(\.\d)?", r"does not name the receipt's CA key|keys\.ca"),
    (r"keys\.directory", r"does not show version \d+ of the key directory|keys\.directory"),
    (r"checkpoint", r"checkpoint|the note|signature|key name"),
]


@dataclass(frozen=True)
class Case:
    """A changed receipt: where it was changed, and how."""

    place: str
    change: str
    receipt: bytes
    artifact: bytes
    vkey: str
    root: bytes | None = None

    def refusal(self) -> str | None:
        """Why Grace's own verifier rejects it, None when it accepts it."""
        try:
            verify_receipt(self.receipt, self.artifact, self.vkey, root_key=self.root)
        except ReceiptRejected as error:
            return str(error)
        return None


def vector(name: str) -> tuple[bytes, bytes, str]:
    return (
        (VECTORS / f"{name}.receipt.json").read_bytes(),
        (VECTORS / f"{name}.artifact").read_bytes(),
        (VECTORS / f"{name}.vkey").read_text().strip(),
    )


def stand_alone(cases: list[Case]) -> list[str | None]:
    """Why the stand-alone verifier rejects each case, None where it accepts it."""
    lines = [
        json.dumps(
            [
                b64encode(case.receipt).decode(),
                b64encode(case.artifact).decode(),
                case.vkey,
                b64encode(case.root or b"").decode(),
            ]
        )
        for case in cases
    ]
    asked = subprocess.run(
        [sys.executable, "-I", "-c", ASK, str(STAND_ALONE)],
        input="\n".join(lines),
        capture_output=True,
        text=True,
        check=True,
    )
    return [json.loads(line) for line in asked.stdout.splitlines()]


def places(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[tuple[str | int, ...], Any]]:
    """Every value of a JSON text with its path, containers before what they hold."""
    yield path, value
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in inner:
        yield from places(item, (*path, key))


def changed(whole: Any, path: tuple[str | int, ...], change: Callable[[Any, Any], object]) -> bytes:
    """The receipt after `change(container, key)` at the path."""
    copy = json.loads(json.dumps(whole))
    container = copy
    for key in path[:-1]:
        container = container[key]
    change(container, path[-1])
    return json.dumps(copy, ensure_ascii=False).encode()


def flips(text: str) -> Iterator[tuple[str, str]]:
    """The text with one character another, of the same alphabet and of none, at its beginning, middle and end."""
    last = len(text.rstrip("=\n")) - 1
    for at in sorted({0, 1, len(text) // 3, len(text) // 2, last, len(text) - 1}):
        same = "B" if text[at] == "A" else "1" if text[at] == "0" else "A" if text[at].isupper() else "0"
        for sign in (same, "*"):
            if sign != text[at]:
                yield f"character {at} becomes {sign}", text[:at] + sign + text[at + 1 :]


def apart(checkpoint: str, vkey: str) -> tuple[str, str]:
    """The checkpoint up to the line that this key signed, and the lines after it, of keys that nobody asked for."""
    key = VerifierKey.parse(vkey)
    lines = checkpoint.splitlines(keepends=True)
    own = next(
        number
        for number, line in enumerate(lines, 1)
        if line.startswith("\u2014 ") and b64decode(line.split(" ")[2]).startswith(key.key_id)
    )
    return "".join(lines[:own]), "".join(lines[own:])


def flipped(name: str) -> list[Case]:
    """Every string and number of the receipt changed, one at a time; and every byte of the artifact and the vkey."""
    receipt, artifact, vkey = vector(name)
    whole = json.loads(receipt)
    cases = []
    for path, value in places(whole):
        place = ".".join(map(str, path))
        if isinstance(value, str):
            read, unread = apart(value, vkey) if place == "checkpoint" else (value, "")
            for change, text in ((change, text + unread) for change, text in flips(read)):
                new = changed(
                    whole,
                    path,
                    lambda container, key, text=text: (
                        container.update({key: text})
                        if isinstance(container, dict)
                        else container.__setitem__(key, text)
                    ),
                )
                cases.append(Case(place, change, new, artifact, vkey))
        elif isinstance(value, int):
            for number in (value + 1, value - 1):
                new = changed(whole, path, lambda container, key, number=number: container.__setitem__(key, number))
                cases.append(Case(place, f"becomes {number}", new, artifact, vkey))
    for at, byte in enumerate(artifact):
        broken = artifact[:at] + bytes([byte ^ 1]) + artifact[at + 1 :]
        cases.append(Case("artifact.sha256", f"byte {at} of the file", receipt, broken, vkey))
    return cases


@pytest.mark.parametrize("name", NAMES)
def test_both_verifiers_accept_the_vectors(name: str) -> None:
    receipt, artifact, vkey = vector(name)

    assert Case("", "", receipt, artifact, vkey).refusal() is None
    asked = subprocess.run(
        [
            *(sys.executable, "-I", STAND_ALONE),
            *(VECTORS / f"{name}.receipt.json", VECTORS / f"{name}.artifact", "--log-key", vkey),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (asked.returncode, asked.stderr) == (0, "")
    said = verify_receipt(receipt, artifact, vkey).sentences
    for sentence in said[3:]:  # of the predicates both say the same, word for word
        if not sentence.startswith("Entry "):
            assert f"  {sentence}\n" in asked.stdout
    assert "grace approved it as reviewer under the policy four-eyes" in asked.stdout


def test_the_stand_alone_verifier_says_what_is_wrong_and_fails(tmp_path: Path) -> None:
    receipt, artifact, vkey = vector("authored")
    (tmp_path / "file").write_bytes(artifact + b"#")
    (tmp_path / "receipt").write_bytes(receipt)

    def ask(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-I", str(STAND_ALONE), str(tmp_path / "receipt"), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    wrong = ask(str(tmp_path / "file"), "--log-key", vkey)
    absent = ask(str(tmp_path / "nowhere"), "--log-key", vkey)

    assert (wrong.returncode, wrong.stdout) == (1, "")
    assert wrong.stderr.startswith("the receipt does not hold: the file has 33 bytes and SHA-256 ")
    assert (absent.returncode, "nowhere" in absent.stderr) == (2, True)


@pytest.mark.parametrize("name", NAMES)
def test_every_changed_value_is_refused_by_both_and_named(name: str) -> None:
    cases = flipped(name)

    assert len(cases) > 900
    for case, other in zip(cases, stand_alone(cases), strict=True):
        refusal = case.refusal()
        assert refusal is not None, f"{case.place}, {case.change}: accepted"
        assert other is not None, f"{case.place}, {case.change}: accepted by the stand-alone verifier"
        expected = next(named for place, named in NAMED if re.fullmatch(place, case.place))
        assert re.search(expected, refusal), f"{case.place}, {case.change}: {refusal}"


def restructured(name: str) -> list[Case]:
    """Every member and item of the receipt removed, doubled, renamed, emptied or of another type, one at a time."""
    receipt, artifact, vkey = vector(name)
    whole = json.loads(receipt)

    def double(container: Any, key: Any) -> None:
        if isinstance(container, list):
            container.insert(key, container[key])
        else:
            container[f"{key}2"] = container[key]

    def put(value: Any) -> Callable[[Any, Any], None]:
        return lambda container, key: container.__setitem__(key, value)

    changes: dict[str, Callable[[Any, Any], object]] = {
        "removed": lambda container, key: container.pop(key),
        "doubled": double,
        **{
            f"becomes {json.dumps(value)}": put(value) for value in (None, True, 1.5, -1, 1 << 63, "", "\u00e9", [], {})
        },
    }
    return [
        Case(".".join(map(str, path)), said, changed(whole, path, change), artifact, vkey)
        for (path, _), (said, change) in product(places(whole), changes.items())
        if path
    ]


@pytest.mark.parametrize("name", ["authored", "listed", "succeeded"])
def test_both_verifiers_judge_every_other_shape_alike_and_a_shorter_receipt_claims_less(name: str) -> None:
    cases = restructured(name)

    accepted = []
    for case, other in zip(cases, stand_alone(cases), strict=True):
        refusal = case.refusal()
        assert (refusal is None) == (other is None), f"{case.place}, {case.change}: {refusal!r} and {other!r}"
        if refusal is None:
            accepted.append((case.place, case.change))
    # Only a statement on which nothing else rests can be left out, and the hint in an envelope cannot. To whoever
    # names no root, the version of the directory that replaced it is such a one.
    replaced = [("entries.11", "removed"), ("entries.11.payload", "removed")] if name == "succeeded" else []
    assert accepted == [("entries.3", "removed"), *replaced]


def test_bytes_that_are_no_receipt_are_refused_by_both() -> None:
    receipt, artifact, vkey = vector("authored")
    spoiled = [
        b"",
        b"null",
        b"\xff",
        b"[" * 100_000,
        receipt[:-1],
        receipt + b"{}",
        receipt.replace(b'"keys":', b'"keys":{"ca":""},"keys":'),
        receipt.replace(b'"size":32', b'"size":NaN'),
        receipt.replace(b'"size":32', b'"size":32.0'),
        receipt.replace(b'"name":"double.py"', b'"name":"\\ud800"'),
        receipt.replace(b"grace-receipt/v1", b"grace-receipt/v2"),
        receipt.replace(b"grace-receipt/v1", b"grace-receipt/v3"),
        vector("listed")[0].replace(b"grace-receipt/v2", b"grace-receipt/v1"),
    ]
    keys = [vkey[:-1], vkey.replace("+", "-"), "x", str(SeededKey("other").named("log.example/grace"))]
    keys.append(str(SeededKey("log.example/grace").named("log.example/grace", SignatureType.COSIGNATURE)))
    cases = [Case("", "", value, artifact, vkey) for value in spoiled]
    cases += [Case("vkey", key, receipt, artifact, key) for key in keys]

    assert all(case.refusal() for case in cases)
    assert all(stand_alone(cases))


def noted(edit: Callable[[str], str]) -> Case:
    receipt, artifact, vkey = vector("authored")
    whole = json.loads(receipt)
    whole["checkpoint"] = edit(whole["checkpoint"])
    return Case("checkpoint", "", json.dumps(whole).encode(), artifact, vkey)


def test_both_verifiers_read_notes_alike() -> None:
    line = "— else.example/key AAAAAAA=\n"
    accepted = [noted(lambda note: note + line), noted(lambda note: note.replace("\n\n", f"\n\n{line}"))]
    refused = [
        noted(lambda note: note.rstrip("\n")),
        noted(lambda note: note.replace("\n\n", "\n")),
        noted(lambda note: note + "- else AAAAAAA=\n"),
        noted(lambda note: note + "— else\n"),
        noted(lambda note: note + "— el+se AAAAAAA=\n"),
        noted(lambda note: note + "— else AAAA\n"),
        noted(lambda note: note + "\n"),
        noted(lambda note: note + line * 100),
        noted(lambda note: note.replace("grace-ca", "grace-ca\t")),
        noted(lambda note: note.replace("\n310\n", "\n0310\n")),
        noted(lambda note: note.partition("\n\n")[2]),
    ]

    assert [case.refusal() for case in accepted] == [None, None]
    assert stand_alone(accepted) == [None, None]
    assert all(case.refusal() for case in refused)
    assert all(stand_alone(refused))


def attesting(type_: str, predicate: dict[str, Any]) -> Case:
    """A receipt whose every signature and proof is right, with one attestation of this predicate."""
    artifact, ledger = b"print()\n", MemoryLedger()
    ledger.publish_key(ledger.notary, "notary")
    ledger.publish_key(ledger.attester, "attestation")
    ledger.announce("approve")
    digest = sha256(artifact).hexdigest()
    approved = {"artifact": digest, "decision": "0" * 64, "report": "1" * 64}
    record = compact_json({"data": {"by": "grace", "digest": sha256(compact_json(approved)).hexdigest()}})
    at = ledger.state("approval-1", "grace.approval-given.v1", "grace", "approve", record)
    ledger.attest(Attestation((Subject("a.py", digest),), type_, predicate))
    note = ledger.log.publish()
    made = make_receipt("a.py", artifact, range(5), ledger.log.tree(), note, [ledger.ca.public_key], {at: record})
    return Case(type_, json.dumps(predicate), made.encode(), artifact, str(ledger.log.key))


DIGEST: Final = {"sha256": "2" * 64}
SOUND: Final[dict[str, dict[str, Any]]] = {
    PROVENANCE: {
        "buildDefinition": {
            "buildType": "urn:b",
            "externalParameters": {"requester": "ada"},
            "internalParameters": {},
            "resolvedDependencies": [{"name": "report", "digest": DIGEST}],
        },
        "runDetails": {
            "builder": {"id": "urn:g"},
            "metadata": {"invocationId": "1", "startedOn": "a", "finishedOn": "b"},
        },
    },
    TEST_RESULT: {
        "result": "FAILED",
        "configuration": [{"name": "report", "digest": DIGEST}],
        "passedTests": ["one"],
        "warnedTests": ["two"],
        "failedTests": ["three"],
    },
    AUTHORSHIP: {
        "generator": "openai:small",
        "model": "small",
        "strategy": {"name": "side-by-side", "version": 1},
        "prompts": [{"role": "user", "digest": DIGEST}],
        "invocationId": "1",
        "candidate": "c",
    },
    REVIEW: {
        "reviewer": "grace",
        "role": "reviewer",
        "policy": {"name": "four-eyes", "version": 1},
        "approved": {
            "artifact": sha256(b"print()\n").hexdigest(),
            "decision": "0" * 64,
            "report": "1" * 64,
        },
        "event_id": "approval-1",
        "time": "2026-11-22T00:00:00Z",
    },
}
SOUND[REVIEW_V1] = {**SOUND[REVIEW], "policy": "four-eyes/v1"}
SOUND["https://example.com/claim/v1"] = {"claim": ["anything"]}


@pytest.mark.parametrize("type_", SOUND)
def test_both_verifiers_read_predicates_alike(type_: str) -> None:
    sound = SOUND[type_]
    cases = [attesting(type_, sound)]
    for path, value in places(sound):
        if path:
            for wrong in (None, 0, "", "0", [], {}, 10**10, [value]):
                spoiled = changed(sound, path, lambda container, key, wrong=wrong: container.__setitem__(key, wrong))
                cases.append(attesting(type_, json.loads(spoiled)))
            cases.append(attesting(type_, json.loads(changed(sound, path, lambda container, key: container.pop(key)))))
        if isinstance(value, dict):
            more = (
                {**sound, "more": 1}
                if not path
                else json.loads(changed(sound, path, lambda container, key: container[key].update(more=1)))
            )
            cases.append(attesting(type_, more))

    refusals = [case.refusal() for case in cases]
    others = stand_alone(cases)
    assert (refusals[0], others[0]) == (None, None)
    for case, refusal, other in zip(cases, refusals, others, strict=True):
        assert (refusal is None) == (other is None), f"{case.change}: {refusal!r} and {other!r}"
    assert any(refusals) == (type_ != "https://example.com/claim/v1")


def sealed_with(key_id: object) -> Case:
    """A receipt that shows a statement whose `who` has this `key_id`, every signature and proof right."""
    ledger = MemoryLedger()
    delivered = ledger.deliver()
    key = SeededKey("submit")
    fact = json.loads(statement("more", "grace.task-submitted.v1", "ada", "submit", digest="0" * 64).encode())
    fact["who"]["key_id"] = key_id
    leaf = sign_envelope(PAYLOAD_TYPE, compact_json(fact), key.key_id, key.sign).encode()
    indices = [*(entry.index for entry in delivered.receipt.entries), ledger.log.append(leaf)]
    shown = {entry.index: entry.payload for entry in delivered.receipt.entries if entry.payload is not None}
    note, keys = ledger.log.publish(), [ledger.ca.public_key]
    made = make_receipt("double.py", delivered.artifact, indices, ledger.log.tree(), note, keys, shown)
    return Case("who.key_id", json.dumps(key_id), made.encode(), delivered.artifact, delivered.log_vkey)


def test_both_verifiers_read_the_key_of_a_seal_alike() -> None:
    cases = [sealed_with(value) for value in ("0a" * 16, "0A" * 16, "0a" * 15, "", None, 7, ["0a" * 16])]

    assert [case.refusal() is None for case in cases] == [True] + [False] * 6
    assert [other is None for other in stand_alone(cases)] == [True] + [False] * 6


def test_both_verifiers_count_witnesses(tmp_path: Path) -> None:
    receipt, artifact, vkey = vector("authored")
    witness = SeededKey("witness").named("witness.example", SignatureType.COSIGNATURE)
    whole = json.loads(receipt)
    note = Note.parse(whole["checkpoint"].encode())
    line = cosign(note.text, witness, SeededKey("witness").sign, 1_700_000_000)
    whole["checkpoint"] = note.with_signature(line).encode().decode()
    cosigned = json.dumps(whole).encode()
    (tmp_path / "plain").write_bytes(receipt)
    (tmp_path / "cosigned").write_bytes(cosigned)
    (tmp_path / "code").write_bytes(artifact)

    def ask(file: str) -> subprocess.CompletedProcess[str]:
        options = ["--log-key", vkey, "--witness-key", str(witness), "--quorum", "1"]
        command = [sys.executable, "-I", str(STAND_ALONE), str(tmp_path / file), str(tmp_path / "code"), *options]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    said = "The witness witness.example saw that tree at 1700000000 s."
    assert said in verify_receipt(cosigned, artifact, vkey, [str(witness)], 1).sentences
    assert said in ask("cosigned").stdout
    assert "0 of the 1 witnesses" in ask("plain").stderr
    forged = whole["checkpoint"].replace("witness.example ", "witness.example ")[:-3] + "A=\n"
    (tmp_path / "cosigned").write_text(json.dumps({**whole, "checkpoint": forged}))
    assert ask("cosigned").returncode == 1


def test_the_payload_of_an_approval_is_the_record_as_it_was_made() -> None:
    whole = json.loads(vector("authored")[0])
    shown = [b64decode(entry["payload"]) for entry in whole["entries"] if "payload" in entry]

    assert [json.loads(record)["data"]["by"] for record in shown] == ["grace"]


class BatchedAttester(MemoryLedger):
    """Signs attestations together with something else, which statements alone may be."""

    def attest(self, attested: Attestation) -> int:
        payload_type, payload = ATTESTATION_TYPE, attested.encode()
        signature = sign_batch([pae(payload_type, payload), b"something else"], self.attester.sign)[0]
        signed = DsseEnvelope(payload_type, payload, (EnvelopeSignature(self.attester.key_id, signature),))
        return self.log.append(signed.encode())


class LonelyBatch(MemoryLedger):
    """Signs statements as batches of one, which is another spelling of a plain signature."""

    def _leaf(self, fact: Statement, key: SeededKey) -> bytes:
        payload = fact.encode()
        root = leaf_hash(pae(PAYLOAD_TYPE, payload))
        signature = key.sign(pae(BATCH_TYPE, root)) + bytes((0, 0, 0, 0, 0, 0, 0, 1))
        return DsseEnvelope(PAYLOAD_TYPE, payload, (EnvelopeSignature(key.key_id, signature),)).encode()


class StrangeBatch(MemoryLedger):
    """Signs each statement with the path of another one of its batch."""

    def _leaf(self, fact: Statement, key: SeededKey) -> bytes:
        payload = fact.encode()
        signature = sign_batch([pae(PAYLOAD_TYPE, payload), b"something else"], key.sign)[1]
        return DsseEnvelope(PAYLOAD_TYPE, payload, (EnvelopeSignature(key.key_id, signature),)).encode()


@pytest.mark.parametrize("ledger", [BatchedAttester, LonelyBatch, StrangeBatch])
def test_both_verifiers_refuse_a_batched_signature_that_is_none(ledger: type[MemoryLedger]) -> None:
    delivery = ledger().deliver()
    case = Case("", "", delivery.receipt.encode(), delivery.artifact, delivery.log_vkey)

    [alone] = stand_alone([case])

    assert "signature" in str(case.refusal())
    assert "signature" in str(alone)
