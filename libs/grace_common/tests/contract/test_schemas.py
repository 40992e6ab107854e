"""The promises in `schemas/`: complete, fresh, kept for ever."""

import json
from pathlib import Path
from random import Random

import jsonschema_rs
import orjson
import pytest
from grace_common.contract import envelope, schemas, topics
from grace_common.contract.errors import Refused
from grace_common.contract.events.base import Event, event_types
from grace_common.testing.events import enveloped, task_submitted
from grace_common.testing.instances import instance
from hypothesis import given, settings
from hypothesis import strategies as st

PROMISED = Path(__file__).parents[4] / "schemas" / "events"
EXAMPLES = sorted(PROMISED.glob("*/*.example.json"))
ALL = sorted(event_types().values(), key=lambda event: event.TYPE)


def test_there_are_examples() -> None:
    assert len(EXAMPLES) >= len(ALL)


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.name)
def test_every_example_opens_for_ever(file: Path) -> None:
    type_ = f"grace.{file.name.removesuffix('.example.json')}"
    attributes = orjson.loads(envelope.encode(enveloped(task_submitted())))

    opened = envelope.open(orjson.dumps(attributes | {"type": type_, "data": orjson.loads(file.read_bytes())}))

    assert opened.event.TOPIC.noun == file.parent.name
    assert opened.key


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.name)
def test_every_example_is_what_its_schema_says(file: Path) -> None:
    schema = orjson.loads(file.with_name(file.name.replace(".example.", ".schema.")).read_bytes())

    jsonschema_rs.validator_for(schema).validate(orjson.loads(file.read_bytes()))
    assert schema["$id"] == f"urn:grace:schema:{file.name.removesuffix('.example.json')}"


@pytest.mark.parametrize("event", ALL, ids=lambda event: event.TYPE)
@settings(max_examples=20)
@given(random=st.randoms(use_true_random=False))
def test_what_the_schema_allows_the_code_reads_and_writes_back_as_the_schema_allows(
    event: type[Event], random: Random
) -> None:
    validator = jsonschema_rs.validator_for(schemas.event_schema(event))
    data = instance(schemas.event_schema(event), random)
    validator.validate(data)

    read = event.model_validate_json(json.dumps(data), strict=True)

    validator.validate(orjson.loads(read.model_dump_json()))


def test_every_event_and_every_example_is_checked_in_as_the_code_has_it() -> None:
    assert {
        path: content
        for path, content in schemas.event_files().items()
        if (PROMISED.parent / path).read_bytes() != content
    } == {}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for path, content in schemas.event_files().items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(content)
    return tmp_path


def test_a_service_starts_when_the_schemas_of_its_topics_are_its_own(folder: Path) -> None:
    schemas.check_events(folder, topics.TOPICS)


def test_a_service_refuses_to_start_when_a_schema_differs(folder: Path) -> None:
    file = folder / "events/task/task-submitted.v1.schema.json"
    file.write_bytes(file.read_bytes().replace(b"requirements", b"demands"))

    with pytest.raises(Refused, match="differs from the code of this service"):
        schemas.check_events(folder, [topics.TASK])
    schemas.check_events(folder, [topics.LEDGER])


def test_a_service_refuses_to_start_when_a_schema_is_missing(folder: Path) -> None:
    (folder / "events/task/task-submitted.v1.schema.json").unlink()

    with pytest.raises(Refused, match=r"task-submitted\.v1\.schema\.json is missing; run `make schemas`"):
        schemas.check_events(folder, topics.TOPICS)
