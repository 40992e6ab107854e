"""Epoch seeds in PostgreSQL, sealed under the key-encryption key with key id and version as associated data."""

import secrets
from datetime import UTC, datetime, timedelta
from typing import Final

from grace_common.contract.errors import Refused
from grace_common.runtime.database import Database
from sqlalchemy import Column, DateTime, Integer, LargeBinary, MetaData, Table, Text, func, select
from sqlalchemy.dialects.postgresql import insert

from grace_crypto_signer.adapters.key_files import KeyEncryptionKey
from grace_crypto_signer.domain.keyring import SEED_BYTES, Epoch, Keyring

FIRST_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)  # no event is older
ROTATION_NOTICE: Final = timedelta(seconds=120)  # a new seed is known to every signer before the first event needs it

epoch = Table(
    "epoch",
    MetaData(),
    Column("number", Integer, primary_key=True),
    Column("not_before", DateTime(timezone=True), nullable=False),
    Column("kek_id", Text, nullable=False),
    Column("nonce", LargeBinary, nullable=False),
    Column("sealed", LargeBinary, nullable=False),
)


class PostgresEpochs:
    """Implements `Epochs`, and makes new ones."""

    def __init__(self, database: Database, kek: KeyEncryptionKey) -> None:
        self._database = database
        self._kek = kek

    async def load(self) -> Keyring:
        async with self._database.reading() as connection:
            rows = (await connection.execute(select(epoch).order_by(epoch.c.number))).all()
        return Keyring([self._opened(row.number, row.not_before, row.kek_id, row.nonce, row.sealed) for row in rows])

    async def ensure_first(self) -> bool:
        """Make the first epoch unless there is one; return whether it was made."""
        return await self._add(1, FIRST_EPOCH)

    async def rotate(self, now: datetime) -> Epoch:
        """Make the next epoch, from which events are signed in two minutes; return it."""
        async with self._database.transaction() as connection:
            newest = await connection.scalar(select(func.max(epoch.c.number)))
        if newest is None:
            raise Refused("there is no epoch to follow: run `python -m grace_crypto_signer init`")
        if not await self._add(newest + 1, now + ROTATION_NOTICE):
            raise Refused("another rotation took place at the same moment; nothing was changed by this one")
        return (await self.load()).newest

    async def _add(self, number: int, not_before: datetime) -> bool:
        nonce, sealed = self._kek.seal(secrets.token_bytes(SEED_BYTES), _name(number))
        async with self._database.transaction() as connection:
            made = await connection.execute(
                insert(epoch)
                .values(number=number, not_before=not_before, kek_id=self._kek.id, nonce=nonce, sealed=sealed)
                .on_conflict_do_nothing()
                .returning(epoch.c.number)
            )
        return made.first() is not None

    def _opened(self, number: int, not_before: datetime, kek_id: str, nonce: bytes, sealed: bytes) -> Epoch:
        if kek_id != self._kek.id:
            raise Refused(f"the seed of epoch {number} is sealed under the key {kek_id}, this one is {self._kek.id}")
        return Epoch(number, not_before, self._kek.open(nonce, sealed, _name(number)))


def _name(number: int) -> str:
    return f"grace/epoch-seed/v1|{number}"
