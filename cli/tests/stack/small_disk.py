"""A server on a disk that becomes full: what it says meanwhile, and what of its data is there afterwards.

Run inside bubblewrap, where the folder is a small file system: `small_disk.py postgres|kafka|board FOLDER`. Prints
JSON: `said` while the disk was full, `kept` of what was acknowledged before, `after` of what was written when there was
space again.
"""

import asyncio
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import asyncpg
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic
from grace_cli.errors import CliError
from grace_cli.stack.embedded import EmbeddedKafka, EmbeddedPostgres, default_cache
from grace_cli.stack.status import Board, StackStatus, State, read_status
from grace_cli.testing.disks import fill
from grace_common.runtime.outage import describe_outage, is_outage

PIECE = b"x" * 65536


async def postgres(folder: Path) -> dict[str, Any]:
    with EmbeddedPostgres(default_cache()) as server:
        connection = await asyncpg.connect(server.url())
        await connection.execute("CREATE TABLE note (text text)")
        await connection.execute("INSERT INTO note VALUES ('before')")
        filler, said = fill(folder), ""
        while not said:
            try:
                await connection.execute("INSERT INTO note SELECT repeat('x', 1000) FROM generate_series(1, 1000)")
            except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
                said = describe_outage(error) if is_outage(error) else f"no outage: {error!r}"
        filler.unlink()
        await connection.close()
        connection = await asyncpg.connect(server.url())
        await connection.execute("INSERT INTO note VALUES ('after')")
        rows = await connection.fetch("SELECT text FROM note WHERE text IN ('before', 'after') ORDER BY text DESC")
        await connection.close()
    kept = [row["text"] for row in rows]
    return {"said": said, "kept": kept[:1], "after": kept[1:]}


def kafka(folder: Path) -> dict[str, Any]:
    with EmbeddedKafka(default_cache()) as server:
        quiet = server.admin_config() | {"log_level": 0}
        admin = AdminClient(quiet)
        admin.create_topics([NewTopic("notes", 1, 1)])["notes"].result(60)
        produce(quiet, b"before")
        filler = fill(folder)
        try:
            while True:
                produce(quiet, PIECE * 10, timeout_ms=5_000)
        except KafkaException:
            server.kill()
        try:
            server.start()
            said = "it started"
        except CliError as error:
            said = f"{error.message}; {error.advice}"
        filler.unlink()
        server.start()
        produce(quiet, b"after")
        values = consume(quiet)
    return {"said": said, "kept": values[:1], "after": values[-1:]}


def board(folder: Path) -> dict[str, Any]:
    path = folder / "status.json"
    kept = Board(path, StackStatus(1, 1.0), lambda line: None)
    kept.change(kept.child("kafka"), State.READY)
    filler = fill(folder)
    kept.change(kept.child("kafka"), State.RESTARTING, "the disk is full; free some space")
    kept.change(kept.child("postgres"), State.STARTING)
    full = read_status(path)
    filler.unlink()
    kept.change(kept.child("kafka"), State.READY)
    after = read_status(path)
    assert full is not None
    assert after is not None
    return {"said": full.children[0].detail, "kept": [c.name for c in full.children], "after": after.children[0].state}


def produce(config: dict[str, Any], value: bytes, timeout_ms: int = 60_000) -> None:
    """Produce one record; KafkaException when the broker does not acknowledge it."""
    failed: list[Any] = []
    producer = Producer(config | {"acks": "all", "message.timeout.ms": timeout_ms})
    producer.produce("notes", value, on_delivery=lambda error, _: failed.append(error) if error else None)
    producer.flush()
    if failed:
        raise KafkaException(failed[0])


def consume(config: dict[str, Any]) -> list[str]:
    """Return every short record of the topic."""
    consumer = Consumer(config | {"group.id": "reader", "enable.auto.commit": False})
    _, end = consumer.get_watermark_offsets(TopicPartition("notes", 0), 60)
    consumer.assign([TopicPartition("notes", 0, 0)])
    values: list[bytes] = []
    while len(values) < end:
        message = consumer.poll(60)
        assert message is not None
        assert message.error() is None
        values.append(message.value() or b"")
    consumer.close()
    return [value.decode() for value in values if len(value) < 100]


if __name__ == "__main__":
    kind, place = sys.argv[1], Path(sys.argv[2])
    tempfile.tempdir = str(place)
    happened = asyncio.run(postgres(place)) if kind == "postgres" else {"kafka": kafka, "board": board}[kind](place)
    print(json.dumps(happened))
