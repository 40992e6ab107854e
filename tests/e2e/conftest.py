"""One Grace for the whole session, and the people and programs around it."""

from collections.abc import Generator, Iterator

import pytest

from tests.e2e.bus import Bus
from tests.e2e.doors import Acknowledged, Ledger, Person
from tests.e2e.failures import keep_logs_of
from tests.e2e.stack import Stack, running

# They judge everything that the session left behind, in this order.
LAST = ("test_no_secret_stands_where_it_does_not_belong", "test_schema_validation")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: LAST.index(item.name) + 1 if item.name in LAST else 0)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed and report.when != "teardown":
        keep_logs_of(item.name, getattr(item, "funcargs", {}), report)
    return report


@pytest.fixture(scope="session")
def stack() -> Iterator[Stack]:
    with running() as stack:
        yield stack


@pytest.fixture(scope="session")
def acknowledged() -> list[Acknowledged]:
    """Everything that was answered with 202 in this session."""
    return []


@pytest.fixture
def grace(stack: Stack) -> Stack:
    """The running Grace, every part of it ready."""
    stack.until_ready()
    return stack


@pytest.fixture
def ada(grace: Stack, acknowledged: list[Acknowledged]) -> Person:
    """Asks for code."""
    return Person(grace, "ada", acknowledged)


@pytest.fixture
def reviewer(grace: Stack, acknowledged: list[Acknowledged]) -> Person:
    """Reviews what others asked for."""
    return Person(grace, "grace", acknowledged)


@pytest.fixture
def olga(grace: Stack, acknowledged: list[Acknowledged]) -> Person:
    """Operates."""
    return Person(grace, "olga", acknowledged)


@pytest.fixture
def ledger(grace: Stack) -> Ledger:
    return Ledger(grace)


@pytest.fixture
def bus(grace: Stack) -> Bus:
    return Bus(grace)
