"""The ledger's statements: their exact bytes, their chain of keys, and what is refused."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from grace_common.testing.ledger import SeededKey, sign_statement, statement
from grace_common.transparency.attestation import PROVENANCE, Attestation, Provenance, Review, Subject
from grace_common.transparency.dsse import verify_envelope
from grace_common.transparency.statement import (
    NOTARY_KEY_PUBLISHED,
    OPERATION_KEY_GENERATED,
    OperationKey,
    PublishedKey,
    Statement,
    key_id,
    read_leaf,
)
from grace_common.transparency.strict import Malformed
from hypothesis import given
from hypothesis import strategies as st

KEY = SeededKey("operation")
FACT = statement("id-1", "grace.task-submitted.v1", "ada", "op-1", digest="ab" * 32)
OPERATION_KEY = statement(
    "id-2", OPERATION_KEY_GENERATED, "crypto-signer", "op-1", announced=OperationKey(KEY.public_key, "op-1", 3)
)
PUBLISHED_KEY = statement(
    "id-3", NOTARY_KEY_PUBLISHED, "crypto-signer", "keys", announced=PublishedKey(KEY.public_key, "notary")
)
texts = st.text(st.characters(codec="utf-8"), min_size=1, max_size=20)
Edit = Callable[[dict[str, Any]], object]


def test_a_statement_has_exactly_these_bytes() -> None:
    assert FACT.encode() == (
        b'{"v":1,"id":"id-1","type":"grace.task-submitted.v1","who":{"service":"gateway","actor":"ada"},'
        b'"what":{"type":"task","subject":"task-1"},"where":{"topic":"grace.task.v1","key":"task-1"},'
        b'"when":"2026-11-22T00:00:00Z","why":{"correlation_id":"task-1","causation_id":null},'
        b'"how":{"operation_id":"op-1"},"digest":{"sha256":"' + b"ab" * 32 + b'"}}'
    )


@pytest.mark.parametrize("fact", [FACT, OPERATION_KEY, PUBLISHED_KEY])
def test_a_statement_is_read_back_from_its_leaf(fact: Statement) -> None:
    leaf = sign_statement(fact, KEY.key_id, KEY.sign)

    envelope, read = read_leaf(leaf)

    assert read == fact
    assert verify_envelope(envelope, {KEY.key_id: KEY.public_key}) == [KEY.key_id]


@given(texts, texts, st.none() | texts)
def test_any_text_is_carried(subject: str, actor: str, causation: str | None) -> None:
    fact = replace(FACT, subject=subject, actor=actor, causation_id=causation)
    assert Statement.parse(fact.encode()) == fact


def test_a_key_has_its_id_from_its_digest() -> None:
    assert key_id(bytes(32)) == "66687aadf862bd776c8fc18b8e9f8e20"


def parse_edited(fact: Statement, edit: Edit) -> None:
    value = json.loads(fact.encode())
    edit(value)
    Statement.parse(json.dumps(value).encode())


@pytest.mark.parametrize(
    ("fact", "edit", "reason"),
    [
        (FACT, lambda value: value.update(v=2), "of version 2"),
        (FACT, lambda value: value.update(v=True), "expected an integer"),
        (FACT, lambda value: value.pop("digest"), "without a digest says nothing"),
        (FACT, lambda value: value["digest"].update(sha256="AB" * 32), "64 lower-case"),
        (FACT, lambda value: value.update(when="yesterday"), "not of RFC 3339"),
        (FACT, lambda value: value["who"].update(actor=""), "not empty"),
        (FACT, lambda value: value["who"].update(mood="x"), "unknown"),
        (FACT, lambda value: value.update(who="ada"), "no JSON object"),
        (FACT, lambda value: value.update(key=json.loads(PUBLISHED_KEY.encode())["key"]), "announces PublishedKey"),
        (OPERATION_KEY, lambda value: value.pop("key"), "announces NoneType"),
        (OPERATION_KEY, lambda value: value["how"].update(operation_id="op-2"), "announced in op-2"),
        (OPERATION_KEY, lambda value: value["key"].update(epoch=-1), "expected an integer"),
        (OPERATION_KEY, lambda value: value["key"].update(key_id="00"), "the key's is"),
        (OPERATION_KEY, lambda value: value["key"].update(public_key="AAAA"), "3 bytes; expected 32"),
        (PUBLISHED_KEY, lambda value: value["key"].update(purpose="ca"), "expected notary or attestation"),
    ],
)
def test_a_malformed_statement_is_refused(fact: Statement, edit: Edit, reason: str) -> None:
    with pytest.raises(Malformed, match=reason):
        parse_edited(fact, edit)


def test_provenance_is_said_as_slsa_says_it() -> None:
    subject = Subject("double.py", "ab" * 32)
    said = Provenance(
        build_type="https://grace.example/build/v1",
        builder_id="https://grace.example/builder",
        invocation_id="task-1",
        started="2026-11-22T00:00:00Z",
        finished="2026-11-22T00:00:01Z",
        external_parameters={"language": "python"},
        internal_parameters={"generator": "synthesis"},
        dependencies=[Subject("prompt", "cd" * 32)],
    ).of(subject)

    assert json.loads(said.encode()) == {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": "double.py", "digest": {"sha256": "ab" * 32}}],
        "predicateType": "https://slsa.dev/provenance/v1",
        "predicate": {
            "buildDefinition": {
                "buildType": "https://grace.example/build/v1",
                "externalParameters": {"language": "python"},
                "internalParameters": {"generator": "synthesis"},
                "resolvedDependencies": [{"name": "prompt", "digest": {"sha256": "cd" * 32}}],
            },
            "runDetails": {
                "builder": {"id": "https://grace.example/builder"},
                "metadata": {
                    "invocationId": "task-1",
                    "startedOn": "2026-11-22T00:00:00Z",
                    "finishedOn": "2026-11-22T00:00:01Z",
                },
            },
        },
    }
    assert Attestation.parse(said.encode()) == said
    assert said.predicate_type == PROVENANCE


def test_a_review_is_read_back_from_its_predicate() -> None:
    review = Review("grace", "reviewer", "p@1", "ab" * 32, "cd" * 32, "ef" * 32, "e-1", "2026-11-22T00:00:00Z")
    assert Review.read(review.of(Subject("double.py", "ab" * 32)).predicate) == review


@pytest.mark.parametrize(
    ("edit", "reason"),
    [
        (lambda value: value.update(_type="https://in-toto.io/Statement/v0.1"), "expected https://in-toto"),
        (lambda value: value.update(predicate=[]), "predicate is no JSON object"),
        (lambda value: value["subject"][0].update(digest={"sha1": "00"}), "lacks"),
    ],
)
def test_a_malformed_attestation_is_refused(edit: Edit, reason: str) -> None:
    value = json.loads(Attestation((Subject("a", "ab" * 32),), PROVENANCE, {}).encode())
    edit(value)
    with pytest.raises(Malformed, match=reason):
        Attestation.parse(json.dumps(value).encode())
