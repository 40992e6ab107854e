"""Every failpoint once: the process dies there by its own hand, and the next one goes on."""

import asyncio
import random
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Final

from grace_common.contract.topics import AUDIT_LOG, CONSENSUS, CRYPTO_SIGNER, GATEWAY, MTL_ORCHESTRATOR
from grace_common.runtime.failpoint import STAGES

from tools.chaos.patience import until
from tools.chaos.report import Row
from tools.chaos.stack import Stack

# Which service dies at the stages of a part; those that every service has are shared out.
WHERE: Final = {
    "relay": CONSENSUS,
    "delivery": GATEWAY,
    "coverage": MTL_ORCHESTRATOR,
    "intake": GATEWAY,
    "notary": CRYPTO_SIGNER,
    "witness": CRYPTO_SIGNER,
    "ledger": AUDIT_LOG,
    "publication": AUDIT_LOG,
    "cosigned": AUDIT_LOG,
}
_LATEST_PASS: Final = 3


async def walk(stack: Stack, chance: random.Random, say: Callable[[str], None]) -> list[Row]:
    """Let services die at every stage, different services at the same time; raises Impatient for one not reached."""
    by_service: dict[str, list[tuple[str, int]]] = defaultdict(list)
    for stage in STAGES:
        by_service[WHERE[stage.partition(".")[0]]].append((stage, chance.randint(1, _LATEST_PASS)))
    async with asyncio.TaskGroup() as group:
        walks = [group.create_task(_walk(stack, service, plan, say)) for service, plan in by_service.items()]
    rows = {row.what: row for one in walks for row in one.result()}
    return [rows[stage] for stage in STAGES]


async def _walk(stack: Stack, service: str, plan: Sequence[tuple[str, int]], say: Callable[[str], None]) -> list[Row]:
    rows: list[Row] = []
    for stage, nth in plan:
        before = len(stack.deaths(service))
        stack.ask(service, f"{stage}:{nth}")
        [death] = await until(
            f"pass {nth} of {stage} in {service}",
            lambda before=before: stack.deaths(service)[before:],  # type: ignore[misc]
        )
        back = await stack.until_back(service, death.pid)
        rows.append(Row(stage, 1, [back - death.at]))
        say(f"{service} died at {stage} and was back after {back - death.at:.1f} s")
    return rows
