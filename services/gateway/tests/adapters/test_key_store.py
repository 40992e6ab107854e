"""API keys at rest, and the published files."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from grace_common.contract.errors import Refused, Unready
from grace_common.runtime.database import Database
from grace_gateway.adapters.key_store import PostgresKeyStore
from grace_gateway.adapters.publication import FolderPublication
from grace_gateway.ports import ApiKey

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


async def test_keys_of_the_file_and_of_the_table_are_loaded_together(database: Database, tmp_path: Path) -> None:
    (tmp_path / "api-keys.json").write_text(
        '[{"id": "k1", "user": "ada", "roles": ["requester"], "hash": "aa", "expires": "2027-01-01T00:00:00Z"}]'
    )
    store = PostgresKeyStore(database, tmp_path)
    made = ApiKey("k2", "bob", ("reviewer",), "bb", NOON, "olga", None)
    async with database.transaction():
        await store.add(made)

    deployed, stored = await store.load()
    assert (deployed.user, deployed.created_by, deployed.expires_at) == ("ada", None, datetime(2027, 1, 1, tzinfo=UTC))
    assert stored == made

    async with database.transaction():
        await store.revoke("k2", "olga", NOON)
    assert [key.revoked_at for key in await store.load()] == [None, NOON]


async def test_a_missing_file_is_no_key_and_a_malformed_one_stops_the_start(database: Database, tmp_path: Path) -> None:
    store = PostgresKeyStore(database, tmp_path)

    assert await store.load() == []
    (tmp_path / "api-keys.json").write_text('[{"id": "k1", "user": "ada", "roles": ["emperor"], "hash": "aa"}]')
    with pytest.raises(Refused, match=r"api-keys.json: 0.roles.0"):
        await store.load()


@pytest.mark.parametrize("path", ["../secret", "tile/../../secret", "/etc/passwd", "log-key.pem", "tile/0/000.p/7"])
def test_only_published_files_are_read(tmp_path: Path, path: str) -> None:
    (tmp_path / "log").mkdir()
    (tmp_path / "secret").write_text("s")
    (tmp_path / "log" / "log-key.pem").write_text("s")

    with pytest.raises(Unready):
        FolderPublication(tmp_path / "log").read(path)


def test_a_tile_is_read_as_it_lies_there(tmp_path: Path) -> None:
    (tmp_path / "tile" / "0" / "x001").mkdir(parents=True)
    (tmp_path / "tile" / "0" / "x001" / "067").write_bytes(b"\1")

    assert FolderPublication(tmp_path).read("tile/0/x001/067") == b"\1"
