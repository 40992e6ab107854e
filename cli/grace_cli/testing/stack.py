"""Pytest fixtures `kafka` and `postgres`: real servers for a whole test session.

Where a Docker engine answers, both run in containers (testcontainers); otherwise they are the embedded pair.
GRACE_TEST_STACK=embedded|containers chooses one of the two. Tests see no difference.
"""

import os
from collections.abc import Iterator

import pytest

from grace_cli.stack.embedded import EmbeddedKafka, EmbeddedPostgres, default_cache
from grace_cli.testing.containers import ContainerKafka, ContainerPostgres, engine_answers

Kafka = EmbeddedKafka | ContainerKafka
Postgres = EmbeddedPostgres | ContainerPostgres


def use_containers(choice: str | None) -> bool:
    """Tell whether tests shall run on containers; `choice` is the setting's value, None lets the machine decide."""
    if choice not in (None, "", "embedded", "containers"):
        raise pytest.UsageError(f"GRACE_TEST_STACK is {choice!r}; it may be 'embedded' or 'containers'")
    return choice == "containers" or (choice != "embedded" and engine_answers())


@pytest.fixture(scope="session")
def kafka() -> Iterator[Kafka]:
    """Yield a running broker with SCRAM and access control; tests make topics of their own."""
    containers = use_containers(os.environ.get("GRACE_TEST_STACK"))
    with ContainerKafka() if containers else EmbeddedKafka(default_cache()) as server:
        yield server


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """Yield a running server; tests make databases of their own."""
    containers = use_containers(os.environ.get("GRACE_TEST_STACK"))
    with ContainerPostgres() if containers else EmbeddedPostgres(default_cache()) as server:
        yield server
