"""What waiting can heal, what it cannot, and what people are told."""

import errno
import re

import aiokafka.errors
import asyncpg
import pytest
from grace_common.contract.errors import Refused, Unready
from grace_common.runtime.outage import describe_outage, describe_refusal, is_outage
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError, ProgrammingError
from sqlalchemy.exc import TimeoutError as PoolTimeout

CANARY = "hunter2-s3cret"


class Original(Exception):
    """What the driver raised, with PostgreSQL's code."""

    def __init__(self, message: str, sqlstate: str | None = None) -> None:
        super().__init__(message)
        self.sqlstate = sqlstate


def wrapped(kind: type[DBAPIError], sqlstate: str | None, *, lost: bool = False) -> DBAPIError:
    original = Original(f"first line\nDETAIL: {CANARY}", sqlstate)
    return kind("SELECT :a", {"a": CANARY}, original, connection_invalidated=lost, hide_parameters=True)


@pytest.mark.parametrize(
    "error",
    [
        ConnectionRefusedError(),
        TimeoutError(),
        PoolTimeout(),
        asyncpg.InterfaceError("closed"),
        asyncpg.CannotConnectNowError("said"),
        asyncpg.AdminShutdownError("said"),
        asyncpg.DeadlockDetectedError("said"),
        asyncpg.TooManyConnectionsError("said"),
        wrapped(OperationalError, None),
        wrapped(DBAPIError, "57P01"),
        wrapped(DBAPIError, "25006"),
        wrapped(DBAPIError, None, lost=True),
        aiokafka.errors.KafkaConnectionError(),
        aiokafka.errors.KafkaTimeoutError(),
        aiokafka.errors.ProducerClosed(),
        aiokafka.errors.ProducerFenced(),
        aiokafka.errors.OutOfOrderSequenceNumber(),
        aiokafka.errors.UnknownProducerId(),
        aiokafka.errors.UnknownError(),
        aiokafka.errors.NotLeaderForPartitionError(),
    ],
    ids=repr,
)
def test_an_outage_is_waited_out_and_told_in_one_line_that_says_where_to_look(error: Exception) -> None:
    assert is_outage(error)
    assert describe_refusal(error) is None
    said = describe_outage(error)
    assert "check that" in said
    assert "GRACE_" in said
    assert "\n" not in said
    assert CANARY not in said


@pytest.mark.parametrize(
    "error", [asyncpg.DiskFullError("said"), wrapped(DBAPIError, "53100"), OSError(errno.ENOSPC, "said")], ids=repr
)
def test_a_full_disk_is_waited_out_and_told_as_what_it_is(error: Exception) -> None:
    assert is_outage(error)
    assert describe_refusal(error) is None
    said = describe_outage(error)
    assert "disk is full" in said
    assert "free some space" in said
    assert CANARY not in said


@pytest.mark.parametrize(
    "error",
    [
        ZeroDivisionError(),
        Refused("x"),
        Unready("x"),
        asyncpg.UniqueViolationError("said"),
        wrapped(IntegrityError, "23505"),
        wrapped(ProgrammingError, "42P01"),
        aiokafka.errors.MessageSizeTooLargeError(),
    ],
    ids=repr,
)
def test_a_bug_or_a_refusal_is_no_outage(error: Exception) -> None:
    assert not is_outage(error)
    assert describe_refusal(error) is None


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (asyncpg.InvalidPasswordError(CANARY), "PostgreSQL refuses .* check GRACE_DATABASE_URL"),
        (aiokafka.errors.AuthenticationFailedError(CANARY), "Kafka refuses .* check GRACE_KAFKA_USERNAME"),
        (aiokafka.errors.TopicAuthorizationFailedError(CANARY), r"\(TopicAuthorizationFailedError\); provision it"),
        (aiokafka.errors.GroupAuthorizationFailedError(CANARY), "provision it"),
    ],
)
def test_a_server_that_says_no_is_no_outage_and_people_are_told_what_to_check(error: Exception, words: str) -> None:
    assert not is_outage(error)
    said = describe_refusal(error) or ""
    assert re.search(words, said)
    assert CANARY not in said
