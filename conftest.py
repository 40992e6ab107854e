"""Fixtures that every member's tests may use, and the mark of tests that need servers."""

import pytest
import structlog
from hypothesis import settings

settings.register_profile("grace", deadline=None)  # no test asserts a time
settings.load_profile("grace")

# Left alone, structlog draws each traceback with all local variables, which takes seconds to minutes.
_PLAIN = structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback)
structlog.configure(processors=[structlog.processors.add_log_level, _PLAIN])

pytest_plugins = ["grace_cli.testing.stack", "grace_cli.testing.deployment"]

# `kafka` and `postgres` are what most fixtures with a server are made from; the others bring servers of their own.
# `sandbox` and `evaluator` run bubblewrap and every analyser for real, `llama` a model's server: that takes as long.
SERVERS = frozenset({"kafka", "postgres", "deployment", "grace", "stack", "sandbox", "evaluator", "llama"})
GROUPS = ("grace", "sandbox")


def group_of(item: pytest.Item) -> str:
    """Return what runs on one worker: the tests of the one running Grace, those of the sandbox, else a file.

    The sandbox's processes are counted by uid, so two of its tests at once would count each other's.
    """
    if item.nodeid.startswith("tests/e2e/"):
        return GROUPS[0]
    if {"sandbox", "evaluator"} & set(getattr(item, "fixturenames", ())):
        return GROUPS[1]
    return item.nodeid.partition("::")[0]


@pytest.hookimpl(tryfirst=True)  # xdist reads the groups in the same hook
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what needs servers as `stack`, so that `-m "not stack"` runs the unit tests alone; group for `-n`.

    The longest groups begin first.
    """
    for item in items:
        if SERVERS & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.stack)
        item.add_marker(pytest.mark.xdist_group(group_of(item)))
    order = {name: place for place, name in enumerate(GROUPS)}
    items.sort(key=lambda item: order.get(group_of(item), len(order)))
