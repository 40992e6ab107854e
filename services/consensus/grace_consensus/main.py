"""The composition root: the consensus has no tables and no adapters of its own."""

from grace_common.runtime.database import Database
from grace_common.runtime.service import Service
from grace_common.runtime.settings import Settings

from grace_consensus.handlers import router


def build(settings: Settings | None = None) -> Service:
    """Return the consensus service, ready to run; Refused when a setting is missing."""
    settings = settings or Settings.load()
    database = Database(settings.database_url.get_secret_value(), pool_size=settings.database_pool)
    return Service(settings, database, routers=[router])
