"""What Grace needs inside a Kafka cluster and a PostgreSQL server, made from the topics table.

Works on the local pair and on existing servers alike; doing it twice changes nothing. Kafka gets topics, principals and
access rules; PostgreSQL one database, and for each service a role that owns one schema and sees no other.
"""

import base64
import hashlib
import hmac
import secrets
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, urlsplit, urlunsplit

from grace_common.contract.topics import SERVICES, TOPICS, Topic

from grace_cli.errors import CliError, Exit
from grace_cli.stack.kafka import MAX_RECORD_BYTES, ClientConfig

if TYPE_CHECKING:
    from confluent_kafka.admin import AclBinding, AdminClient

TIMEOUT_S: Final = 60.0
SCRAM_ROUNDS: Final = 4096  # the floor of RFC 7677; the passwords are 24 random bytes, so more rounds protect nothing
EXTENSIONS: Final = ("pg_trgm",)
EXTENSION_SCHEMA: Final = "extensions"
PROVISIONING_LOCK: Final = 0x6772616365  # "grace": two runs at once would meet in the catalogue


def principals(topics: Sequence[Topic] = TOPICS) -> list[str]:
    """Return every Kafka principal that the table names, services and outside producers."""
    return sorted({name for topic in topics for name in (*topic.writers, *topic.readers)})


def topic_config(topic: Topic) -> dict[str, str]:
    """Return a topic's configuration in Kafka's terms.

    The broker's clock stamps each record: a producer cannot date its records back.
    """
    retention = -1 if topic.retention is None else topic.retention // timedelta(milliseconds=1)
    return {
        "cleanup.policy": "compact" if topic.compacted else "delete",
        "retention.ms": str(retention),
        "max.message.bytes": str(MAX_RECORD_BYTES),
        "message.timestamp.type": "LogAppendTime",
    }


def provision_kafka(
    admin: ClientConfig,
    passwords: Mapping[str, str] | None,
    topics: Sequence[Topic] = TOPICS,
    timeout_s: float = TIMEOUT_S,
) -> list[str]:
    """Make or correct topics, SCRAM credentials and access rules.

    admin      librdkafka settings of a principal that may do all this
    passwords  each principal's; None on a cluster without authentication, where neither users nor rules can be made
    returns    lines worth telling: what was made or could not be made
    timeout_s  how long the cluster may take to answer first
    raises     CliError when the cluster cannot be reached or refuses
    """
    from confluent_kafka import KafkaException
    from confluent_kafka.admin import AdminClient

    client = AdminClient(admin | {"log_level": 0})
    try:
        there = client.list_topics(timeout=timeout_s).topics
        told = _provision_topics(client, topics, {name: len(topic.partitions) for name, topic in there.items()})
        if passwords is None:
            return [*told, "the cluster has no authentication: any client may write any topic"]
        _provision_users(client, passwords)
        return [*told, *_provision_rules(client, topics, set(passwords))]
    except KafkaException as error:
        raise CliError(
            f"Kafka at {admin['bootstrap.servers']} could not be provisioned: {error.args[0].str()}",
            "check that it runs, and the admin's name and password",
            Exit.NOT_READY,
        ) from error


def _provision_topics(client: "AdminClient", topics: Sequence[Topic], there: Mapping[str, int]) -> list[str]:
    from confluent_kafka.admin import AlterConfigOpType, ConfigEntry, ConfigResource, NewTopic, ResourceType

    absent = [topic for topic in topics if topic.name not in there]
    if absent:
        # Replication as the cluster prefers: one on a laptop, usually three elsewhere.
        new = [NewTopic(topic.name, topic.partitions, -1, config=topic_config(topic)) for topic in absent]
        _all(client.create_topics(new, operation_timeout=TIMEOUT_S).values())
    present = [topic for topic in topics if topic.name in there]
    if present:
        resources = [
            ConfigResource(
                ResourceType.TOPIC,
                topic.name,
                incremental_configs=[
                    ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
                    for name, value in topic_config(topic).items()
                ],
            )
            for topic in present
        ]
        _all(client.incremental_alter_configs(resources).values())
    # More partitions than the table says is an operator's scaling; fewer is told, never changed: keys would move.
    told = [
        f"{topic.name} has {there[topic.name]} partitions, the table says {topic.partitions}"
        for topic in present
        if there[topic.name] < topic.partitions
    ]
    return [f"{len(absent)} topics made", *told] if absent else told


def _provision_users(client: "AdminClient", passwords: Mapping[str, str]) -> None:
    from confluent_kafka.admin import (
        ScramCredentialInfo,
        ScramMechanism,
        UserScramCredentialAlteration,
        UserScramCredentialUpsertion,
    )

    mechanism = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_256, SCRAM_ROUNDS)
    changes: list[UserScramCredentialAlteration] = [
        UserScramCredentialUpsertion(name, mechanism, password.encode()) for name, password in passwords.items()
    ]
    _all(client.alter_user_scram_credentials(changes).values())


def access_rules(topics: Sequence[Topic]) -> "list[AclBinding]":
    """Return what each principal may do, and by omission what it may not.

    A writer may write its topics, a reader read its own in consumer groups named after it: `code-gen` and `code-gen.…`.
    Describing a topic and an idempotent producer come with these rights.
    """
    from confluent_kafka.admin import (
        AclBinding,
        AclOperation,
        AclPermissionType,
        ResourcePatternType,
        ResourceType,
    )

    def rule(kind: ResourceType, name: str, pattern: ResourcePatternType, who: str, may: AclOperation) -> AclBinding:
        return AclBinding(kind, name, pattern, f"User:{who}", "*", may, AclPermissionType.ALLOW)

    literal = ResourcePatternType.LITERAL
    rules = [
        rule(ResourceType.TOPIC, topic.name, literal, who, may)
        for topic in topics
        for may, names in ((AclOperation.WRITE, topic.writers), (AclOperation.READ, topic.readers))
        for who in names
    ]
    for reader in sorted({name for topic in topics for name in topic.readers}):
        rules.append(rule(ResourceType.GROUP, reader, literal, reader, AclOperation.READ))
        rules.append(rule(ResourceType.GROUP, f"{reader}.", ResourcePatternType.PREFIXED, reader, AclOperation.READ))
    return rules


def _provision_rules(client: "AdminClient", topics: Sequence[Topic], ours: set[str]) -> list[str]:
    from confluent_kafka import KafkaError, KafkaException
    from confluent_kafka.admin import (
        AclBindingFilter,
        AclOperation,
        AclPermissionType,
        ResourcePatternType,
        ResourceType,
    )

    any_rule = AclBindingFilter(
        ResourceType.ANY,
        None,  # type: ignore[arg-type]  # None is "any" here, which the annotation forgot
        ResourcePatternType.ANY,
        None,  # type: ignore[arg-type]
        None,  # type: ignore[arg-type]
        AclOperation.ANY,
        AclPermissionType.ANY,
    )
    try:
        there = set(client.describe_acls(any_rule).result(TIMEOUT_S))
    except KafkaException as error:
        if error.args[0].code() == KafkaError.SECURITY_DISABLED:
            return ["the cluster has no authorizer: any client may write any topic"]
        raise
    wanted = set(access_rules(topics))
    if absent := wanted - there:
        _all(client.create_acls(list(absent)).values())
    # A right that the table took away must go; rules of other principals are none of our business.
    stale = {rule for rule in there - wanted if rule.principal.removeprefix("User:") in ours}
    if stale:
        filters = [
            AclBindingFilter(
                rule.restype,
                rule.name,
                rule.resource_pattern_type,
                rule.principal,
                rule.host,
                rule.operation,
                rule.permission_type,
            )
            for rule in stale
        ]
        _all(client.delete_acls(filters).values())
    made = f"{len(absent)} access rules made" if absent else ""
    gone = f"{len(stale)} access rules withdrawn" if stale else ""
    return [line for line in (made, gone) if line]


def _all(futures: Iterable["Future[Any]"]) -> None:
    for future in futures:
        future.result(TIMEOUT_S)


def schema_of(service: str) -> str:
    """Return the name of a service's schema, which is its role's name too."""
    return service.replace("-", "_")


def service_url(admin_url: str, database: str, service: str, password: str) -> str:
    """Return the URL with which a service connects, made from the admin's."""
    parts = urlsplit(admin_url)
    place = parts.netloc.rpartition("@")[2]
    return urlunsplit(
        (parts.scheme, f"{schema_of(service)}:{quote(password, safe='')}@{place}", f"/{database}", parts.query, "")
    )


def target_database(admin_url: str) -> str:
    """Return the database Grace lives in: the one the URL names, `grace` where that is the maintenance database."""
    named = urlsplit(admin_url).path.strip("/")
    return "grace" if named in ("", "postgres") else named


def named_database(admin_url: str) -> str:
    """Return the URL of the database Grace lives in, on the server that an administrator's URL names."""
    return _with_database(admin_url, target_database(admin_url))


def scram_verifier(password: str) -> str:
    """Return PostgreSQL's stored form of a password (RFC 5802), so that neither server nor log ever sees it plain."""
    salt = secrets.token_bytes(16)
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, SCRAM_ROUNDS)
    stored = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    server = hmac.digest(salted, b"Server Key", "sha256")
    b64 = [base64.b64encode(part).decode() for part in (salt, stored, server)]
    return f"SCRAM-SHA-256${SCRAM_ROUNDS}:{b64[0]}${b64[1]}:{b64[2]}"


async def provision_postgres(
    admin_url: str, passwords: Mapping[str, str], services: Sequence[str] = SERVICES
) -> list[str]:
    """Make or correct the database, one role and one schema per service, and the extensions they use.

    admin_url  a role that may create roles, schemas and (where the URL names only `postgres`) a database
    passwords  each service's
    returns    lines worth telling
    raises     CliError when the server cannot be reached or refuses
    """
    import asyncpg

    database = target_database(admin_url)
    try:
        made = await _ensure_database(admin_url, database)
        connection = await asyncpg.connect(_with_database(admin_url, database), timeout=TIMEOUT_S)
        try:
            await connection.execute("SELECT pg_advisory_lock($1)", PROVISIONING_LOCK)
            if database == "grace":  # ours alone
                await connection.execute(f"REVOKE ALL ON DATABASE {database} FROM PUBLIC")
                await connection.execute("REVOKE ALL ON SCHEMA public FROM PUBLIC")
            await connection.execute(f"CREATE SCHEMA IF NOT EXISTS {EXTENSION_SCHEMA}")
            for extension in EXTENSIONS:
                await connection.execute(f"CREATE EXTENSION IF NOT EXISTS {extension} SCHEMA {EXTENSION_SCHEMA}")
            for service in services:
                await _ensure_service(connection, database, service, passwords[service])
        finally:
            await connection.close()
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        place = urlsplit(admin_url).netloc.rpartition("@")[2]
        raise CliError(
            f"PostgreSQL at {place} could not be provisioned: {error}",
            "check that it runs, and the user, password and rights in GRACE_DATABASE_URL",
            Exit.NOT_READY,
        ) from error
    return [f"database {database} made"] if made else []


async def _ensure_database(admin_url: str, database: str) -> bool:
    import asyncpg

    connection = await asyncpg.connect(admin_url, timeout=TIMEOUT_S)
    try:
        if await connection.fetchval("SELECT true FROM pg_database WHERE datname = $1", database):
            return False
        await connection.execute(f'CREATE DATABASE "{database}"')
        return True
    finally:
        await connection.close()


async def _ensure_service(connection: Any, database: str, service: str, password: str) -> None:
    role = schema_of(service)
    exists = await connection.fetchval("SELECT true FROM pg_roles WHERE rolname = $1", role)
    # Identifiers and the verifier come from the topics table and from base64: nothing in them needs escaping.
    await connection.execute(
        f"{'ALTER' if exists else 'CREATE'} ROLE \"{role}\" LOGIN PASSWORD '{scram_verifier(password)}'"
    )
    if not await connection.fetchval("SELECT rolsuper FROM pg_roles WHERE rolname = current_user"):
        await connection.execute(f'GRANT "{role}" TO CURRENT_USER')  # else it may not give away a schema
    await connection.execute(f'CREATE SCHEMA IF NOT EXISTS "{role}" AUTHORIZATION "{role}"')
    await connection.execute(f'GRANT CONNECT ON DATABASE "{database}" TO "{role}"')
    await connection.execute(f'GRANT USAGE ON SCHEMA {EXTENSION_SCHEMA} TO "{role}"')
    await connection.execute(
        f'ALTER ROLE "{role}" IN DATABASE "{database}" SET search_path = "{role}", {EXTENSION_SCHEMA}'
    )


def _with_database(url: str, database: str) -> str:
    return urlunsplit(urlsplit(url)._replace(path=f"/{database}"))
