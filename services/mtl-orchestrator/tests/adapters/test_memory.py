"""Memory in a real PostgreSQL: what is found again, and in which order."""

from datetime import timedelta
from typing import Any
from uuid import UUID

from grace_common.contract.events.round import OutcomeLearned
from grace_common.runtime.database import Database
from grace_common.testing.events import NOON
from grace_mtl_orchestrator.adapters.memory import PostgresMemory


def outcome(number: int, requirements: str, lesson: str, **changes: Any) -> OutcomeLearned:
    return OutcomeLearned(
        task_id=UUID(int=number),
        requirements=requirements,
        lesson=lesson,
        rounds=1,
        learned_at=NOON + timedelta(seconds=number),
        outcome=changes.pop("outcome", "completed"),
        **changes,
    )


async def recalled(database: Database, requirements: str, *outcomes: OutcomeLearned, most: int = 5) -> tuple[str, ...]:
    memory = PostgresMemory(most)
    async with database.transaction():
        for each in outcomes:
            await memory.remember(each)
        return await memory.lessons(requirements)


async def test_lessons_of_similar_tasks_come_most_relevant_first(database: Database) -> None:
    assert await recalled(
        database,
        "Create a function to calculate fibonacci",
        outcome(1, "Parse a date from text", "parsing"),
        outcome(2, "Sum of even fibonacci numbers", "sums"),
        outcome(3, "Write a function that calculates fibonacci numbers", "calculates"),
    ) == ("calculates", "sums")


async def test_a_misspelt_request_still_finds_its_like(database: Database) -> None:
    assert await recalled(
        database, "calculate fibonaci", outcome(1, "calculate fibonacci", "iterate"), outcome(2, "sort words", "sort")
    ) == ("iterate",)


async def test_failures_teach_and_cancelled_tasks_do_not(database: Database) -> None:
    assert await recalled(
        database,
        "reverse a list",
        outcome(1, "reverse a list", "no program fits", outcome="failed"),
        outcome(2, "reverse a list", "nobody waited", outcome="cancelled"),
    ) == ("no program fits",)


async def test_a_lesson_is_told_once_and_only_so_many_are(database: Database) -> None:
    repeated = [outcome(number, "reverse a list", f"lesson {number // 2}") for number in range(2, 10)]

    assert await recalled(database, "reverse a list", *repeated, most=2) == ("lesson 4", "lesson 3")


async def test_an_outcome_is_remembered_once(database: Database) -> None:
    first, second = outcome(1, "reverse a list", "first"), outcome(1, "reverse a list", "second")

    assert await recalled(database, "reverse a list", first, second) == ("first",)


async def test_words_that_no_query_language_likes_are_plain_words_here(database: Database) -> None:
    hostile = "reverse ' & | ! <-> (a) \x00 \\ :* list"

    assert await recalled(database, hostile, outcome(1, hostile, "with \x00")) == ("with ",)
    assert await recalled(database, "") == ()
