"""API keys at rest: the deployment's file, and the table of those made over the API. Only keyed hashes are kept."""

from datetime import datetime
from pathlib import Path
from typing import Final

from grace_common.contract.envelope import explain
from grace_common.contract.errors import Refused
from grace_common.runtime.database import Database, current
from pydantic import AwareDatetime, BaseModel, ConfigDict, TypeAdapter, ValidationError
from sqlalchemy import text

from grace_gateway.domain.roles import Role
from grace_gateway.ports import ApiKey

_ALL: Final = text("SELECT id, username, roles, hash, created_at, created_by, expires_at, revoked_at FROM api_key")
_INSERT: Final = text(
    """
    INSERT INTO api_key (id, username, roles, hash, created_at, created_by, expires_at)
    VALUES (:id, :username, :roles, :hash, :created_at, :created_by, :expires_at)
    """
)
_REVOKE: Final = text("UPDATE api_key SET revoked_at = :at, revoked_by = :by WHERE id = :id AND revoked_at IS NULL")


class _FileKey(BaseModel):
    """One entry of `api-keys.json`."""

    model_config = ConfigDict(extra="forbid")

    id: str
    user: str
    roles: tuple[Role, ...]
    hash: str
    expires: AwareDatetime | None = None


_FILE: Final = TypeAdapter(list[_FileKey])


def read_pepper(state_dir: Path) -> bytes:
    """Return the HMAC key of the API keys; Refused says how to make the file when it is missing."""
    path = state_dir / "pepper"
    try:
        pepper = path.read_bytes().strip()
    except FileNotFoundError as error:
        raise Refused(f"{path} is missing: `grace up` writes it; elsewhere put 32 random bytes in hex there") from error
    if len(pepper) < 16:
        raise Refused(f"{path} has {len(pepper)} bytes; expected at least 16")
    return pepper


class PostgresKeyStore:
    """Implements KeyStore."""

    def __init__(self, database: Database, state_dir: Path) -> None:
        self._database = database
        self._file = state_dir / "api-keys.json"

    async def load(self) -> list[ApiKey]:
        async with self._database.reading() as connection:
            rows = (await connection.execute(_ALL)).all()
        made = [
            ApiKey(
                id=row.id,
                user=row.username,
                roles=tuple(row.roles),
                hash=row.hash,
                created_at=row.created_at,
                created_by=row.created_by,
                expires_at=row.expires_at,
                revoked_at=row.revoked_at,
            )
            for row in rows
        ]
        return [*self._deployed(), *made]

    async def add(self, key: ApiKey) -> None:
        await current().execute(
            _INSERT,
            {
                "id": key.id,
                "username": key.user,
                "roles": list(key.roles),
                "hash": key.hash,
                "created_at": key.created_at,
                "created_by": key.created_by,
                "expires_at": key.expires_at,
            },
        )

    async def revoke(self, id: str, by: str, at: datetime) -> None:
        await current().execute(_REVOKE, {"id": id, "by": by, "at": at})

    def _deployed(self) -> list[ApiKey]:
        """Return the keys of the deployment's file; none when there is no file."""
        try:
            content = self._file.read_bytes()
        except FileNotFoundError:
            return []
        try:
            keys = _FILE.validate_json(content)
        except ValidationError as error:
            raise Refused(f"{self._file}: {explain(error)}") from error
        return [ApiKey(key.id, key.user, key.roles, key.hash, expires_at=key.expires) for key in keys]
