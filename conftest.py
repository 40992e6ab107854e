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


# What may not run beside its like: tests of the one running Grace, and those of the sandbox, whose uids are counted.
TOGETHER = (("grace", {"grace", "stack"}), ("sandbox", {"sandbox", "evaluator"}))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what needs servers as `stack`, so that `-m "not stack"` runs the unit tests alone; group for `-n`.

    A worker takes a whole file, so that a module's deployment is made once; the longest groups begin first.
    """
    order = {name: place for place, (name, _) in enumerate(TOGETHER)}

    def group(item: pytest.Item) -> str:
        fixtures = set(getattr(item, "fixturenames", ()))
        return next((name for name, needed in TOGETHER if needed & fixtures), item.nodeid.partition("::")[0])

    for item in items:
        if SERVERS & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.stack)
        item.add_marker(pytest.mark.xdist_group(group(item)))
    items.sort(key=lambda item: order.get(group(item), len(order)))
