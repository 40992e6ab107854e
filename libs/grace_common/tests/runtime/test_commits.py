"""Positions are committed a moment after their effects: many batches at once, and none forgotten."""

import asyncio
from collections.abc import Mapping

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import KafkaConnectionError
from grace_common.runtime.stream import Commits

FIRST, SECOND = TopicPartition("grace.task.v1", 0), TopicPartition("grace.task.v1", 1)


class Group:
    """A consumer group that takes commits while `open` is set; `error` is what it answers once."""

    def __init__(self) -> None:
        self.commits: list[Mapping[TopicPartition, int]] = []
        self.asked = asyncio.Event()
        self.taken = asyncio.Event()
        self.open = asyncio.Event()
        self.open.set()
        self.error: Exception | None = None

    async def commit(self, positions: Mapping[TopicPartition, int]) -> None:
        self.asked.set()
        await self.open.wait()
        error, self.error = self.error, None
        if error is not None:
            raise error
        self.commits.append(positions)
        self.taken.set()


def commits_of(group: Group) -> tuple[Commits, "asyncio.Future[None]"]:
    stopped_by: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    return Commits("delivery", lambda: group, stopped_by), stopped_by  # type: ignore[arg-type, return-value]


async def test_the_positions_of_many_batches_are_committed_at_once_and_by_themselves() -> None:
    group = Group()
    commits, _ = commits_of(group)

    commits.note({FIRST: 1, SECOND: 7})
    commits.note({FIRST: 2})
    async with asyncio.timeout(30):
        await group.taken.wait()

    assert group.commits == [{FIRST: 2, SECOND: 7}]


async def test_what_is_noted_while_a_commit_is_under_way_is_committed_after_it() -> None:
    group = Group()
    commits, _ = commits_of(group)
    group.open.clear()

    commits.note({FIRST: 1})
    async with asyncio.timeout(30):
        await group.asked.wait()
        commits.note({FIRST: 2})
        group.open.set()
        await group.taken.wait()
        group.taken.clear()
        await group.taken.wait()

    assert group.commits == [{FIRST: 1}, {FIRST: 2}]


async def test_a_flush_commits_at_once_and_nothing_twice() -> None:
    group = Group()
    commits, _ = commits_of(group)

    commits.note({FIRST: 1})
    await commits.flush()
    await commits.flush()

    assert group.commits == [{FIRST: 1}]


async def test_a_commit_that_is_lost_with_the_broker_stops_nothing() -> None:
    group = Group()
    commits, stopped_by = commits_of(group)
    group.error = KafkaConnectionError("the broker is away")

    commits.note({FIRST: 1})
    await commits.flush()
    commits.note({FIRST: 2})
    await commits.flush()

    assert (group.commits, stopped_by.done()) == ([{FIRST: 2}], False)


async def test_a_commit_that_fails_for_another_reason_stops_the_service() -> None:
    group = Group()
    commits, stopped_by = commits_of(group)
    group.error = ZeroDivisionError("a bug")

    commits.note({FIRST: 1})
    with pytest.raises(ZeroDivisionError):
        await asyncio.wait_for(stopped_by, 30)
