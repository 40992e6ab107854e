"""Epochs and certificates in a real PostgreSQL."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from grace_common.contract.errors import Refused
from grace_common.contract.events.identity import CertificateIssued
from grace_common.runtime.database import Database
from grace_crypto_signer.adapters.certificate_store import PostgresCertificates
from grace_crypto_signer.adapters.epoch_store import ROTATION_NOTICE, PostgresEpochs
from grace_crypto_signer.adapters.sealing import KeyEncryptionKey
from grace_crypto_signer.ports import EpochUse, SealedEpoch
from sqlalchemy import text

from .examples import TIME

KEK = KeyEncryptionKey("kek-1", bytes(range(32)))
NEXT_ALONE = KeyEncryptionKey("kek-2", bytes(reversed(range(32))))
NEXT = replace(NEXT_ALONE, older=(KEK,))


async def test_the_first_epoch_is_made_once_and_covers_every_time(database: Database) -> None:
    epochs = PostgresEpochs(database, KEK)
    with pytest.raises(Refused, match="init"):
        await epochs.load()

    assert await epochs.ensure_first()
    first = (await epochs.load()).newest
    assert not await epochs.ensure_first()

    assert (await epochs.load()).epoch_at(TIME) == first
    assert first.number == 1


async def test_a_rotation_takes_effect_after_everybody_knows_of_it(database: Database) -> None:
    epochs = PostgresEpochs(database, KEK)
    with pytest.raises(Refused, match="init"):
        await epochs.rotate(TIME)
    await epochs.ensure_first()

    made = await epochs.rotate(TIME)

    keyring = await epochs.load()
    assert (made.number, made.not_before) == (2, TIME + ROTATION_NOTICE)
    assert keyring.epoch_at(TIME).number == 1
    assert keyring.epoch_at(TIME + ROTATION_NOTICE) == made
    assert keyring.epoch_at(TIME).seed != made.seed
    with pytest.raises(Refused, match="same moment"):
        await epochs.rotate(TIME)


async def test_no_seed_is_stored_in_the_clear_and_none_opens_in_place_of_another(database: Database) -> None:
    epochs = PostgresEpochs(database, KEK)
    await epochs.ensure_first()
    seed = (await epochs.load()).newest.seed
    async with database.transaction() as connection:
        rows = (await connection.execute(text("SELECT sealed FROM epoch"))).scalars().all()
        assert all(seed not in row for row in rows)
        await connection.execute(text("UPDATE epoch SET number = 2"))

    with pytest.raises(Refused, match=r"epoch-seed/v1\|2 does not open"):
        await epochs.load()


async def test_a_seed_of_another_key_encryption_key_is_named(database: Database) -> None:
    await PostgresEpochs(database, KEK).ensure_first()

    with pytest.raises(Refused, match="sealed under the key kek-1"):
        await PostgresEpochs(database, KeyEncryptionKey("kek-2", bytes(32))).load()


async def test_operations_are_counted_for_the_newest_epoch(database: Database) -> None:
    epochs = PostgresEpochs(database, KEK)
    with pytest.raises(Refused, match="init"):
        await epochs.use(1)
    await epochs.ensure_first()

    await epochs.use(5)
    first = await epochs.use(2)
    assert (first.number, first.operations) == (1, 7)
    assert first.since > TIME - timedelta(days=7), "the first epoch covers all time, but is as old as its making"

    later = datetime.now(UTC) + timedelta(days=1)
    await epochs.rotate(later)
    assert await epochs.use(3) == EpochUse(2, later + ROTATION_NOTICE, 3)


async def test_seeds_are_sealed_anew_under_the_next_key_and_stay_the_same(database: Database) -> None:
    before = PostgresEpochs(database, KEK)
    await before.ensure_first()
    await before.rotate(TIME)
    seeds = (await before.load()).epochs
    changing = PostgresEpochs(database, NEXT)
    assert (await changing.load()).epochs == seeds

    assert (await changing.reseal(), await changing.reseal()) == (2, 0)

    assert (await PostgresEpochs(database, NEXT_ALONE).load()).epochs == seeds
    # A signer that has not heard of the change must not add a seed that nobody could open later.
    with pytest.raises(Refused, match="sealed under the key kek-2, this one is kek-1"):
        await before.rotate(TIME + timedelta(days=1))
    assert [stored.kek_id for stored in await changing.sealed()] == ["kek-2", "kek-2"]


async def test_what_a_backup_has_is_put_back_where_it_is_missing(database: Database) -> None:
    epochs = PostgresEpochs(database, KEK)
    await epochs.ensure_first()
    await epochs.rotate(TIME)
    backup, seeds = await epochs.sealed(), (await epochs.load()).epochs
    async with database.transaction() as connection:
        await connection.execute(text("DELETE FROM epoch WHERE number = 2"))

    assert (await epochs.restore(backup), await epochs.restore(backup)) == (1, 0)

    assert (await epochs.load()).epochs == seeds
    other = SealedEpoch(2, TIME, KEK.id, *KEK.seal(bytes(32), "grace/epoch-seed/v1|2"))
    with pytest.raises(Refused, match="epoch 2 is in the database already, and is another"):
        await epochs.restore([other])


async def test_what_is_stated_of_a_key_is_kept_until_something_else_is(database: Database) -> None:
    certificates = PostgresCertificates(database)
    stated = CertificateIssued.example().model_copy(update={"roles": ("requester", "operator")})
    async with database.transaction():
        assert await certificates.find(stated.key_id) is None
        await certificates.keep(stated)
        assert await certificates.find(stated.key_id) == stated

        revoked = stated.model_copy(update={"revoked_at": TIME, "reason": "lost"})
        await certificates.keep(revoked)
        assert await certificates.find(stated.key_id) == revoked


async def test_certificates_that_hold_are_listed_those_of_services_first(database: Database) -> None:
    certificates, stated = PostgresCertificates(database), CertificateIssued.example()
    async with database.transaction():
        for key_id, subject, days in (("a", "producer/farm", 1), ("b", "service/gateway", 2), ("c", "service/x", -1)):
            change = {"key_id": key_id, "subject": subject, "not_after": TIME + timedelta(days=days)}
            await certificates.keep(stated.model_copy(update=change))

    assert [one.key_id for one in await certificates.holding(TIME)] == ["b", "a"]
