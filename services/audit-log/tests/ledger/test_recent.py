"""What was committed last is at hand, and is what the database holds."""

from grace_audit_log.handlers.recent import RecentEntries
from hypothesis import given
from hypothesis import strategies as st

from .fakes import MemoryLedger, entry


class Gone:
    """A store that cannot be asked."""

    async def leaves(self, start: int, end: int) -> list[bytes]:
        raise AssertionError(f"leaves {start} to {end} were at hand")

    async def places(self, start: int, end: int) -> list[object]:
        raise AssertionError(f"places {start} to {end} were at hand")


@given(
    batches=st.lists(st.tuples(st.integers(1, 7), st.booleans()), max_size=12),
    asked=st.tuples(st.integers(0, 60), st.integers(0, 60)),
    most=st.integers(1, 12),
)
async def test_the_answer_is_the_stored_one_whoever_wrote_and_however_much_is_kept(
    batches: list[tuple[int, bool]], asked: tuple[int, int], most: int
) -> None:
    stored = MemoryLedger()
    recent = RecentEntries(stored, most)
    for count, own in batches:
        first = len(stored.entries)
        new = [entry(first + number) for number in range(count)]
        stored.entries += new
        if own:
            recent.add(first, new)
    start, end = sorted(min(number, len(stored.entries)) for number in asked)

    assert await recent.leaves(start, end) == await stored.leaves(start, end)
    assert await recent.places(start, end) == await stored.places(start, end)


async def test_what_was_committed_last_is_not_read_back() -> None:
    recent = RecentEntries(Gone(), most=5)  # type: ignore[arg-type]
    recent.add(10, [entry(number) for number in range(10, 14)])
    recent.add(14, [entry(14), entry(15)])

    assert await recent.leaves(11, 16) == [entry(number).leaf for number in range(11, 16)]
    assert [place.entry_id for place in await recent.places(13, 15)] == [entry(13).entry_id, entry(14).entry_id]
