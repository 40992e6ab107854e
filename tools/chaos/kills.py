"""Random `kill -9`: services, broker and database, at random moments, two of them dead at once at times."""

import asyncio
import random
import time
from collections.abc import Callable
from typing import Final

from grace_common.contract.topics import SERVICES

from tools.chaos.report import Row
from tools.chaos.stack import KAFKA, POSTGRES, Stack

VICTIMS: Final = (*SERVICES, KAFKA, POSTGRES)
_AT_ONCE: Final = 2  # so many are dead at the same time, at the most
_LONGEST_PAUSE_S: Final = 2.0


async def kill(stack: Stack, chance: random.Random, count: int, say: Callable[[str], None]) -> list[Row]:
    """Kill `count` processes and return when the last is back; raises Impatient when one stays away."""
    rows = {victim: Row(victim, 0, []) for victim in VICTIMS}
    slots = asyncio.Semaphore(_AT_ONCE)
    done = 0

    async def recovery(victim: str, killed: int, at: float) -> None:
        try:
            rows[victim].recoveries.append(await stack.until_back(victim, killed) - at)
        finally:
            slots.release()

    async with asyncio.TaskGroup() as group:
        while done < count:
            await slots.acquire()
            await asyncio.sleep(chance.uniform(0.0, _LONGEST_PAUSE_S))
            victim = chance.choice(VICTIMS)
            at = time.time()
            killed = stack.kill(victim)
            if killed is None:  # it is dead already
                slots.release()
                continue
            done += 1
            rows[victim].times += 1
            group.create_task(recovery(victim, killed, at))
            if done % 10 == 0:
                say(f"{done} of {count} killed")
    return [row for row in rows.values() if row.times]
