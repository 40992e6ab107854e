"""Whether a schema still reads what it used to: each break is found, each allowed change passes, no verdict is wrong.

Soundness is searched for: wherever `breaks` finds nothing, instances of the old schema must all pass the new one, as an
independent validator judges.
"""

from copy import deepcopy
from random import Random
from typing import Any

import jsonschema_rs
import pytest
from grace_common.contract.events.base import event_types
from grace_common.contract.schemas import event_schema
from grace_common.testing.instances import instance
from hypothesis import given, settings
from hypothesis import strategies as st

from tools.compatibility import breaks

EVENTS = sorted(event_types().values(), key=lambda event: event.TYPE)


def closed(properties: dict[str, Any], *required: str, **others: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(required),
        "additionalProperties": False,
        **others,
    }


def opened(properties: dict[str, Any], *required: str, **others: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(required), **others}


TEXT, NUMBER, WHOLE, NULL = ({"type": name} for name in ("string", "number", "integer", "null"))
A = {"A": closed({"a": TEXT})}


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        (closed({"a": TEXT}), closed({"a": TEXT}, "a"), "data.a: became required"),
        (closed({"a": TEXT}), closed({"a": TEXT, "b": TEXT}, "b"), "data.b: became required"),
        (closed({"a": TEXT}), closed({}), "data.a: was removed"),
        (closed({"a": TEXT}), closed({"a": NUMBER}), "data.a: was string, now number"),
        (closed({"a": NUMBER}), closed({"a": WHOLE}), "data.a: was number, now integer"),
        (closed({"a": {}}), closed({"a": TEXT}), "data.a: allowed anything"),
        (closed({"a": True}), closed({"a": TEXT}), "data.a: allowed anything"),
        (closed({"a": TEXT}), closed({"a": False}), "data.a: is no longer allowed"),
        (opened({}), closed({}), "data: was open, now closed"),
        (opened({}), opened({"b": TEXT}), "data.b: allowed anything, now restricted"),
        (opened({"a": TEXT}), opened({}, additionalProperties=NUMBER), "data.a: was string, now number"),
        ({"properties": {"a": TEXT}}, {"properties": {"a": NUMBER}}, "data.a: was string, now number"),
        ({"items": TEXT}, {"items": NUMBER}, "data[]: was string, now number"),
        ({"type": "array", "items": TEXT}, {"type": "array", "items": NUMBER}, "data[]: was string"),
        ({"type": "array"}, {"type": "array", "items": TEXT}, "data[]: allowed anything"),
        ({"type": "array", "prefixItems": [TEXT]}, {"type": "array", "prefixItems": [NUMBER]}, "places changed"),
        (
            {"type": "array", "prefixItems": [{"$ref": "#/$defs/A"}], "$defs": A},
            {"type": "array", "prefixItems": [{"$ref": "#/$defs/A"}], "$defs": {"A": closed({})}},
            "places changed",
        ),
        ({"enum": ["a", "b"]}, {"enum": ["a"]}, "values were taken away"),
        ({"enum": [1]}, {"enum": [True]}, "values were taken away"),
        ({"const": "a"}, {"const": "b"}, "values were taken away"),
        (TEXT, {"type": "string", "enum": ["a"]}, "values were taken away"),
        ({"type": "integer", "minimum": 0}, {"type": "integer", "minimum": 1}, "minimum rose to 1"),
        (WHOLE, {"type": "integer", "minimum": 0}, "minimum rose to 0"),
        ({"type": "integer", "minimum": 0}, {"type": "integer", "exclusiveMinimum": 0}, "exclusiveMinimum rose"),
        ({"type": "string", "maxLength": 9}, {"type": "string", "maxLength": 8}, "maxLength fell to 8"),
        (TEXT, {"type": "string", "pattern": "^a$"}, "pattern is new or changed"),
        (TEXT, {"type": "string", "format": "uuid"}, "format is new or changed"),
        (WHOLE, {"type": "integer", "multipleOf": 2}, "multipleOf is new or changed"),
        ({"type": "array"}, {"type": "array", "uniqueItems": True}, "uniqueItems is new or changed"),
        ({"anyOf": [TEXT, NULL]}, TEXT, "alternative 2 is no longer allowed"),
        ({"anyOf": [TEXT, NULL]}, {"anyOf": [NULL]}, "alternative 1 is no longer allowed"),
        ({"type": ["string", "null"]}, TEXT, "now string"),
        (closed({"a": TEXT}), closed({"a": TEXT}, not_=TEXT) | {"not": TEXT}, "not is not understood"),
        (
            {"oneOf": [{"$ref": "#/$defs/A"}], "$defs": A},
            {"oneOf": [{"$ref": "#/$defs/A"}], "$defs": {"A": closed({})}},
            "oneOf is not understood",
        ),
        (TEXT, {"anyOf": [TEXT], "maxLength": 3}, "maxLength beside anyOf is not understood"),
        (A["A"], {"$ref": "#/$defs/A", "minProperties": 1, "$defs": A}, "minProperties beside $ref"),
        (
            closed({"a": {"$ref": "#/$defs/A"}}, **{"$defs": A}),
            closed({"a": {"$ref": "#/$defs/A"}}, **{"$defs": {"A": closed({"a": NUMBER})}}),
            "data.a.a: was string, now number",
        ),
    ],
)
def test_what_takes_something_away_is_a_break(old: Any, new: Any, reason: str) -> None:
    found = breaks(old, new)

    assert any(reason in one for one in found), found


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (closed({"a": TEXT}, "a"), closed({"a": TEXT}, "a")),
        (closed({"a": TEXT}, "a"), closed({"a": TEXT, "b": TEXT}, "a")),
        (closed({"a": TEXT}, "a"), closed({"a": TEXT})),
        (closed({"a": TEXT}), opened({"a": TEXT})),
        (closed({"a": WHOLE}), closed({"a": NUMBER})),
        (closed({"a": TEXT}), closed({"a": {}})),
        (closed({"a": TEXT}), closed({"a": {"anyOf": [TEXT, NULL], "default": None}})),
        (closed({"a": TEXT}), closed({"a": {"type": ["string", "null"]}})),
        (closed({"a": False}), closed({"a": TEXT})),
        (opened({}, additionalProperties=WHOLE), opened({"b": NUMBER}, additionalProperties=WHOLE)),
        ({"type": "integer", "minimum": 1, "maximum": 5}, {"type": "integer", "minimum": 0, "maximum": 9}),
        ({"enum": ["a"]}, {"enum": ["a", "b"]}),
        ({"type": "string", "pattern": "^a$"}, TEXT),
        ({"type": "array", "items": WHOLE, "maxItems": 3}, {"type": "array", "items": NUMBER}),
        (A["A"], {"$ref": "#/$defs/A", "$defs": A, "description": "the same"}),
        ({"title": "One", "type": "string"}, {"title": "Other", "type": "string", "examples": ["a"]}),
    ],
)
def test_what_only_adds_is_no_break(old: Any, new: Any) -> None:
    assert breaks(old, new) == []


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event.TYPE)
def test_every_event_is_compatible_with_itself(event: Any) -> None:
    assert breaks(event_schema(event), event_schema(event)) == []


def test_a_definition_that_contains_itself_ends() -> None:
    tree = {"T": closed({"children": {"type": "array", "items": {"$ref": "#/$defs/T"}}})}

    assert breaks({"$ref": "#/$defs/T", "$defs": tree}, {"$ref": "#/$defs/T", "$defs": tree}) == []


NAMES = st.sampled_from(["a", "b", "c"])
BOUNDS = st.integers(0, 4)
SCALARS = st.one_of(
    st.builds(lambda low, more: {"type": "integer", "minimum": low, "maximum": low + more}, BOUNDS, BOUNDS),
    st.builds(lambda low, more: {"type": "string", "minLength": low, "maxLength": low + more}, BOUNDS, BOUNDS),
    st.sampled_from([TEXT, NUMBER, WHOLE, NULL, {"type": "boolean"}, {}, {"enum": ["a", 1]}, {"const": True}]),
    st.just({"$ref": "#/$defs/D"}),
)


def compound(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    properties = st.dictionaries(NAMES, inner, max_size=3)
    return st.one_of(
        st.builds(
            lambda has, need, rest: {
                "type": "object",
                "properties": has,
                "required": sorted(has)[:need],
                "additionalProperties": rest,
            },
            properties,
            BOUNDS,
            st.one_of(st.booleans(), inner),
        ),
        st.builds(lambda items, least: {"type": "array", "items": items, "minItems": least}, inner, BOUNDS),
        st.builds(lambda choices: {"anyOf": choices}, st.lists(inner, min_size=1, max_size=3)),
    )


SCHEMAS = st.recursive(SCALARS, compound, max_leaves=6)


def changed(schema: Any, random: Random) -> Any:
    """The schema with one thing about it made wider, narrower or other."""
    schema = deepcopy(schema)
    places: list[dict[str, Any]] = []
    waiting = [schema]
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict):
            places.append(one)
            waiting += one.values()
        elif isinstance(one, list):
            waiting += one
    place = random.choice(places)
    if not place or random.random() < 0.2:
        place[random.choice(["minimum", "maxLength", "minItems", "maxProperties", "x-note", "uniqueItems"])] = 2
        return schema
    name = random.choice(sorted(place))
    if isinstance(place[name], int) and not isinstance(place[name], bool):
        place[name] = max(0, place[name] + random.choice([-1, 1]))
    elif isinstance(place[name], list) and place[name] and random.random() < 0.5:
        place[name].pop(random.randrange(len(place[name])))
    elif name in ("additionalProperties", "items"):
        place[name] = random.choice([True, False, TEXT, {"type": "null"}])
    elif name == "type":
        place[name] = random.choice(["number", "string", "integer"])
    elif name in ("$ref", "properties", "required"):
        place["anyOf"] = [dict(place), NULL]
        del place[name]
    else:
        del place[name]
    return schema


def valid(schema: Any) -> bool:
    return jsonschema_rs.meta.is_valid(schema) if isinstance(schema, dict) else False


@settings(max_examples=400)
@given(schema=SCHEMAS, definition=SCHEMAS, random=st.randoms(use_true_random=False))
def test_no_instance_of_the_old_schema_refutes_a_verdict_of_compatible(
    schema: Any, definition: Any, random: Random
) -> None:
    old = {**schema, "$defs": {"D": {"type": "string"} if "$ref" in str(definition) else definition}}
    new = changed(old, random)
    if not valid(new) or "D" not in new.get("$defs", {}) or breaks(old, new):
        return
    judge = jsonschema_rs.validator_for(new)
    before = jsonschema_rs.validator_for(old)

    for _ in range(20):
        sample = instance(old, random)
        if before.is_valid(sample):
            assert judge.is_valid(sample), sample
