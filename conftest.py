"""Fixtures that every member's tests may use, and the mark of tests that need servers."""

import pytest
import structlog
from hypothesis import settings
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

settings.register_profile("grace", deadline=None)  # no test asserts a time
settings.load_profile("grace")

# Left alone, structlog draws each traceback with all local variables, which takes seconds to minutes.
_PLAIN = structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback)
structlog.configure(processors=[structlog.processors.add_log_level, _PLAIN])

pytest_plugins = ["grace_cli.testing.stack", "grace_cli.testing.deployment"]

# `kafka` and `postgres` are what most fixtures with a server are made from; the others bring servers of their own.
# `sandbox` and `evaluator` run bubblewrap and every analyser for real, `llama` a model's server: that takes as long.
SERVERS = frozenset({"kafka", "postgres", "deployment", "grace", "stack", "sandbox", "evaluator", "llama"})

# Sweeps over every changed value, whole logs and key ceremonies (a share's passphrase costs a second on purpose).
SWEEPS = ("tests/receipts/", "cli/tests/verifying/", "cli/tests/commands/test_ceremonies.py")

# What runs on one worker, begun first: the tests of the one running Grace; those of the sandbox, whose processes are
# counted by uid, so that two of its tests at once would count each other's.
TOGETHER = ("tests/e2e/", "services/code-gen/tests/adapters/")


class ByFile(LoadScopeScheduling):  # type: ignore[misc]  # xdist has no types
    """Hands whole files to workers, so that a module's deployment is made once."""

    def _split_scope(self, nodeid: str) -> str:
        return next((folder for folder in TOGETHER if nodeid.startswith(folder)), nodeid.partition("::")[0])


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> ByFile:
    return ByFile(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what needs servers as `stack` and what takes long by itself as `sweep`: the rest are the unit tests."""
    for item in items:
        if item.nodeid.startswith(SWEEPS):
            item.add_marker(pytest.mark.sweep)
        if SERVERS & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.stack)
    items.sort(key=lambda item: not item.nodeid.startswith(TOGETHER))
