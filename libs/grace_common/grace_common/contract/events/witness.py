"""What the crypto-signer saw of the ledger as its witness: `grace.witness.v1`."""

from typing import Annotated, ClassVar, Self

from pydantic import Field

from grace_common.contract import topics
from grace_common.contract.events.base import Event, Sha256


class CheckpointCosigned(Event):
    """The witness verified that a published checkpoint continues all that it cosigned before.

    checkpoint  the signed note with the log's signature and the witness's cosignature
    witness     the vkey of the witness, type 04
    """

    TYPE: ClassVar = "grace.checkpoint-cosigned.v1"
    TOPIC: ClassVar = topics.WITNESS

    tree_size: Annotated[int, Field(ge=0)]
    root_sha256: Sha256
    checkpoint: str
    witness: Annotated[str, Field(min_length=1, max_length=1000)]

    @property
    def partition_key(self) -> str:
        return "log"

    @classmethod
    def example(cls) -> Self:
        return cls(
            tree_size=1,
            root_sha256="01" * 32,
            checkpoint="grace.local/log\n1\nAAAA\n",
            witness="grace.local/witness+01020304+BAAA",
        )
