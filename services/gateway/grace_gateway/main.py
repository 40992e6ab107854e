"""Composition root: the only place that knows which adapter fills which port."""

from functools import partial

from grace_common.contract.topics import INTAKE
from grace_common.runtime.database import Database
from grace_common.runtime.service import Service
from grace_common.runtime.stream import RecordStream

from grace_gateway.adapters.feed import PostgresFeed
from grace_gateway.adapters.journal import PostgresJournal
from grace_gateway.adapters.key_store import PostgresKeyStore, read_pepper
from grace_gateway.adapters.publication import FolderPublication
from grace_gateway.adapters.view_store import PostgresViews
from grace_gateway.adapters.view_writer import PostgresViewWriter
from grace_gateway.api import upkeep
from grace_gateway.api.application import application, routes
from grace_gateway.api.keyring import Keyring
from grace_gateway.handlers.intake import Intake
from grace_gateway.handlers.read_model import router
from grace_gateway.ports import Ports
from grace_gateway.settings import Settings


def build(settings: Settings | None = None) -> Service:
    """Return the gateway, ready to run."""
    settings = settings or Settings.load()
    database = Database(settings.database_url.get_secret_value(), pool_size=settings.database_pool)
    service = Service(settings, database, routers=[router], package="grace_gateway")
    views = PostgresViews(database)
    feed = PostgresFeed(database, views, buffer=settings.stream_buffer)
    ports = Ports(
        settings=settings,
        clock=service.clock,
        journal=PostgresJournal(database, service.outbox),
        views=views,
        writer=PostgresViewWriter(),
        keys=PostgresKeyStore(database, settings.state_dir),
        publication=FolderPublication(settings.publication_dir),
        feed=feed,
    )
    keyring = Keyring(partial(read_pepper, settings.state_dir))
    backlog = upkeep.Backlog(ports)
    door = application(routes(), ports, keyring, service.readiness, backlog.lagging)
    service.ports = ports
    service.asgi = door
    service.streams = [RecordStream("gateway", "intake", (INTAKE,), Intake(ports, backlog.until_small), most=100)]
    service.background = [feed.run, lambda: upkeep.run(ports, keyring, backlog, door)]
    return service
