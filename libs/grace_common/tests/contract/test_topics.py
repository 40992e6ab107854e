"""The one table of topics: every row makes sense, and every event has a place in it."""

import pytest
from grace_common.contract import topics
from grace_common.contract.events.base import event_types
from grace_common.contract.topics import OUTSIDE, SERVICES, TOPICS, Topic

EVERY = pytest.mark.parametrize("topic", TOPICS, ids=str)


def test_names_and_nouns_are_unique() -> None:
    assert len({topic.name for topic in TOPICS}) == len({topic.noun for topic in TOPICS}) == len(TOPICS)


@EVERY
def test_a_topic_is_found_by_its_name(topic: Topic) -> None:
    assert topics.by_name(topic.name) is topic
    assert topic.name == f"grace.{topic.noun}.v1"


def test_a_name_that_the_table_lacks_is_no_topic() -> None:
    with pytest.raises(KeyError):
        topics.by_name("grace.gossip.v1")


@EVERY
def test_only_known_principals_write_and_only_services_read(topic: Topic) -> None:
    assert topic.writers
    assert topic.readers
    assert set(topic.writers) <= {*SERVICES, OUTSIDE}
    assert set(topic.readers) <= set(SERVICES)


@EVERY
def test_one_service_writes_one_topic_and_all_write_operations_and_dead_letters(topic: Topic) -> None:
    shared = {topics.OPERATION, topics.DEAD_LETTER}

    assert topic.writers == SERVICES if topic in shared else len(topic.writers) == 1


@EVERY
def test_what_is_notarized_is_read_by_the_notary_and_kept_for_days_only(topic: Topic) -> None:
    if topic.notarized:
        assert topics.CRYPTO_SIGNER in topic.readers
        assert topic.retention is not None


@EVERY
def test_only_compacted_topics_are_kept_for_ever(topic: Topic) -> None:
    assert (topic.retention is None) == topic.compacted


def test_the_order_of_the_whole_topic_is_kept_where_it_carries_meaning() -> None:
    assert {topic.noun for topic in TOPICS if topic.partitions == 1} == {"signature", "ledger", "identity", "witness"}


@pytest.mark.parametrize("event", sorted(event_types().values(), key=lambda one: one.TYPE), ids=lambda one: one.TYPE)
def test_every_event_lies_on_a_topic_of_the_table_and_shares_its_noun(event: type) -> None:
    assert event.TOPIC in TOPICS  # type: ignore[attr-defined]
    assert event.__module__.rpartition(".")[2] == event.TOPIC.noun.replace("-", "_")  # type: ignore[attr-defined]
