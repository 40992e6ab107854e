"""Instances of a JSON Schema, as its owner might send them: for properties of schemas and of what reads them."""

import json
from base64 import urlsafe_b64encode
from collections.abc import Callable, Mapping
from random import Random
from typing import Any, Final
from uuid import UUID

Schema = Mapping[str, Any]

_ANNOTATIONS: Final = frozenset({"$schema", "$id", "$defs", "title", "description", "default"})
_LETTERS: Final = "abcdefghijklmnopqrstuvwxyz"
_TEXTS: Final = ("", "a", "fibonacci", "Grüße, 世界 🎻", 'quoted "text" \\ with\nlines\t', "0", "null", " ")

_PATTERNS: Final[Mapping[str, Callable[[Random], str]]] = {
    r"^[0-9a-f]{64}$": lambda random: random.randbytes(32).hex(),
    r"^[A-Za-z_][A-Za-z0-9_]{0,99}$": lambda random: _letters(random, 1, 100),
    r"^[a-z][a-z0-9+#-]{0,30}$": lambda random: _letters(random, 1, 31),
    r"^[a-z0-9][a-z0-9-]{0,62}$": lambda random: _letters(random, 1, 63),
}
_FORMATS: Final[Mapping[str, Callable[[Random], str]]] = {
    "uuid": lambda random: str(UUID(bytes=random.randbytes(16), version=4)),
    "date-time": lambda random: (
        f"20{random.randrange(10, 99)}-0{random.randrange(1, 10)}-11T23:59:0{random.randrange(10)}Z"
    ),
    "base64url": lambda random: urlsafe_b64encode(random.randbytes(32)).decode(),
}


def instance(schema: Schema, random: Random) -> Any:
    """Return an instance of the schema; the same for the same state of `random`.

    raises  KeyError for a pattern or a format that is not known here yet: say above how it is written
    """
    return _Writer(schema.get("$defs", {}), random).write(schema, 0)


class _Writer:
    def __init__(self, definitions: Schema, random: Random) -> None:
        self._definitions = definitions
        self._random = random

    def write(self, schema: Schema | bool, depth: int) -> Any:
        if isinstance(schema, bool) or not schema.keys() - _ANNOTATIONS:
            return self._anything(depth)
        if "$ref" in schema:
            return self.write(self._definitions[schema["$ref"].removeprefix("#/$defs/")], depth)
        if "const" in schema:
            return schema["const"]
        if "enum" in schema:
            return self._random.choice(schema["enum"])
        if "anyOf" in schema:
            return self.write(self._random.choice(schema["anyOf"]), depth)
        write = {
            "object": self._object,
            "array": self._array,
            "string": self._string,
            "integer": self._integer,
            "number": self._number,
        }
        kind = schema["type"]
        if kind == "null":
            return None
        return self._random.random() < 0.5 if kind == "boolean" else write[kind](schema, depth)

    def _anything(self, depth: int) -> Any:
        kinds: list[Callable[[], Any]] = [
            lambda: None,
            lambda: self._random.random() < 0.5,
            lambda: self._random.randrange(-(10**25), 10**25),
            lambda: self._random.random() * 1e6,
            lambda: self._random.choice(_TEXTS),
        ]
        if depth < 4:
            kinds.append(lambda: [self._anything(depth + 1) for _ in range(self._random.randrange(3))])
            kinds.append(lambda: {self._random.choice(_TEXTS): self._anything(depth + 1)})
        return self._random.choice(kinds)()

    def _object(self, schema: Schema, depth: int) -> dict[str, Any]:
        required = set(schema.get("required", ()))
        written = {
            name: self.write(inner, depth + 1)
            for name, inner in schema.get("properties", {}).items()
            if name in required or self._random.random() < 0.6
        }
        others = schema.get("additionalProperties", True)
        if others is not False and (others is not True or "properties" not in schema):
            written |= {name: self.write(others, depth + 1) for name in _TEXTS[1 : self._random.randrange(1, 4)]}
        return written

    def _array(self, schema: Schema, depth: int) -> list[Any]:
        least = schema.get("minItems", 0)
        most = min(schema.get("maxItems", least + 3), least + (3 if depth < 5 else 0))
        places = schema.get("prefixItems", ())
        if places:
            return [self.write(place, depth + 1) for place in places]
        inner = schema.get("items", True)
        written: list[Any] = []
        while len(written) < self._random.randint(least, most):
            item = self.write(inner, depth + 1)
            if not schema.get("uniqueItems") or json.dumps(item) not in {json.dumps(one) for one in written}:
                written.append(item)
        return written

    def _string(self, schema: Schema, _: int) -> str:
        if "pattern" in schema:
            return _PATTERNS[schema["pattern"]](self._random)
        if "format" in schema:
            return _FORMATS[schema["format"]](self._random)
        least, most = schema.get("minLength", 0), schema.get("maxLength", 10_000)
        text = self._random.choice(_TEXTS)[:most]
        return text + _letters(self._random, least - len(text), least - len(text)) if len(text) < least else text

    def _integer(self, schema: Schema, _: int) -> int:
        least: int = schema.get("minimum", schema.get("exclusiveMinimum", -(2**40) - 1) + 1)
        most: int = schema.get("maximum", schema.get("exclusiveMaximum", 2**40) - 1)
        step: int = schema.get("multipleOf", 1)
        return (
            self._random.choice(
                (-(-least // step), most // step, self._random.randint(-(-least // step), most // step))
            )
            * step
        )

    def _number(self, schema: Schema, _: int) -> float:
        least: float = schema.get("minimum", schema.get("exclusiveMinimum", -1e6))
        most: float = schema.get("maximum", schema.get("exclusiveMaximum", 1e6))
        inside = self._random.uniform(least, most)
        ends: list[float] = [schema[end] for end in ("minimum", "maximum") if end in schema]
        return self._random.choice([inside, *ends])


def _letters(random: Random, least: int, most: int) -> str:
    return "".join(random.choices(_LETTERS, k=random.randint(least, most)))
