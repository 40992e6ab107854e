"""The AsyncAPI document: whole, and every reference in it leads somewhere."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema_rs
import orjson
import pytest
from grace_common.contract import envelope
from grace_common.contract.events.base import event_types
from grace_common.contract.topics import TOPICS
from grace_common.testing.events import enveloped

from tools.asyncapi import document, envelope_schema

SCHEMAS = Path(__file__).parents[2] / "schemas"


def references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if "$ref" in value:
            yield value["$ref"]
        for inner in value.values():
            yield from references(inner)


def test_it_is_an_asyncapi_3_document_with_every_topic_and_every_event() -> None:
    made = document()

    assert made["asyncapi"] == "3.0.0"
    assert {"title", "version"} <= made["info"].keys()
    assert {channel["address"] for channel in made["channels"].values()} == {topic.name for topic in TOPICS}
    assert {message["name"] for message in made["components"]["messages"].values()} == set(event_types())


def test_every_reference_leads_somewhere() -> None:
    made = document()
    found = list(references(made))

    assert found
    for reference in found:
        place: Any = made
        for part in reference.removeprefix("#/").split("/"):
            place = place[part]
        assert place


def test_it_says_who_sends_and_who_receives_on_each_channel() -> None:
    operations = document()["operations"]

    for topic in TOPICS:
        there = [one for one in operations.values() if one["channel"]["$ref"].endswith(f"/{topic.noun}")]
        assert sum(one["action"] == "send" for one in there) == len(topic.writers)
        assert sum(one["action"] == "receive" for one in there) == len(topic.readers)


def test_the_schemas_that_it_names_are_checked_in_and_so_is_it() -> None:
    made = document()

    for message in made["components"]["messages"].values():
        assert (SCHEMAS / message["x-data-schema"]).is_file()
        assert message["summary"]
    assert orjson.loads((SCHEMAS / "events" / "asyncapi.json").read_bytes()) == made


@pytest.mark.parametrize("event", sorted(event_types().values(), key=lambda one: one.TYPE), ids=lambda one: one.TYPE)
def test_every_envelope_is_what_the_envelopes_schema_says(event: Any) -> None:
    value = orjson.loads(envelope.encode(enveloped(event.example())))

    jsonschema_rs.validator_for(envelope_schema(), validate_formats=True).validate(value)
