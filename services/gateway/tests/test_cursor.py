"""Cursors: opaque to clients, and only this service's own are taken."""

from datetime import UTC, datetime
from uuid import UUID

import pytest
from grace_gateway.domain.cursor import Cursor, decode_number, encode_number
from grace_gateway.domain.refusals import Unprocessable
from hypothesis import given
from hypothesis import strategies as st

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


@given(st.datetimes(timezones=st.just(UTC)), st.uuids())
def test_a_cursor_comes_back_as_it_was(time: datetime, id_: UUID) -> None:
    assert Cursor.decode(Cursor(time, id_).encode()) == Cursor(time, id_)


@given(st.integers(0, 10**17))
def test_a_number_comes_back_as_it_was(number: int) -> None:
    assert decode_number(encode_number(number)) == number


@pytest.mark.parametrize("text", ["", "!", "AAAA", "é", encode_number(7), "MjAyNi0xMS0yMnww"])
def test_a_foreign_cursor_is_refused(text: str) -> None:
    with pytest.raises(Unprocessable, match="none of this service's"):
        Cursor.decode(text)


@pytest.mark.parametrize("text", ["", "!", Cursor(NOON, UUID(int=1)).encode(), encode_number(10**19)])
def test_a_foreign_number_is_refused(text: str) -> None:
    with pytest.raises(Unprocessable, match="none of this service's"):
        decode_number(text)


def test_a_time_without_a_zone_is_no_cursor() -> None:
    with pytest.raises(Unprocessable):
        Cursor.decode(Cursor(datetime(2026, 11, 22), UUID(int=1)).encode())  # noqa: DTZ001
