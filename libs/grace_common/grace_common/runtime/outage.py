"""Telling an outage of the database or the broker from everything else."""

import errno

import asyncpg
from aiokafka.errors import (
    AuthenticationFailedError,
    ClusterAuthorizationFailedError,
    GroupAuthorizationFailedError,
    KafkaConnectionError,
    KafkaError,
    KafkaTimeoutError,
    OutOfOrderSequenceNumber,
    ProducerClosed,
    ProducerFenced,
    TopicAuthorizationFailedError,
    UnknownError,
    UnknownProducerId,
)
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

# PostgreSQL error classes that pass without anybody changing the statement (appendix A of its manual): 08 connection,
# 40 rollback (serialization, deadlock), 53 insufficient resources (disk full, too many connections), 57 operator
# intervention (shutdown, crash), 58 system error (I/O). 25006 is a read-only standby during a fail-over.
_PASSING_CLASSES = ("08", "40", "53", "57", "58")
_PASSING_STATES = ("25006",)
_DISK_FULL = "53100"
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
# A broker that lost its data does not know the producers that it had; each is replaced after its first failure.
_PASSING_PRODUCERS = (OutOfOrderSequenceNumber, ProducerClosed, ProducerFenced, UnknownProducerId)
# What the broker calls an error of its own (code -1), for instance while its disk is full, or aiokafka has no name for.
_PASSING_BROKERS = (UnknownError,)
_REFUSALS = (
    AuthenticationFailedError,
    ClusterAuthorizationFailedError,
    GroupAuthorizationFailedError,
    TopicAuthorizationFailedError,
)


def is_outage(error: BaseException) -> bool:
    """Return whether waiting can heal this: the record is not to blame, and neither is the code."""
    if isinstance(error, _REFUSALS):
        return False
    if isinstance(error, KafkaError):
        return bool(error.retriable) or isinstance(
            error, (KafkaConnectionError, KafkaTimeoutError, *_PASSING_BROKERS, *_PASSING_PRODUCERS)
        )
    if isinstance(error, DBAPIError):
        return (
            error.connection_invalidated
            or isinstance(error, (OperationalError, InterfaceError))
            or _passes(getattr(error.orig, "sqlstate", None))
        )
    if isinstance(error, asyncpg.PostgresError):
        return _passes(error.sqlstate)
    return isinstance(error, (OSError, TimeoutError, PoolTimeout, asyncpg.InterfaceError))


def describe_outage(error: BaseException) -> str:
    """Return one line for people: what is missing and what to do; never a credential."""
    text = str(getattr(error, "orig", None) or error).splitlines()[0:1]
    said = f"{type(error).__name__}: {text[0] if text else ''}"
    if _sqlstate(error) == _DISK_FULL:
        return f"PostgreSQL's disk is full ({said}); free some space where it keeps its data, and work goes on"
    if isinstance(error, OSError) and error.errno in _NO_ROOM:
        return f"a disk is full ({said}); free some space, and work goes on"
    if isinstance(error, KafkaError):
        # aiokafka does not tell a broker that is away from one that refuses the password while it bootstraps.
        return (
            f"Kafka does not answer ({said}); check that the broker runs, that GRACE_KAFKA_BOOTSTRAP names it "
            "and that it knows GRACE_KAFKA_USERNAME and GRACE_KAFKA_PASSWORD"
        )
    return f"PostgreSQL or the network does not answer ({said}); check that it runs and GRACE_DATABASE_URL names it"


def describe_refusal(error: BaseException) -> str | None:
    """Return one line for people when a server knows us and says no, which waiting does not heal; else None."""
    cause = getattr(error, "orig", None) or error
    if (_sqlstate(error) or "").startswith("28"):  # invalid authorization specification
        return "PostgreSQL refuses the role or its password; check GRACE_DATABASE_URL"
    if isinstance(cause, AuthenticationFailedError):
        return "Kafka refuses the user or its password; check GRACE_KAFKA_USERNAME and GRACE_KAFKA_PASSWORD"
    if isinstance(cause, _REFUSALS):
        return (
            f"Kafka does not allow this user what the topics table says it needs ({type(cause).__name__}); provision it"
        )
    return None


def _sqlstate(error: BaseException) -> str | None:
    found: str | None = getattr(getattr(error, "orig", None) or error, "sqlstate", None)
    return found


def _passes(sqlstate: str | None) -> bool:
    return sqlstate is not None and (sqlstate[:2] in _PASSING_CLASSES or sqlstate in _PASSING_STATES)
