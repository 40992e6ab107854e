"""Who may seal records: `grace.identity.v1`, compacted by key id."""

from datetime import datetime
from typing import Annotated, ClassVar, Self

from pydantic import Field

from grace_common.contract import topics
from grace_common.contract.events.base import Event

_FROM = datetime.fromisoformat("2026-11-22T00:00:00+00:00")
_TO = datetime.fromisoformat("2026-12-22T00:00:00+00:00")


class CertificateIssued(Event):
    """The CA certified a key; with `revoked_at`, the CA has withdrawn it again (the newest record of a key id counts).

    subject      `gateway` for a service, `producer/build-farm` for an outside producer
    certificate  X.509 in DER; its URI name is `spiffe://grace.local/<subject>`
    roles        for producers: what its requests may do
    revoked_at   broker time from which records sealed with the key are refused
    """

    TYPE: ClassVar = "grace.certificate-issued.v1"
    TOPIC: ClassVar = topics.IDENTITY

    key_id: Annotated[str, Field(min_length=1, max_length=100)]
    subject: str
    certificate: bytes
    not_before: datetime
    not_after: datetime
    roles: tuple[str, ...] = ()
    revoked_at: datetime | None = None
    reason: str | None = None

    @property
    def partition_key(self) -> str:
        return self.key_id

    @classmethod
    def example(cls) -> Self:
        return cls(key_id="3f2a", subject="gateway", certificate=b"0", not_before=_FROM, not_after=_TO)
