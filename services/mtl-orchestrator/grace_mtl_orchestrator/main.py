"""The composition root: reads the settings, chooses the adapters, mounts the router."""

from functools import partial

from grace_common.contract.events.round import PoliciesPublished
from grace_common.runtime.clock import SystemClock
from grace_common.runtime.database import Database
from grace_common.runtime.service import Service

from grace_mtl_orchestrator.adapters import policy_files
from grace_mtl_orchestrator.adapters.memory import PostgresMemory
from grace_mtl_orchestrator.adapters.policy_log import PolicyLog
from grace_mtl_orchestrator.adapters.task_store import TaskStore
from grace_mtl_orchestrator.adapters.timekeeper import Timekeeper
from grace_mtl_orchestrator.handlers import expire, router
from grace_mtl_orchestrator.ports import Ports
from grace_mtl_orchestrator.settings import Settings


def build(settings: Settings | None = None) -> Service:
    """Return the orchestrator, ready to run; Refused when a setting or a policy cannot serve."""
    settings = settings or Settings.load()
    database = Database(settings.database_url.get_secret_value(), pool_size=settings.database_pool)
    policies = policy_files.load(settings.policies_dir or policy_files.packaged())
    tasks = TaskStore(database)
    ports = Ports(tasks=tasks, memory=PostgresMemory(settings.lessons), policies=policies)
    clock = SystemClock()
    timekeeper = Timekeeper(
        database,
        tasks,
        PolicyLog(),
        clock,
        expire=partial(expire, ports),
        published=PoliciesPublished(policies=policies),
        poll_s=settings.timer_poll_s,
    )
    return Service(
        settings,
        database,
        ports,
        routers=[router],
        background=[timekeeper.run],
        package="grace_mtl_orchestrator",
        clock=clock,
    )
