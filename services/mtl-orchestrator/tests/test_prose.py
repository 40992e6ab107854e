"""Texts are cut by the bytes they take, and say that they were cut."""

from grace_mtl_orchestrator.domain.prose import newest, shorten, size
from hypothesis import example, given
from hypothesis import strategies as st


@given(text=st.text(), limit=st.integers(16, 200))
def test_a_shortened_text_fits_and_is_the_beginning_of_the_whole(text: str, limit: int) -> None:
    shortened = shorten(text, limit)

    assert size(shortened) <= limit
    assert shortened == text or (shortened.endswith(" […]") and text.startswith(shortened.removesuffix(" […]")))


@given(texts=st.lists(st.text(max_size=40), max_size=8), limit=st.integers(16, 200))
@example(texts=["", "0\U00010000\U00010000\x1f"], limit=17)
def test_of_many_texts_the_newest_are_kept_in_their_order(texts: list[str], limit: int) -> None:
    kept = newest(texts, limit)

    assert sum(size(text) for text in kept) <= limit
    assert bool(kept) == bool(texts)
    assert list(kept[:-1]) == texts[len(texts) - len(kept) :][:-1]  # the very last may be cut
