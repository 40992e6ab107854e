"""Many callers share a transaction; one that fails costs the others nothing."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

import pytest
from grace_cli.testing.deployment import Deployment
from grace_common.contract.errors import Refused
from grace_common.runtime.database import Database
from grace_common.runtime.group_commit import GroupCommit
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection


@dataclass
class Tally:
    """Inserts numbers; a negative one is refused, and each group is remembered."""

    database: Database
    groups: list[list[int]] = field(default_factory=list)
    begun: asyncio.Event = field(default_factory=asyncio.Event)
    may_go_on: asyncio.Event = field(default_factory=asyncio.Event)
    forgetful: bool = False

    async def insert(self, connection: AsyncConnection, numbers: Sequence[int]) -> Sequence[str]:
        self.groups.append(list(numbers))
        self.begun.set()
        await self.may_go_on.wait()
        for number in numbers:
            if number < 0:
                raise Refused(f"{number} is negative")
            await connection.execute(text("INSERT INTO tally (number) VALUES (:number)"), {"number": number})
        return [] if self.forgetful else [f"#{number}" for number in numbers]

    async def kept(self) -> list[int]:
        async with self.database.reading() as connection:
            return list((await connection.execute(text("SELECT number FROM tally ORDER BY ctid"))).scalars())


@pytest.fixture
async def tally(deployment: Deployment) -> AsyncIterator[Tally]:
    database = deployment.database("code-gen")
    async with database.transaction() as connection:
        await connection.execute(text("DROP TABLE IF EXISTS tally"))
        await connection.execute(text("CREATE TABLE tally (number int PRIMARY KEY)"))
    made = Tally(database)
    made.may_go_on.set()
    yield made
    async with database.transaction() as connection:
        await connection.execute(text("DROP TABLE tally"))
    await database.close()


async def submitted(tally: Tally, group: GroupCommit[int, str], numbers: Sequence[int]) -> list[object]:
    """Submit the first number, and while its transaction is open all others; return what each came to."""
    tally.may_go_on.clear()
    tasks = [asyncio.create_task(group.submit(numbers[0]))]
    await tally.begun.wait()
    tasks += [asyncio.create_task(group.submit(number)) for number in numbers[1:]]
    await asyncio.sleep(0)
    tally.may_go_on.set()
    return await asyncio.gather(*tasks, return_exceptions=True)


async def test_callers_that_wait_together_share_a_transaction_in_their_order(tally: Tally) -> None:
    results = await submitted(tally, GroupCommit(tally.database, tally.insert, largest=3), range(8))

    assert results == [f"#{number}" for number in range(8)]
    assert tally.groups == [[0], [1, 2, 3], [4, 5, 6], [7]]
    assert await tally.kept() == list(range(8))


async def test_one_bad_item_costs_the_others_nothing(tally: Tally) -> None:
    results = await submitted(tally, GroupCommit(tally.database, tally.insert), [0, 1, -5, 2, 2])

    assert [str(one) for one in results[:4]] == ["#0", "#1", "-5 is negative", "#2"]
    assert isinstance(results[4], IntegrityError)
    assert await tally.kept() == [0, 1, 2]
    assert "[SQL: INSERT" in str(results[4])
    assert "(2" not in str(results[4]).partition("[SQL")[2], "the error hides its parameters"


async def test_a_bad_item_alone_raises_its_own_error_and_the_next_is_served(tally: Tally) -> None:
    group = GroupCommit(tally.database, tally.insert)

    with pytest.raises(Refused, match="-1 is negative"):
        await group.submit(-1)
    assert await group.submit(1) == "#1"


async def test_a_caller_that_goes_away_takes_nothing_with_it(tally: Tally) -> None:
    group = GroupCommit(tally.database, tally.insert)
    tally.may_go_on.clear()
    gone, stays = (asyncio.create_task(group.submit(number)) for number in (1, 2))
    await tally.begun.wait()
    gone.cancel()
    await asyncio.gather(gone, return_exceptions=True)
    tally.may_go_on.set()

    assert await stays == "#2"
    assert await tally.kept() == [1, 2]


async def test_work_that_forgets_a_result_is_a_bug_that_its_callers_hear_of(tally: Tally) -> None:
    tally.forgetful = True

    with pytest.raises(RuntimeError, match="0 results for 1 items"):
        await GroupCommit(tally.database, tally.insert).submit(1)
    assert await tally.kept() == []


async def test_nothing_is_submitted_from_inside_a_transaction(tally: Tally) -> None:
    async with tally.database.transaction():
        with pytest.raises(RuntimeError, match="outside any transaction"):
            await GroupCommit(tally.database, tally.insert).submit(1)
