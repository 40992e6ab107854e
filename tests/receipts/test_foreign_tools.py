"""Receipts in foreign hands: in-toto's, the Secure Systems Lab's and JSON Schema's own libraries, unmodified."""

import json
from base64 import b64decode
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
from google.protobuf.json_format import ParseDict
from grace_common.transparency.attestation import AUTHORSHIP, PROVENANCE, REVIEW, TEST_RESULT
from grace_common.transparency.note import VerifierKey
from grace_common.transparency.proof_file import ProofFile
from grace_common.transparency.receipt import Receipt
from grace_common.transparency.statement import read_leaf
from in_toto_attestation.predicates.provenance.v1 import provenance_pb2
from in_toto_attestation.predicates.test_result.v0 import test_result_pb2
from in_toto_attestation.v1 import statement_pb2
from in_toto_attestation.v1.statement import Statement
from securesystemslib.dsse import Envelope
from securesystemslib.signer._key import SSlibKey

ROOT = Path(__file__).parent.parent.parent
VECTORS = ROOT / "tests/vectors/receipts"
NAMES = sorted(file.name.removesuffix(".vkey") for file in VECTORS.glob("*.vkey"))


def schema_of(name: str) -> dict[str, Any]:
    file = f"{load(name)['format'].replace('/', '.')}.schema.json"
    schema: dict[str, Any] = json.loads((ROOT / "schemas/receipt" / file).read_bytes())
    return schema


def load(name: str) -> dict[str, Any]:
    value: dict[str, Any] = json.loads((VECTORS / f"{name}.receipt.json").read_bytes())
    return value


def statements(name: str) -> list[dict[str, Any]]:
    return [json.loads(b64decode(one["payload"])) for one in load(name)["attestations"]]


def predicate(name: str, type_: str) -> dict[str, Any]:
    found = [one["predicate"] for one in statements(name) if one["predicateType"] == type_]
    assert len(found) == 1
    assert isinstance(found[0], dict)
    return found[0]


def attestation_key(receipt: Receipt) -> tuple[str, bytes]:
    facts = [fact for entry in receipt.entries if (fact := read_leaf(entry.leaf)[1])]
    announced = [fact.announced for fact in facts if getattr(fact.announced, "purpose", "") == "attestation"]
    assert announced[0] is not None
    return announced[0].key_id, announced[0].public_key


@pytest.mark.parametrize("name", NAMES)
def test_securesystemslib_verifies_every_attestation(name: str) -> None:
    receipt = Receipt.parse((VECTORS / f"{name}.receipt.json").read_bytes())
    key_id, public_key = attestation_key(receipt)
    key = SSlibKey(key_id, "ed25519", "ed25519", {"public": public_key.hex()})

    for envelope in load(name)["attestations"]:
        assert list(Envelope.from_dict(json.loads(json.dumps(envelope))).verify([key], 1)) == [key_id]


@pytest.mark.parametrize("name", NAMES)
def test_in_toto_attestation_reads_and_validates_every_statement(name: str) -> None:
    for said in statements(name):
        statement = Statement.copy_from_pb(ParseDict(said, statement_pb2.Statement()))

        statement.validate()
        assert statement.pb.subject[0].name == "double.py"


def test_in_toto_attestation_reads_the_provenance_and_the_test_results_as_its_own() -> None:
    provenance = ParseDict(predicate("authored", PROVENANCE), provenance_pb2.Provenance())
    tests = ParseDict(predicate("authored", TEST_RESULT), test_result_pb2.TestResult())

    assert provenance.run_details.builder.id == "https://grace.example/builder"
    assert provenance.build_definition.resolved_dependencies[0].name == "prompt"
    assert (tests.result, list(tests.warned_tests)) == ("WARNED", ["a0: double(-1) == -3"])
    assert [part.name for part in tests.configuration] == ["specification", "evaluation-report"]


def test_no_prompt_is_in_an_authorship_only_its_digest() -> None:
    assert [one.keys() for one in predicate("authored", AUTHORSHIP)["prompts"]] == [{"role", "digest"}] * 2
    assert predicate("authored", REVIEW)["policy"] == {"name": "four-eyes", "version": 1}


@pytest.mark.parametrize("name", NAMES)
def test_the_published_schema_describes_the_receipt_and_its_statements(name: str) -> None:
    schema = schema_of(name)
    statement = {"$schema": schema["$schema"], "$ref": "#/$defs/statement", "$defs": schema["$defs"]}

    jsonschema_rs.validator_for(schema).validate(load(name))
    for said in statements(name):
        jsonschema_rs.validator_for(statement).validate(said)
        said["predicate"] = {}
        assert not jsonschema_rs.validator_for(statement).is_valid(said)


@pytest.mark.parametrize("name", ["authored", "listed"])
@pytest.mark.parametrize("member", ["format", "artifact", "attestations", "entries", "keys", "checkpoint"])
def test_the_published_schema_wants_every_member_and_no_other(name: str, member: str) -> None:
    validator = jsonschema_rs.validator_for(schema_of(name))
    whole = load(name)

    assert not validator.is_valid({name: value for name, value in whole.items() if name != member})
    assert not validator.is_valid({**whole, "more": 1})
    assert not validator.is_valid({**whole, member: None})


@pytest.mark.parametrize("name", NAMES)
def test_every_entry_makes_a_proof_file_of_c2sp(name: str) -> None:
    receipt = Receipt.parse((VECTORS / f"{name}.receipt.json").read_bytes())
    vkey = VerifierKey.parse((VECTORS / f"{name}.vkey").read_text().strip())

    for entry in receipt.entries:
        file = ProofFile(entry.index, entry.proof, receipt.checkpoint).encode()
        assert file.startswith(f"c2sp.org/tlog-proof@v1\nindex {entry.index}\n".encode())
        assert ProofFile.parse(file).verify(entry.leaf, vkey).checkpoint.origin == vkey.name
