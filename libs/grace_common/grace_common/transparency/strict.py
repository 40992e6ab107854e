"""Strict readings of base64, JSON and decimals: a value has one spelling, so that no byte can change unnoticed."""

import json
import re
from base64 import b64encode
from binascii import Error as Base64Error
from binascii import a2b_base64
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

import orjson

from grace_common.contract.errors import Refused

DECIMAL = re.compile(r"0|[1-9][0-9]{0,18}", re.ASCII)
SHA256_HEX = re.compile(r"[0-9a-f]{64}", re.ASCII)


class Malformed(Refused):
    """Bytes that are not of the format they are read as."""


def encode_base64(data: bytes) -> str:
    """Return standard base64 with padding (RFC 4648, section 4)."""
    return b64encode(data).decode("ascii")


def decode_base64(text: str, what: str, size: int | None = None) -> bytes:
    """Return the bytes of a canonical base64 text.

    what     names the field in the error
    size     the number of bytes expected, where the format fixes it
    raises   Malformed for foreign characters, missing padding, stray trailing bits, or another size
    """
    try:
        data = a2b_base64(text.encode("ascii"), strict_mode=True)
    except (Base64Error, UnicodeEncodeError) as error:
        raise Malformed(f"{what} is not base64: {error}") from error
    if encode_base64(data) != text:
        raise Malformed(f"{what} is base64 with stray bits after its last byte")
    if size is not None and len(data) != size:
        raise Malformed(f"{what} has {len(data)} bytes; expected {size}")
    return data


def decode_decimal(text: str, what: str) -> int:
    """Return the number of an ASCII decimal without sign or leading zeros, below 2^63; raises Malformed."""
    if not DECIMAL.fullmatch(text) or (number := int(text)) >= 1 << 63:
        raise Malformed(f"{what} is {text!r}; expected a decimal without leading zeros, below 2^63")
    return number


def compact_json(value: object) -> bytes:
    """Return JSON in the one form that Grace emits: UTF-8, no blanks, members in the order given."""
    return orjson.dumps(value)


def parse_json(data: bytes, what: str) -> Any:
    """Return the value of a JSON text; raises Malformed, also for a repeated member, NaN or nesting without end."""
    try:
        value = orjson.loads(data)
    except ValueError:
        return _parse_slowly(data, what)  # says what is wrong
    if orjson.dumps(value) == data:  # as Grace writes it, so nothing can have been repeated: twenty times as fast
        return value
    return _parse_slowly(data, what)


def _parse_slowly(data: bytes, what: str) -> Any:

    def members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            raise Malformed(f"{what} repeats a member of an object")
        return found

    def constant(name: str) -> NoReturn:
        raise Malformed(f"{what} contains {name}, which JSON does not have")

    try:
        return json.loads(data.decode("utf-8"), object_pairs_hook=members, parse_constant=constant)
    except (ValueError, RecursionError) as error:
        raise Malformed(f"{what} is not JSON: {error}") from error


def read_object(value: object, what: str, required: Sequence[str], optional: Sequence[str] = ()) -> Mapping[str, Any]:
    """Return `value` as an object that has every required member and none but these; raises Malformed."""
    if not isinstance(value, dict):
        raise Malformed(f"{what} is no JSON object")
    missing = [name for name in required if name not in value]
    unknown = [name for name in value if name not in required and name not in optional]
    if missing or unknown:
        raise Malformed(f"{what} lacks {missing} and has the unknown {unknown}")
    return value


def read_members(value: object, what: str, required: Sequence[str]) -> Mapping[str, Any]:
    """Return `value` as an object with every required member, whatever else it has: what foreign formats allow."""
    if not isinstance(value, dict):
        raise Malformed(f"{what} is no JSON object")
    missing = [name for name in required if name not in value]
    if missing:
        raise Malformed(f"{what} lacks {missing}")
    return value


def read_string(value: object, what: str) -> str:
    """Return `value` as a text that is not empty; raises Malformed."""
    if not isinstance(value, str) or not value:
        raise Malformed(f"{what} is {value!r}; expected a text that is not empty")
    if not value.isascii() and any(
        "\ud800" <= sign <= "\udfff" for sign in value
    ):  # JSON can escape half a character, UTF-8 cannot hold it
        raise Malformed(f"{what} is {value!r}, which holds half a character")
    return value


def read_optional_string(value: object, what: str) -> str | None:
    """Return `value` as a text or null; raises Malformed."""
    return None if value is None else read_string(value, what)


def read_number(value: object, what: str) -> int:
    """Return `value` as an integer from 0 to 2^63 - 1; raises Malformed."""
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 1 << 63:
        raise Malformed(f"{what} is {value!r}; expected an integer from 0 to 2^63 - 1")
    return value


def read_list(value: object, what: str) -> list[Any]:
    """Return `value` as a JSON array; raises Malformed."""
    if not isinstance(value, list):
        raise Malformed(f"{what} is no JSON array")
    return value


def read_sha256(value: object, what: str) -> str:
    """Return `value` as 64 lower-case hexadecimal digits; raises Malformed."""
    if not isinstance(value, str) or not SHA256_HEX.fullmatch(value):
        raise Malformed(f"{what} is {value!r}; expected 64 lower-case hexadecimal digits")
    return value
