"""The topics table and the services tell the same story, so that the map cannot lie.

Services are found by their entry points: a seventh is tested without a line added here.
"""

import ast
from collections import defaultdict
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from pathlib import Path

import pytest
from grace_common.contract.events.base import Event, event_types
from grace_common.contract.topics import DEAD_LETTER, IDENTITY, INTAKE, LEDGER, OPERATION, SERVICES, TOPICS, Topic
from grace_common.runtime.clock import SystemClock
from grace_common.runtime.router import Route
from grace_common.runtime.service import Service
from grace_common.runtime.settings import Settings
from grace_common.testing.certificates import Authority, write
from pydantic import SecretStr

ROOT = Path(__file__).parents[2]
FOUND = sorted(entry_points(group="grace.services"), key=lambda point: point.name)
EVENTS = sorted(event_types().values(), key=lambda event: event.TYPE)
SHARED = (OPERATION, DEAD_LETTER)  # every service writes these, through the runtime
FOLLOWED = (LEDGER, IDENTITY)  # the runtime of every service reads these: coverage, and who may seal

# Stated for people and for the record: the gateway's read model shows them, and no service acts on them.
FOR_THE_RECORD = "gateway"


@dataclass(frozen=True)
class Composed:
    """One service as its `main.build()` composes it."""

    name: str
    package: str
    service: Service

    @property
    def routes(self) -> list[Route]:
        return [route for router in self.service.routers for route in router.routes.values()]

    @property
    def reads(self) -> set[Topic]:
        """Every topic that it subscribes to, what its runtime follows included."""
        streams = {topic for stream in self.service.streams for topic in stream.topics}
        return {topic for router in self.service.routers for topic in router.topics} | streams | set(FOLLOWED)

    @property
    def sources(self) -> list[Path]:
        return sorted(ROOT.glob(f"services/*/{self.package}/**/*.py"))


def compose(point: EntryPoint, folder: Path) -> Composed:
    """Build a service as its process would, with the files that its deployment would have made."""
    package = point.module.partition(".")[0]
    own = _optional(f"{package}.settings")
    settings_class: type[Settings] = own.Settings if own else Settings  # type: ignore[attr-defined]
    settings = settings_class(
        service=point.name,
        kafka_bootstrap="127.0.0.1:1",
        database_url=SecretStr("postgresql://nobody:nothing@127.0.0.1:1/grace"),
        identity_dir=folder / "identity",
        state_dir=folder,
        publication_dir=folder / "publication",
        schemas_dir=ROOT / "schemas",
        http_port=0,
    )
    write(Authority().issue(f"service/{point.name}"), settings.identity_dir)
    key_files = _optional(f"{package}.adapters.key_files")
    if key_files:  # what `init` makes
        key_files.create(folder, settings.passphrase_file, settings.trust_domain, SystemClock())  # type: ignore[attr-defined]
    return Composed(point.name, package, point.load()(settings))


def _optional(module: str) -> object | None:
    try:
        found = find_spec(module)
    except ModuleNotFoundError:
        return None
    return __import__(module, fromlist=["_"]) if found else None


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory) -> list[Composed]:
    return [compose(point, tmp_path_factory.mktemp(point.name)) for point in FOUND]


def test_the_table_names_the_services_that_there_are() -> None:
    assert {point.name for point in FOUND} == set(SERVICES)
    assert {path.parent.parent.name for path in ROOT.glob("services/*/grace_*/main.py")} == set(SERVICES)


def test_every_service_reads_the_topics_that_the_table_says(services: list[Composed]) -> None:
    reads = {one.name: {topic.name for topic in one.reads} for one in services}
    table = {one.name: {topic.name for topic in TOPICS if one.name in topic.readers} for one in services}

    assert reads == table


def test_every_router_speaks_for_its_own_service(services: list[Composed]) -> None:
    for one in services:
        assert {router.service for router in one.service.routers} <= {one.name}
        groups = [router.group_id for router in one.service.routers] + [
            stream.group_id for stream in one.service.streams
        ]
        assert len(set(groups)) == len(groups), f"two consumer groups of {one.name} share a name"
        assert all(group == one.name or group.startswith(f"{one.name}.") for group in groups)


def test_no_service_declares_to_emit_what_it_may_not_write(services: list[Composed]) -> None:
    for one in services:
        for route in one.routes:
            for event in route.emits:
                assert one.name in event.TOPIC.writers, f"{one.name}.{route.name} emits {event.__name__}"


def test_a_batch_states_nothing_and_a_handler_is_known_by_its_own_name(services: list[Composed]) -> None:
    for one in services:
        for router in one.service.routers:
            named: dict[str, set[object]] = defaultdict(set)
            for route in router.routes.values():
                named[route.name].add(route.handler)
                assert not (route.batch and route.emits)
            # The inbox tells handlers apart by name.
            assert all(len(handlers) == 1 for handlers in named.values())


def made_in(sources: list[Path]) -> set[str]:
    """Names of the classes that are called anywhere in these files."""
    calls = [
        node.func for file in sources for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Call)
    ]
    return {call.id if isinstance(call, ast.Name) else getattr(call, "attr", "") for call in calls}


def test_every_event_is_stated_by_exactly_one_service_and_that_is_its_topics_writer(services: list[Composed]) -> None:
    made = {one.name: made_in(one.sources) for one in services}
    text = {one.name: "".join(file.read_text() for file in one.sources) for one in services}

    for event in EVENTS:
        if event.TOPIC in SHARED or event.SUPERSEDED:
            continue
        makers = {name for name, classes in made.items() if event.__name__ in classes}
        if not makers:  # written by hand, for speed: then its type is named
            makers = {name for name in event.TOPIC.writers if event.__name__ in text[name] or event.TYPE in text[name]}
        assert makers == set(event.TOPIC.writers), f"{event.__name__} is stated by {makers or 'nobody'}"


def hearers(services: list[Composed], event: type[Event]) -> set[str]:
    """Who acts on or shows an event; a raw stream hears all of its topics."""
    return {
        one.name
        for one in services
        if any(event.TYPE in router.by_type for router in one.service.routers)
        or any(event.TOPIC in stream.topics for stream in one.service.streams if not event.TOPIC.notarized)
    } | (set(SERVICES) if event.TOPIC in FOLLOWED else set())


@pytest.mark.parametrize(
    "event", [event for event in EVENTS if event.TOPIC is not INTAKE], ids=lambda one: one.__name__
)
def test_every_event_is_heard_by_somebody(services: list[Composed], event: type[Event]) -> None:
    heard = hearers(services, event)

    assert heard
    assert heard <= set(event.TOPIC.readers)


def test_what_only_the_record_hears_is_shown_by_the_gateway(services: list[Composed]) -> None:
    for event in EVENTS:
        acted_on = hearers(services, event) - {FOR_THE_RECORD}
        if not acted_on and event.TOPIC is not INTAKE:
            assert hearers(services, event) == {FOR_THE_RECORD}, event.__name__
