"""Which policies were in force when: a new set is stated once, however often the service starts."""

import hashlib

from grace_common.contract.events.round import PoliciesPublished
from grace_common.runtime.database import current
from sqlalchemy import insert, select, text

from grace_mtl_orchestrator.adapters.tables import policy_set

_ONE_AT_A_TIME = 7_265_101  # advisory lock: of instances that start together, one states the set


class PolicyLog:
    """The sets of policies that were stated, in PostgreSQL."""

    async def enter(self, published: PoliciesPublished) -> bool:
        """Keep the set; False when it is the one in force already."""
        await current().execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ONE_AT_A_TIME})
        content = published.model_dump_json()
        digest = hashlib.sha256(content.encode()).hexdigest()
        newest = await current().scalar(select(policy_set.c.sha256).order_by(policy_set.c.position.desc()).limit(1))
        if newest == digest:
            return False
        await current().execute(insert(policy_set).values(sha256=digest, policies=content))
        return True
