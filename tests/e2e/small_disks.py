"""A Grace whose PostgreSQL or Kafka is on a small disk that becomes full, and has space again.

Run as a program where `FOLDER/home/server` and `FOLDER/home/kafka` are small disks of their own:
`small_disks.py postgres|kafka FOLDER`. Prints JSON: `said` by the stack while the disk was full, `refusal` as a client
got it then, and the counts of what was acknowledged, lost and doubled.
"""

import asyncio
import json
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import httpx
from grace_cli.stack.home import Home
from grace_cli.stack.plan import StackPlan, identities, installed_services
from grace_cli.testing.disks import fill

from tools.chaos.load import Load
from tools.chaos.patience import until
from tools.chaos.report import Report
from tools.chaos.run import beside, finish, following
from tools.chaos.stack import KAFKA, POSTGRES, Stack, running

FOLDERS: Final = {POSTGRES: "server", KAFKA: "kafka"}
# Without code-gen, whose sandbox cannot be had within the sandbox in which this runs.
SERVICES: Final = ("gateway", "consensus", "crypto-signer", "audit-log", "mtl-orchestrator")


async def full(stack: Stack, name: str) -> dict[str, Any]:
    report = Report(seed=0)
    async with following(stack) as (follower, tally):
        load = Load(stack, tally, pause_s=0.1)
        async with beside(load.run()):
            await load.acknowledges(300)
            filler = fill(stack.home.root / FOLDERS[name])
            load.refusal = ""
            said = await until("somebody who asks for space", lambda: _asks_for_space(stack))
            refusal = await (_unready(stack) if name == KAFKA else until("refused request", lambda: load.refusal))
            filler.unlink()
            await load.acknowledges(300)
        await finish(stack, report, load, tally, follower)
    return {
        "said": said,
        "refusal": refusal,
        "acknowledged": report.acknowledged,
        "lost": report.lost,
        "doubled": report.doubled,
        "violations": report.violations,
    }


def _asks_for_space(stack: Stack) -> str:
    """Return what the status says of a full disk: the server that cannot start, or the services that cannot write."""
    return next((child.detail for child in stack.children.values() if "free some space" in child.detail), "")


async def _unready(stack: Stack) -> str:
    """Return why the gateway is not ready, once it knows: what it takes meanwhile rests on PostgreSQL."""
    async with httpx.AsyncClient(timeout=20, trust_env=False) as http, asyncio.timeout(300):
        while True:
            # What the broker says without a name that its client knows ends a service; until it is back nobody answers.
            with suppress(httpx.TransportError):
                asked = {"Authorization": f"Bearer {stack.key('ada')}"}
                answer = await http.get(f"{stack.url}/api/ready", headers=asked)
                if answer.status_code == 503:
                    return answer.text
            await asyncio.sleep(0.2)


def plan(folder: Path) -> StackPlan:
    services = tuple(service for service in installed_services() if service.name in SERVICES)
    home = Home(folder / "home", folder)
    return StackPlan(services, identities(home, services))


if __name__ == "__main__":
    wanted, place = sys.argv[1], Path(sys.argv[2])
    with running(str(place), plan(place)) as started:
        print(json.dumps(asyncio.run(full(started, wanted))))
