"""Whether a newer event schema still reads what an older one allowed.

The rule: between releases an event version only gains optional fields. Event schemas are closed (`additionalProperties:
false`), so in strict set semantics every new optional property widens the set, and older readers refuse what newer
writers add; readers are upgraded first, and `old ⊆ new` is what is checked here. Each verdict is backed by a structural
reason; where the structure is not understood, the verdict is "incompatible", never a guess.
"""

from collections.abc import Iterator, Mapping
from typing import Any

Schema = Mapping[str, Any]

_ANNOTATIONS = frozenset({"title", "description", "default", "examples", "$schema", "$id", "$defs"})
_LOWER_BOUNDS = ("minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties")
_UPPER_BOUNDS = ("maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties")


def breaks(old: Schema, new: Schema) -> list[str]:
    """Return why records that `old` allows are refused by `new`; empty when all of them still pass."""
    return list(_compare(old, new, old.get("$defs", {}), new.get("$defs", {}), "data", 0))


def _compare(old: Any, new: Any, old_defs: Schema, new_defs: Schema, at: str, depth: int) -> Iterator[str]:
    if depth > 40:  # a recursive definition: its first forty levels agree
        return
    if new is True or new == {} or old is False:
        return
    if old is True or old == {}:
        yield f"{at}: allowed anything, now restricted"
        return
    if new is False:
        yield f"{at}: is no longer allowed"
        return
    for name in ("$ref", "anyOf"):
        if name in new and (beside := new.keys() - _ANNOTATIONS - {name}):
            yield f"{at}: {', '.join(sorted(beside))} beside {name} is not understood by this check"
            return
    if "$ref" in old or "$ref" in new:
        yield from _compare(_resolved(old, old_defs), _resolved(new, new_defs), old_defs, new_defs, at, depth + 1)
        return
    if "anyOf" in old or "anyOf" in new:
        choices = new.get("anyOf", [new])
        for number, alternative in enumerate(old.get("anyOf", [old])):
            if not any(not list(_compare(alternative, one, old_defs, new_defs, at, depth + 1)) for one in choices):
                yield f"{at}: alternative {number + 1} is no longer allowed"
        return
    yield from _scalars(old, new, old_defs == new_defs, at)
    # Without a type, an old schema allowed objects and arrays among others.
    if "object" in _types(old, ("object",)):
        yield from _objects(old, new, old_defs, new_defs, at, depth)
    if "array" in _types(old, ("array",)):
        yield from _arrays(old, new, old_defs, new_defs, at, depth)


def _scalars(old: Schema, new: Schema, same_definitions: bool, at: str) -> Iterator[str]:
    allowed = _types(new, ())
    if "number" in allowed:
        allowed = allowed | {"integer"}
    if "type" in new and not _types(old, ("anything",)) <= allowed:
        yield f"{at}: was {old.get('type', 'anything')}, now {new['type']}"
    for name in ("enum", "const"):
        if name in new:
            was = old.get("enum", [old["const"]] if "const" in old else None)
            now = new.get("enum", [new.get("const")])
            # `in` alone would take True for 1.
            if was is None or any((value, type(value)) not in [(one, type(one)) for one in now] for value in was):
                yield f"{at}: values were taken away"
    for name in _LOWER_BOUNDS:
        if name in new and new[name] > old.get(name, float("-inf")):
            yield f"{at}: {name} rose to {new[name]}"
    for name in _UPPER_BOUNDS:
        if name in new and new[name] < old.get(name, float("inf")):
            yield f"{at}: {name} fell to {new[name]}"
    for name in ("pattern", "format", "multipleOf", "uniqueItems"):
        if name in new and new[name] != old.get(name):
            yield f"{at}: {name} is new or changed"
    understood = {
        *_ANNOTATIONS, *_LOWER_BOUNDS, *_UPPER_BOUNDS, "type", "enum", "const", "pattern", "format", "multipleOf",
        "uniqueItems", "properties", "required", "additionalProperties", "items", "prefixItems", "anyOf", "$ref",
    }  # fmt: skip
    for name in sorted(new.keys() - understood):
        if new[name] != old.get(name) or not (same_definitions or _self_contained(new[name])):
            yield f"{at}: {name} is not understood by this check"


def _objects(old: Schema, new: Schema, old_defs: Schema, new_defs: Schema, at: str, depth: int) -> Iterator[str]:
    before, after = old.get("properties", {}), new.get("properties", {})
    for name in sorted(set(new.get("required", [])) - set(old.get("required", []))):
        yield f"{at}.{name}: became required"
    rest = new.get("additionalProperties", True)
    for name, schema in before.items():
        if name in after:
            yield from _compare(schema, after[name], old_defs, new_defs, f"{at}.{name}", depth + 1)
        elif rest is False:
            yield f"{at}.{name}: was removed"
        else:
            yield from _compare(schema, rest, old_defs, new_defs, f"{at}.{name}", depth + 1)
    others = old.get("additionalProperties", True)
    for name in sorted(after.keys() - before.keys()):
        yield from _compare(others, after[name], old_defs, new_defs, f"{at}.{name}", depth + 1)
    if others is not False:
        if rest is False:
            yield f"{at}: was open, now closed"
        else:
            yield from _compare(others, rest, old_defs, new_defs, f"{at}.*", depth + 1)


def _arrays(old: Schema, new: Schema, old_defs: Schema, new_defs: Schema, at: str, depth: int) -> Iterator[str]:
    places = new.get("prefixItems")
    if old.get("prefixItems") != places or not (old_defs == new_defs or _self_contained(places)):
        yield f"{at}: the tuple's places changed"
    if "items" in new:
        yield from _compare(old.get("items", True), new["items"], old_defs, new_defs, f"{at}[]", depth + 1)


def _types(schema: Schema, unstated: tuple[str, ...]) -> frozenset[str]:
    """Return the types that a schema names, `unstated` where it names none."""
    stated = schema.get("type", unstated)
    return frozenset({stated} if isinstance(stated, str) else stated)


def _self_contained(value: Any) -> bool:
    """Return whether no definition elsewhere can change what this means."""
    if isinstance(value, Mapping):
        return "$ref" not in value and all(_self_contained(inner) for inner in value.values())
    return not isinstance(value, list) or all(_self_contained(inner) for inner in value)


def _resolved(schema: Schema, definitions: Schema) -> Schema:
    reference = schema.get("$ref")
    return definitions[reference.removeprefix("#/$defs/")] if reference else schema
