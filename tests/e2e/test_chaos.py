"""A whole Grace under load: it dies at every stage, is killed at random, its keys change, its broker loses its data.

Beside what `test_kill.py` shows of one task. `make chaos` is the long form of the first test.
"""

import asyncio
from collections.abc import Iterator

import pytest
from grace_common.runtime.failpoint import STAGES

from tools.chaos.load import Load
from tools.chaos.report import Report
from tools.chaos.run import beside, finish, following, run
from tools.chaos.stack import KAFKA, Stack, running

pytestmark = pytest.mark.stack
SEED = 20_261_123
KILLS = 6
LEVELS = 3
PAUSE_S = 0.4


@pytest.fixture(scope="module")
def own() -> Iterator[Stack]:
    """A Grace that may be broken: its servers are its own, and no other test's."""
    with running() as stack:
        yield stack


def test_it_dies_at_every_stage_and_at_random_while_keys_change_and_nothing_acknowledged_is_lost_or_doubled(
    own: Stack,
) -> None:
    report = asyncio.run(run(own, seed=SEED, kills=KILLS, entries=0, pause_s=PAUSE_S, say=print, levels=LEVELS))

    assert [row.what for row in report.stages] == list(STAGES)
    assert sum(row.times for row in report.kills) == KILLS
    assert sum(row.times > 0 for row in report.changes) == LEVELS
    assert report.acknowledged > 0
    assert report.checkpoints > 0
    assert report.sound, report.text()


def test_a_broker_that_loses_its_data_is_refilled_and_everything_acknowledged_is_in_the_ledger(own: Stack) -> None:
    report = asyncio.run(_wiped(own))

    assert report.acknowledged > 0
    assert report.sound, report.text()


async def _wiped(stack: Stack) -> Report:
    """Take the broker's data away in the midst of the load."""
    report = Report(SEED)
    async with following(stack) as (follower, tally):
        load = Load(stack, tally, pause_s=PAUSE_S)
        async with beside(load.run()):
            await load.acknowledges(500)
            killed = stack.wipe(KAFKA)
            assert killed is not None
            await load.acknowledges(500)
            await stack.until_back(KAFKA, killed)
            await load.acknowledges(500)
        await finish(stack, report, load, tally, follower)
    return report
