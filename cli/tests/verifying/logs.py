"""Logs of signed statements, small and in folders, as verification meets them."""

from functools import partial
from pathlib import Path

from grace_cli.log_files import FolderLog, read_authority
from grace_cli.verifying.chunk import check_files
from grace_cli.verifying.state import State
from grace_cli.verifying.whole_log import Findings, Verification
from grace_common.testing.ledger import MemoryLedger
from grace_common.transparency.checkpoint import Checkpoint, open_checkpoint

OPERATIONS = 10  # entries that one operation's key signs, before the next one is announced


def ledger_of(size: int, *, published: tuple[int, ...] = ()) -> MemoryLedger:
    """Return a ledger of so many entries, signed as Grace signs them; checkpoints at these sizes and its own."""
    ledger = MemoryLedger()
    extend(ledger, size, published=published)
    return ledger


def extend(ledger: MemoryLedger, size: int, *, published: tuple[int, ...] = ()) -> None:
    """Let a ledger grow to so many entries."""
    while (index := len(ledger.log.entries)) < size:
        if index == 0:
            ledger.publish_key(ledger.notary, "notary")
        elif index == 1:
            ledger.publish_key(ledger.attester, "attestation")
        elif index % OPERATIONS == 2:
            ledger.announce(operation(index))
        else:
            ledger.state(f"fact-{index}", "grace.task-submitted.v1", "ada", operation(index), b"%d" % index)
        if index + 1 in published:
            ledger.log.publish()
    ledger.log.publish()


def operation(index: int) -> str:
    """Return the operation that the entry at an index belongs to."""
    return f"operation-{(index - 2) // OPERATIONS}"


def write(ledger: MemoryLedger, folder: Path) -> Path:
    """Write a ledger's files to a folder."""
    for path, data in ledger.log.files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
    return folder


def checkpoint_of(ledger: MemoryLedger) -> Checkpoint:
    """Return the newest checkpoint, opened."""
    return open_checkpoint(ledger.log.files["checkpoint"], ledger.log.key).checkpoint


def verify(
    ledger: MemoryLedger,
    folder: Path,
    *,
    resume: Path | None = None,
    earlier: tuple[Checkpoint, ...] = (),
    processes: int = 1,
    tree_only: bool = False,
) -> Findings:
    """Verify the log in a folder under the newest checkpoint of a ledger."""
    log, checkpoint = FolderLog(folder), checkpoint_of(ledger)
    authority = None if tree_only else read_authority(None, log, checkpoint)
    state = State(resume, {"log": str(ledger.log.key)})
    try:
        return Verification(
            log, checkpoint, partial(check_files, log), state, authority, earlier, processes=processes
        ).run()
    finally:
        state.close()
