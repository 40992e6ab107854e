"""The envelope: what is encoded opens again, what is none is refused in words that quote nothing back."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from random import Random
from typing import Any, ClassVar
from uuid import UUID, uuid5

import orjson
import pytest
from cloudevents.core.bindings.kafka import KafkaMessage, from_kafka_event
from grace_common.contract import envelope, topics
from grace_common.contract.envelope import Context, Envelope, UnsupportedVersion
from grace_common.contract.errors import Refused
from grace_common.contract.events.base import Event, event_types
from grace_common.contract.events.operation import RequestRefused
from grace_common.contract.events.task import DecisionRequested, Example
from grace_common.testing.events import NOON, TASK, enveloped, task_submitted
from grace_common.testing.instances import instance
from hypothesis import given
from hypothesis import strategies as st

CHARACTERS = st.characters(codec="utf-8", exclude_characters="\0")
CANARY = "hunter2-s3cret"
ALL = sorted(event_types().values(), key=lambda event: event.TYPE)


def spoiled(**changes: Any) -> bytes:
    """A good envelope with some attributes changed; None takes an attribute away."""
    attributes = orjson.loads(envelope.encode(enveloped(task_submitted()))) | changes
    return orjson.dumps({name: value for name, value in attributes.items() if value is not None})


@given(event=st.sampled_from(ALL), random=st.randoms(use_true_random=False))
def test_whatever_its_schema_allows_opens_as_it_was_encoded(event: type[Event], random: Random) -> None:
    data = orjson.dumps(
        instance(event.model_json_schema(), random), option=orjson.OPT_PASSTHROUGH_DATETIME, default=str
    )
    sent = enveloped(event.model_validate_json(data, strict=True), id=UUID(int=1))

    assert envelope.open(envelope.encode(sent)) == sent


@given(
    id=st.uuids(),
    cause=st.none() | st.uuids(),
    actor=st.text(CHARACTERS, max_size=200),
    time=st.datetimes(timezones=st.sampled_from([UTC, timezone(timedelta(hours=-7))])),
    traceparent=st.none() | st.text(CHARACTERS, max_size=60),
)
def test_every_attribute_survives_the_journey(
    id: UUID, cause: UUID | None, actor: str, time: datetime, traceparent: str | None
) -> None:
    sent = replace(enveloped(task_submitted()), id=id, causation=cause, actor=actor, time=time, traceparent=traceparent)

    assert envelope.open(envelope.encode(sent)) == sent


def test_an_answer_names_its_cause_and_takes_its_id_from_it() -> None:
    context = Context(source="/grace/consensus", operation=TASK, actor="ada", correlation="c")
    answers = [
        envelope.answer(RequestRefused.example(), TASK, context, ordinal=number, time=NOON) for number in (0, 1, 0)
    ]

    assert answers[0] == answers[2]
    assert answers[0].causation == TASK
    assert answers[0].id == uuid5(TASK, "grace.request-refused.v1#0")
    assert answers[1].id == uuid5(TASK, "grace.request-refused.v1#1")
    assert (answers[0].type, answers[0].key) == (
        "grace.request-refused.v1",
        str(answers[0].event.partition_key).encode(),
    )


def test_the_cloudevents_sdk_reads_our_records() -> None:
    sent = enveloped(task_submitted())
    message = KafkaMessage(
        headers={"content-type": envelope.CONTENT_TYPE.encode()}, key=sent.key, value=envelope.encode(sent)
    )

    event = from_kafka_event(message)

    assert (event.get_id(), event.get_type()) == (str(sent.id), sent.type)
    assert (event.get_source(), event.get_time()) == ("/grace/gateway", NOON)
    assert event.get_dataschema() == "urn:grace:schema:task-submitted.v1"
    assert event.get_extension("correlationid") == sent.correlation
    assert event.get_data() == orjson.loads(sent.event.model_dump_json())


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (b"", "is not JSON"),
        (b"\xff\xfe", "is not JSON"),
        (b'{"a": NaN}', "is not JSON"),
        (b'"\\ud800"', "is not JSON"),
        (b'{"a":' * 300 + b"1" + b"}" * 300, "is not JSON"),
        (b'["%s"]' % CANARY.encode(), "is a JSON list"),
        (b'"%s"' % CANARY.encode(), "is a JSON str"),
        (b"{}", "specversion"),
        (spoiled(specversion=CANARY), "specversion"),
        (spoiled(id=None, actor=None), "lacks id, actor"),
        (spoiled(**{f"extra{number}": 1 for number in range(9)}), "unknown attributes: extra0.* and 4 more"),
        (spoiled(**{"x" * 5000: 1}), "unknown attributes: x{60}$"),
        (spoiled(actor=7, time=False), "actor, time must be text"),
        (spoiled(id=CANARY), "malformed"),
        (spoiled(operationid=CANARY), "malformed"),
        (spoiled(causationid=CANARY), "malformed"),
        (spoiled(time=CANARY), "malformed"),
        (spoiled(time="2026-11-22T00:00:00"), "names no timezone"),
        (spoiled(type=CANARY), "no event type"),
        (spoiled(type="grace.kettle-boiled.v1"), "grace.kettle-boiled.v1 is no event type"),
        (spoiled(type="grace.task-submitted.v0"), "no event type"),
        (spoiled(type="grace.task-submitted.v٣"), "no event type"),
        (spoiled(data=[CANARY]), "data is invalid: the object"),
        (spoiled(data=CANARY), "data is invalid: the object"),
        (spoiled(data={}), "task_id: Field required"),
        (spoiled(data={str(number): CANARY for number in range(99)}), "; and [0-9]+ more$"),
    ],
)
def test_what_is_no_envelope_is_refused_without_being_quoted(value: bytes, reason: str) -> None:
    with pytest.raises(Refused, match=reason) as refused:
        envelope.open(value)

    assert CANARY not in str(refused.value)
    assert len(str(refused.value)) < 1000


@pytest.mark.parametrize(
    ("name", "wrong"),
    [("deadline_s", "60"), ("deadline_s", True), ("mode", CANARY), ("candidates", 2.5)],
)
def test_data_of_another_type_is_refused_and_not_converted(name: str, wrong: object) -> None:
    submitted = orjson.loads(task_submitted().model_dump_json())

    with pytest.raises(Refused, match=f"{name}: Input should be") as refused:
        envelope.open(spoiled(data=submitted | {name: wrong}))
    assert CANARY not in str(refused.value)


def test_a_number_beyond_every_float_is_refused() -> None:
    value = envelope.encode(enveloped(DecisionRequested.example(), id=TASK))
    confidence = b'"minimum_confidence":'
    at = value.index(confidence) + len(confidence)
    spoiled_value = value[:at] + b"1e999" + value[at + 3 :]

    with pytest.raises(Refused):
        envelope.open(spoiled_value)


@given(depth=st.integers(min_value=1, max_value=60), brackets=st.sampled_from([("[", "]"), ('{"a":', "}")]))
def test_data_nests_at_most_thirty_two_levels(depth: int, brackets: tuple[str, str]) -> None:
    data = brackets[0] * depth + "1" + brackets[1] * depth
    value = spoiled(data="HERE").replace(b'"HERE"', data.encode())

    if depth <= envelope.MAX_DEPTH:
        assert envelope.parse(value)["data"] is not None
    else:
        with pytest.raises(Refused, match="nested deeper than 32 levels"):
            envelope.parse(value)


def test_an_envelope_has_at_most_forty_eight_kibibytes() -> None:
    fact = enveloped(task_submitted())
    envelope.open(envelope.encode(replace(fact, actor="x" * 40_000)))

    with pytest.raises(Refused, match="limit is 49152; send less"):
        envelope.encode(replace(fact, actor="x" * 49_152))
    with pytest.raises(Refused, match="at most 49152"):
        envelope.open(b" " * (envelope.MAX_ENVELOPE_BYTES + 1))


@given(actor=st.text(CHARACTERS, max_size=20))
def test_a_text_that_postgresql_could_not_keep_is_refused_at_both_ends(actor: str) -> None:
    with_nul = f"{actor}\0"

    with pytest.raises(Refused, match="U\\+0000"):
        envelope.encode(replace(enveloped(task_submitted()), actor=with_nul))
    with pytest.raises(Refused, match="U\\+0000"):
        envelope.open(spoiled(actor=with_nul))


@pytest.mark.parametrize("version", [2, 7, 100])
def test_a_newer_version_is_unsupported_and_not_guessed(version: int) -> None:
    with pytest.raises(UnsupportedVersion, match="upgrade, then replay it"):
        envelope.open(spoiled(type=f"grace.task-submitted.v{version}"))


@pytest.fixture
def kettle_boiled() -> Iterator[tuple[type[Event], type[Event]]]:
    """An event in two versions, known while the test runs."""

    class KettleBoiledV1(Event):
        TYPE: ClassVar = "grace.kettle-boiled.v1"
        TOPIC: ClassVar = topics.TASK

        fahrenheit: float

        def upcast(self) -> Event:
            return KettleBoiled(celsius=(self.fahrenheit - 32) / 1.8)

    class KettleBoiled(Event):
        TYPE: ClassVar = "grace.kettle-boiled.v2"
        TOPIC: ClassVar = topics.TASK

        celsius: float

        @property
        def partition_key(self) -> str:
            return "kettle"

    yield KettleBoiledV1, KettleBoiled
    del Event._REGISTRY[KettleBoiledV1.TYPE], Event._REGISTRY[KettleBoiled.TYPE]


def of_type(type_: str, data: Mapping[str, Any]) -> Envelope:
    return envelope.open(spoiled(type=type_, data=data))


def test_an_older_version_is_met_as_the_newest(kettle_boiled: tuple[type[Event], type[Event]]) -> None:
    _, newest = kettle_boiled

    assert of_type("grace.kettle-boiled.v1", {"fahrenheit": 212.0}).event == newest.model_validate({"celsius": 100.0})
    assert of_type("grace.kettle-boiled.v2", {"celsius": 100.0}).event == newest.model_validate({"celsius": 100.0})
    with pytest.raises(UnsupportedVersion, match=r"\(v2\)"):
        of_type("grace.kettle-boiled.v3", {})


def test_an_older_version_that_the_newest_cannot_say_is_refused(
    kettle_boiled: tuple[type[Event], type[Event]],
) -> None:
    class KettleBoiledV0(Event):
        TYPE: ClassVar = "grace.kettle-cooled.v1"
        TOPIC: ClassVar = topics.TASK

        words: str

        def upcast(self) -> Event:
            return kettle_boiled[1].model_validate({"celsius": self.words})

    try:
        with pytest.raises(Refused, match="celsius") as refused:
            of_type(KettleBoiledV0.TYPE, {"words": CANARY})
    finally:
        del Event._REGISTRY[KettleBoiledV0.TYPE]
    assert CANARY not in str(refused.value)


def test_two_classes_cannot_claim_one_type() -> None:
    with pytest.raises(TypeError, match=r"grace\.task-submitted\.v1"):

        class Another(Event):
            TYPE: ClassVar = "grace.task-submitted.v1"
            TOPIC: ClassVar = topics.TASK


def test_an_event_must_state_its_key_and_its_example(kettle_boiled: tuple[type[Event], type[Event]]) -> None:
    older, _ = kettle_boiled

    with pytest.raises(Refused, match="no partition key"):
        _ = older.model_validate({"fahrenheit": 1.0}).partition_key
    with pytest.raises(Refused, match="no example"):
        older.example()


def test_opening_keeps_an_integer_of_any_size() -> None:
    submitted = task_submitted()
    example = Example(args=(10**30,), expected=-(10**25))
    wanted = submitted.specification.model_copy(update={"examples": (example,)})

    opened = envelope.open(envelope.encode(enveloped(submitted.model_copy(update={"specification": wanted})))).event

    assert opened.specification.examples == (example,)  # type: ignore[attr-defined]
