"""One run of chaos on a running stack: load, stages, random kills, changes of keys, and what is left in the end."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, Final

from tools.chaos.kills import kill
from tools.chaos.load import Load
from tools.chaos.patience import PATIENCE_S, Impatient, until
from tools.chaos.report import Report
from tools.chaos.rotations import LEVELS, Rotations
from tools.chaos.stack import Stack
from tools.chaos.stages import walk
from tools.chaos.tally import Follower, Log, Tally

_TALLY_EVERY_S: Final = 0.5


async def run(
    stack: Stack,
    *,
    seed: int,
    kills: int,
    entries: int,
    pause_s: float,
    say: Callable[[str], None],
    levels: int = len(LEVELS),
) -> Report:
    """Go through every stage, then kill at random, under load and while keys change; then wait for what is left.

    entries  the load goes on until the log has so many
    levels   of keys that are changed; where these are all, again and again
    raises   Impatient when something never comes: a stage, a successor, an entry, another key; RuntimeError when a
             command about keys fails otherwise than it may
    """
    began = time.monotonic()
    chance = random.Random(seed)
    report = Report(seed)
    async with following(stack) as (follower, tally):
        load = Load(stack, tally, pause_s=pause_s)
        # Chances of their own: how long a command takes must not change who is killed.
        rotations = Rotations(stack, tally.log, random.Random(f"{seed} keys"), say, levels)
        async with beside(load.run()), asyncio.TaskGroup() as group:
            group.create_task(rotations.run())
            report.stages = await walk(stack, chance, say)
            report.kills = await kill(stack, chance, kills, say)
            await _until_size(tally, entries, say)
            rotations.enough()
        report.changes, report.log_keys = list(rotations.rows.values()), (tally.log.key, *tally.log.older)
        await finish(stack, report, load, tally, follower)
        await until("checkpoint of the whole log that the witness cosigned", lambda: tally.log.cosigned() >= tally.size)
    report.seconds = time.monotonic() - began
    return report


async def finish(stack: Stack, report: Report, load: Load, tally: Tally, follower: Follower) -> None:
    """Wait until all that was acknowledged is published, and report what is not."""
    await stack.until_ready()
    await _until_published(load, tally)
    report.entries, report.checkpoints, report.violations = tally.size, follower.checked, follower.violations
    report.acknowledged = len(load.facts) + len(load.operations)
    report.lost, report.doubled = len(load.missing) + len(load.unrecorded), len(tally.doubled)


@asynccontextmanager
async def following(stack: Stack) -> AsyncIterator[tuple[Follower, Tally]]:
    """Read the published log as a stranger beside the block."""
    log = Log(stack.home.publication, stack.log_key)
    follower, tally = Follower(log), Tally(log)
    async with beside(follower.run(), _tallying(tally)):
        yield follower, tally


@asynccontextmanager
async def beside(*work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Do work beside the block, which fails when the work does; it is cancelled at the block's end."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one) for one in work]
        yield
        for task in tasks:
            task.cancel()


async def _tallying(tally: Tally) -> None:
    while True:
        await asyncio.to_thread(tally.advance)
        await asyncio.sleep(_TALLY_EVERY_S)


async def _until_size(tally: Tally, entries: int, say: Callable[[str], None]) -> None:
    """Wait until the log has so many entries; it must go on growing."""
    while (size := tally.size) < entries:
        say(f"{size} of {entries} entries")
        await until("growth of the log", lambda size=size: tally.size >= min(size + 10_000, entries))  # type: ignore[misc]


async def _until_published(load: Load, tally: Tally) -> None:
    """Wait until the published log holds all that was acknowledged; not for ever when it does not grow any more."""
    while load.missing or load.unrecorded:
        size = tally.size
        try:
            await until("growth of the log", lambda size=size: tally.size > size, PATIENCE_S / 2)  # type: ignore[misc]
        except Impatient:
            return  # the report counts what is lost
