"""Epoch seeds in PostgreSQL, sealed under the key-encryption key with key id and version as associated data."""

import secrets
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from grace_common.contract.errors import Refused
from grace_common.runtime.database import Database
from sqlalchemy import (
    BigInteger,
    Column,
    DateTime,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    bindparam,
    func,
    select,
    text,
    update,
)
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from grace_crypto_signer.domain.keyring import SEED_BYTES, Epoch, Keyring
from grace_crypto_signer.ports import EpochUse, Kek, SealedEpoch

FIRST_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)  # no event is older
ROTATION_NOTICE: Final = timedelta(seconds=120)  # a new seed is known to every signer before the first event needs it
_ONE_CHANGER: Final = text("LOCK TABLE epoch IN SHARE ROW EXCLUSIVE MODE")  # readers go on

epoch = Table(
    "epoch",
    MetaData(),
    Column("number", Integer, primary_key=True),
    Column("not_before", DateTime(timezone=True), nullable=False),
    Column("kek_id", Text, nullable=False),
    Column("nonce", LargeBinary, nullable=False),
    Column("sealed", LargeBinary, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("operations", BigInteger, nullable=False, server_default="0"),
)
_SEALED: Final = (epoch.c.number, epoch.c.not_before, epoch.c.kek_id, epoch.c.nonce, epoch.c.sealed)


class PostgresEpochs:
    """Implements `Epochs`, and makes new ones."""

    def __init__(self, database: Database, kek: Kek) -> None:
        self._database = database
        self._kek = kek

    async def load(self) -> Keyring:
        return Keyring([open_epoch(stored, self._kek) for stored in await self.sealed()])

    async def sealed(self) -> Sequence[SealedEpoch]:
        """Return every epoch as it is stored, the first one first."""
        async with self._database.reading() as connection:
            return await _read(connection)

    async def ensure_first(self) -> bool:
        """Make the first epoch unless there is one; return whether it was made."""
        async with self._database.transaction() as connection:
            if await self._known(connection):
                return False
            await self._add(connection, 1, FIRST_EPOCH)
        return True

    async def rotate(self, now: datetime, step: int = 1) -> Epoch:
        """Make the next epoch, from which events are signed in two minutes; return it.

        step  how far its number is from the newest that is known
        """
        async with self._database.transaction() as connection:
            known = await self._known(connection)
            if not known:
                raise Refused("there is no epoch to follow: run `python -m grace_crypto_signer init`")
            if known[-1].not_before >= now + ROTATION_NOTICE:
                raise Refused("another rotation took place at the same moment; nothing was changed by this one")
            await self._add(connection, known[-1].number + step, now + ROTATION_NOTICE)
        return (await self.load()).newest

    async def use(self, operations: int) -> EpochUse:
        """Add to the count of operations that have keys of the newest epoch; return how far it is used."""
        newest = select(epoch.c.number).order_by(epoch.c.number.desc()).limit(1).scalar_subquery()
        counted = update(epoch).where(epoch.c.number == newest).values(operations=epoch.c.operations + operations)
        since = func.greatest(epoch.c.not_before, epoch.c.created_at)
        async with self._database.transaction() as connection:
            row = (await connection.execute(counted.returning(epoch.c.number, since, epoch.c.operations))).first()
        if row is None:
            raise Refused("there is no epoch: run `python -m grace_crypto_signer init`")
        return EpochUse(*row)

    async def reseal(self) -> int:
        """Seal every seed that an older key-encryption key sealed under the newest one; return how many there were."""
        async with self._database.transaction() as connection:
            old = [stored for stored in await self._known(connection) if stored.kek_id != self._kek.id]
            values = []
            for stored in old:
                nonce, sealed = self._kek.seal(open_epoch(stored, self._kek).seed, _name(stored.number))
                values.append({"of": stored.number, "kek_id": self._kek.id, "nonce": nonce, "sealed": sealed})
            if values:
                await connection.execute(update(epoch).where(epoch.c.number == bindparam("of")), values)
        return len(old)

    async def restore(self, epochs: Sequence[SealedEpoch]) -> int:
        """Put back epochs of a backup; return how many were missing.

        raises  Refused when one is there already and is another: nothing is put back then
        """
        async with self._database.transaction() as connection:
            await connection.execute(_ONE_CHANGER)
            there = {stored.number: stored for stored in await _read(connection)}
            for stored in epochs:
                known = there.get(stored.number)
                if known is not None and open_epoch(known, self._kek) != open_epoch(stored, self._kek):
                    raise Refused(f"epoch {stored.number} is in the database already, and is another than the backup's")
            missing = [stored for stored in epochs if stored.number not in there]
            for stored in missing:
                await connection.execute(insert(epoch).values(**{c.name: getattr(stored, c.name) for c in _SEALED}))
        return len(missing)

    async def _known(self, connection: AsyncConnection) -> Sequence[SealedEpoch]:
        """Return every epoch, alone in changing them; Refused when their key has been replaced by one unknown here."""
        await connection.execute(_ONE_CHANGER)
        known = await _read(connection)
        for stored in known:
            _opening_key(stored, self._kek)
        return known

    async def _add(self, connection: AsyncConnection, number: int, not_before: datetime) -> None:
        nonce, sealed = self._kek.seal(secrets.token_bytes(SEED_BYTES), _name(number))
        made = SealedEpoch(number, not_before, self._kek.id, nonce, sealed)
        await connection.execute(
            insert(epoch).values(**{column.name: getattr(made, column.name) for column in _SEALED})
        )


def open_epoch(stored: SealedEpoch, kek: Kek) -> Epoch:
    """Return an epoch with its seed; raises Refused when it does not open."""
    seed = _opening_key(stored, kek).open(stored.nonce, stored.sealed, _name(stored.number))
    return Epoch(stored.number, stored.not_before, seed)


def _opening_key(stored: SealedEpoch, kek: Kek) -> Kek:
    opening = kek.under(stored.kek_id)
    if opening is None:
        raise Refused(
            f"the seed of epoch {stored.number} is sealed under the key {stored.kek_id}, this one is {kek.id}"
        )
    return opening


async def _read(connection: AsyncConnection) -> Sequence[SealedEpoch]:
    rows = (await connection.execute(select(*_SEALED).order_by(epoch.c.number))).all()
    return [SealedEpoch(*row) for row in rows]


def _name(number: int) -> str:
    return f"grace/epoch-seed/v1|{number}"
