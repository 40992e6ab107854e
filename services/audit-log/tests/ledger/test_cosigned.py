"""What the witness cosigned is published beside the log's own checkpoint, once both signatures hold."""

from datetime import UTC, datetime
from uuid import UUID

from grace_audit_log.domain.tree import LogIdentity
from grace_audit_log.handlers.cosigned import COSIGNED, POLICY, Cosigned, Demand, Shelf
from grace_common.contract import envelope, topics
from grace_common.contract.envelope import Envelope
from grace_common.contract.events.witness import CheckpointCosigned
from grace_common.runtime.seal import SealedRecord, Signer
from grace_common.testing.ledger import SeededKey
from grace_common.transparency.checkpoint import Checkpoint, sign_checkpoint
from grace_common.transparency.note import SignatureType, VerifierKey
from grace_common.transparency.policy import Policy
from grace_common.transparency.witness import open_signed

from .fakes import KEY, LOG, TIME, MemoryFiles

WITNESS = SeededKey("witness")
WITNESS_KEY = WITNESS.named("grace.local/witness", SignatureType.COSIGNATURE)


def cosigned(size: int, by: SeededKey = WITNESS) -> SealedRecord:
    signed = sign_checkpoint(Checkpoint(LOG.key.name, size, b"r" * 32), LOG.key, KEY.sign)
    _, note = open_signed(signed, [LOG.key]).cosigned(WITNESS_KEY, by.sign, 1_700_000_000)
    return sealed_note(size, note.encode(), WITNESS_KEY)


def sealed_note(size: int, note: bytes, witness: VerifierKey) -> SealedRecord:
    """Return the record in which the crypto-signer states what it cosigned."""
    event = CheckpointCosigned(
        tree_size=size, root_sha256=(b"r" * 32).hex(), checkpoint=note.decode(), witness=str(witness)
    )
    return sealed(
        envelope.encode(
            Envelope(
                id=UUID(int=size),
                source="/grace/crypto-signer",
                time=datetime(2026, 11, 22, tzinfo=UTC),
                correlation="log",
                causation=None,
                operation=UUID(int=7),
                actor="crypto-signer",
                traceparent=None,
                event=event,
            )
        )
    )


def sealed(value: bytes) -> SealedRecord:
    return SealedRecord(topics.WITNESS.name, 0, 0, b"log", value, TIME, Signer("service/crypto-signer", "key"))


def handler_of(files: MemoryFiles, log: LogIdentity = LOG) -> Cosigned:
    return Cosigned(Shelf(files, log), log)


async def test_the_newest_cosigned_checkpoint_is_published_with_the_policy_that_it_satisfies() -> None:
    files = MemoryFiles()
    handler = handler_of(files)

    await handler.handle([cosigned(3), cosigned(7)])

    assert Policy.parse(files.read(POLICY)).open(files.read(COSIGNED)).checkpoint.size == 7
    assert await handler.start_at(topics.WITNESS.name, 0) is None


async def test_an_older_one_that_comes_again_does_not_replace_a_newer() -> None:
    files = MemoryFiles()
    await handler_of(files).handle([cosigned(7)])
    newest = files.read(COSIGNED)

    await handler_of(files).handle([cosigned(3)])
    assert files.read(COSIGNED) == newest

    await handler_of(files).handle([cosigned(7)])
    await handler_of(files).handle([cosigned(8)])
    assert Policy.parse(files.read(POLICY)).open(files.read(COSIGNED)).checkpoint.size == 8


async def test_a_cosignature_that_does_not_verify_is_passed_over_for_the_one_before() -> None:
    files = MemoryFiles()

    await handler_of(files).handle([cosigned(3), cosigned(7, by=SeededKey("thief")), sealed(b"nonsense")])

    assert Policy.parse(files.read(POLICY)).open(files.read(COSIGNED)).checkpoint.size == 3


async def test_nothing_of_another_log_is_published() -> None:
    files = MemoryFiles()

    await handler_of(files, LogIdentity(SeededKey("another").named(LOG.key.name), KEY.sign)).handle([cosigned(3)])

    assert files.files == {}


async def test_the_operators_policy_stands_beside_it_where_there_is_one() -> None:
    files, content = MemoryFiles(), f"# ours\nwitness own {WITNESS_KEY}\nquorum own\n".encode()

    await Cosigned(Shelf(files, LOG), LOG, Demand.of(content)).handle([cosigned(3)])

    assert files.read(POLICY) == content


async def test_while_two_keys_of_the_log_sign_what_the_older_signed_alone_is_published_as_well() -> None:
    files, successor = MemoryFiles(), SeededKey("successor")
    both = LogIdentity(successor.named(LOG.key.name), successor.sign, others=((LOG.key, KEY.sign),))

    await handler_of(files, both).handle([cosigned(3)])

    policy = Policy.parse(files.read(POLICY))
    assert policy.logs == both.keys
    assert policy.open(files.read(COSIGNED)).checkpoint.size == 3
    await handler_of(files, LogIdentity(both.key, successor.sign)).handle([cosigned(7)])
    assert policy.open(files.read(COSIGNED)).checkpoint.size == 3  # nothing that the older signs alone after its end
