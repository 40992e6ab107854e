"""Issued certificates in PostgreSQL."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from grace_common.contract.errors import Refused
from grace_common.contract.events.identity import CertificateIssued
from grace_common.runtime.database import Database, current
from sqlalchemy import Column, DateTime, LargeBinary, MetaData, Row, Table, Text, select, update
from sqlalchemy.dialects.postgresql import ARRAY, insert

certificate = Table(
    "certificate",
    MetaData(),
    Column("key_id", Text, primary_key=True),
    Column("subject", Text, nullable=False),
    Column("certificate", LargeBinary, nullable=False),
    Column("not_before", DateTime(timezone=True), nullable=False),
    Column("not_after", DateTime(timezone=True), nullable=False),
    Column("roles", ARRAY(Text), nullable=False),
    Column("revoked_at", DateTime(timezone=True)),
    Column("reason", Text),
)


class PostgresCertificates:
    """Implements `Certificates`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def find(self, key_id: str) -> CertificateIssued | None:
        # Locked: another CA may certify it meanwhile, and whoever asked keeps what comes of it as a whole.
        query = select(certificate).where(certificate.c.key_id == key_id).with_for_update()
        row = (await current().execute(query)).first()
        return None if row is None else _stated(row)

    async def keep(self, stated: CertificateIssued) -> None:
        values = stated.model_dump() | {"roles": list(stated.roles)}
        kept = insert(certificate).values(values)
        await current().execute(kept.on_conflict_do_update(index_elements=["key_id"], set_=values))

    async def certify_again(
        self, again: Callable[[x509.Certificate], x509.Certificate | None]
    ) -> Sequence[CertificateIssued]:
        """Replace certificates in the open transaction, those that have ended too; return what is stated of their keys.

        again   returns the certificate to put in place of one, None to leave it
        raises  Refused for a row that holds none
        """
        replaced = []
        for row in (
            await current().execute(select(certificate).order_by(certificate.c.key_id).with_for_update())
        ).all():
            try:
                made = again(x509.load_der_x509_certificate(row.certificate))
            except ValueError as error:
                raise Refused(f"the row of key {row.key_id} ({row.subject}) holds no certificate: {error}") from error
            if made is not None:
                new = made.public_bytes(Encoding.DER)
                change = update(certificate).where(certificate.c.key_id == row.key_id).values(certificate=new)
                await current().execute(change)
                replaced.append(_stated(row).model_copy(update={"certificate": new}))
        return replaced

    async def every(self) -> Sequence[CertificateIssued]:
        """Return what is stated of every key there ever was."""
        async with self._database.reading() as connection:
            rows = await connection.execute(
                select(certificate).order_by(certificate.c.not_before, certificate.c.key_id)
            )
            return [_stated(row) for row in rows.all()]

    async def holding(self, at: datetime) -> Sequence[CertificateIssued]:
        query = (
            select(certificate)
            .where(certificate.c.not_after > at)
            .order_by(certificate.c.subject.like("service/%").desc(), certificate.c.not_before, certificate.c.key_id)
        )
        async with self._database.reading() as connection:
            return [_stated(row) for row in (await connection.execute(query)).all()]


def _stated(row: Row[Any]) -> CertificateIssued:
    return CertificateIssued(
        key_id=row.key_id,
        subject=row.subject,
        certificate=row.certificate,
        not_before=row.not_before,
        not_after=row.not_after,
        roles=tuple(row.roles),
        revoked_at=row.revoked_at,
        reason=row.reason,
    )
