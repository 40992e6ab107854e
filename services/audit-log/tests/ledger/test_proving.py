"""An inclusion proof out of the tables is the one that the published tiles give, and costs one statement."""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from grace_audit_log.adapters.ledger_store import PostgresLedgerWriter, connect
from grace_audit_log.domain.entry import Entry
from grace_audit_log.domain.tree import grow
from grace_audit_log.ports import Position
from grace_cli.errors import CliError
from grace_cli.testing.stack import Postgres
from grace_cli.verifying.database_log import DatabaseLog
from grace_cli.verifying.proving import DatabaseTree, prove_from_tables
from grace_cli.verifying.tables import newest_checkpoint
from grace_common.contract.errors import Refused, Unready
from grace_common.testing.clock import FixedClock
from grace_common.testing.ledger import MemoryLog
from grace_common.transparency.merkle import ProofInvalid
from grace_common.transparency.proof_file import ProofFile

from .fakes import LOG, TIME

SIZES = (1, 255, 256, 257, 65_535, 65_536, 65_537)


class Counted(DatabaseLog):
    """The tables; keeps how many rows each statement gave."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.statements: list[int] = []

    def rows(self, query: str, *arguments: Any) -> list[asyncpg.Record]:
        found = super().rows(query, *arguments)
        self.statements.append(len(found))
        return found


def entry(index: int) -> Entry:
    return Entry(UUID(int=index), b"entry %d" % index, "fact", UUID(int=0), "task", "ada", "gateway", TIME)


async def grow_to(url: str, size: int) -> None:
    writer = PostgresLedgerWriter(url, LOG, FixedClock())
    head = await writer.take_over()
    if size > (first := head.edge.size):
        new = [entry(index) for index in range(first, size)]
        await writer.append(grow(head, [one.leaf for one in new], LOG), new, Position(0, size))
    await writer.release()


def proven(url: str, index: int | UUID) -> tuple[list[bytes], bytes]:
    """Return an entry's proof out of the tables, and the entry."""
    log = DatabaseLog(url)
    try:
        proof, leaf = prove_from_tables(log, LOG.key, index)
    finally:
        log.close()
    return list(proof.proof), leaf


def indices(size: int) -> list[int]:
    return sorted({index for index in (0, 1, 254, 255, 256, 65_279, 65_280, size // 2, size - 1) if index < size})


async def test_at_every_size_the_tables_prove_what_the_tiles_prove(database_url: str) -> None:
    published = MemoryLog()
    for size in SIZES:
        await grow_to(database_url, size)
        published.append(*(entry(index).leaf for index in range(len(published.entries), size)))
        published.publish()

        def compare(size: int = size) -> list[int]:
            log = Counted(database_url)
            tree, expected = DatabaseTree(log, newest_checkpoint(log, LOG.key)), published.tree()
            statements = []
            for index in indices(size):
                log.statements.clear()
                assert tree.inclusion_proof(index) == expected.inclusion_proof(index)
                statements.append(list(log.statements))
            log.close()
            assert all(len(one) <= 1 for one in statements)
            return [rows for one in statements for rows in one]

        assert max(await asyncio.to_thread(compare), default=0) <= 2


async def test_an_empty_ledger_proves_nothing(database_url: str) -> None:
    await grow_to(database_url, 0)

    with pytest.raises(Refused, match="leaf index 0 lies outside a tree of 0 leaves"):
        await asyncio.to_thread(proven, database_url, 0)


async def test_an_entry_is_proven_by_its_id_as_by_its_index(database_url: str) -> None:
    await grow_to(database_url, 300)

    by_id = await asyncio.to_thread(proven, database_url, UUID(int=17))

    assert by_id == await asyncio.to_thread(proven, database_url, 17)
    assert by_id[1] == b"entry 17"
    with pytest.raises(CliError, match="no entry has the id"):
        await asyncio.to_thread(proven, database_url, UUID(int=300))


@asynccontextmanager
async def changing(url: str, postgres: Postgres) -> AsyncIterator[Any]:
    """Yield a super user's connection on which no trigger fires."""
    own = await connect(url)
    schema = await own.fetchval("SELECT current_schema()")
    await own.close()
    admin = await asyncpg.connect(postgres.url())
    await admin.execute(f"SET search_path = {schema}; SET session_replication_role = replica")
    yield admin
    await admin.close()


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ("UPDATE tile SET hashes = set_byte(hashes, 100, get_byte(hashes, 100) # 1) WHERE level = 0", ProofInvalid),
        ("UPDATE tile SET root = set_byte(root, 3, get_byte(root, 3) # 1)", ProofInvalid),
        ("UPDATE entry SET leaf = 'another' WHERE index = 5", ProofInvalid),
        ("DELETE FROM tile", Unready),
    ],
)
async def test_a_changed_row_proves_nothing(
    database_url: str, postgres: Postgres, change: str, error: type[Exception]
) -> None:
    await grow_to(database_url, 300)
    async with changing(database_url, postgres) as admin:
        await admin.execute(change)

    with pytest.raises(error):
        await asyncio.to_thread(proven, database_url, 5)


async def test_the_command_writes_a_proof_that_stands_without_the_tables(database_url: str, tmp_path: Path) -> None:
    await grow_to(database_url, 300)
    words = ["ledger", "prove", str(UUID(int=17)), "--database", "--log-key", str(LOG.key)]
    files = ["-o", str(tmp_path / "proof"), "--entry", str(tmp_path / "entry")]
    (tmp_path / "credentials").mkdir()
    (tmp_path / "credentials" / "audit-log.env").write_text(f"GRACE_DATABASE_URL={database_url}\n")

    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "grace_cli.main", *words, *files],
        env=dict(os.environ) | {"GRACE_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    proof = ProofFile.parse((tmp_path / "proof").read_bytes())
    assert proof.index == 17
    assert proof.verify((tmp_path / "entry").read_bytes(), LOG.key).checkpoint.size == 300
