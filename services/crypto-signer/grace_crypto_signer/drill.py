"""The drill: restore the keys from a backup and three shares into an empty folder, and sign with nothing else."""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Final
from uuid import NAMESPACE_URL, uuid5

from grace_common.contract import envelope, topics
from grace_common.contract.envelope import Envelope
from grace_common.contract.errors import Refused
from grace_common.contract.events.signature import EntriesNotarized
from grace_common.contract.events.task import TaskSubmitted
from grace_common.runtime.clock import SystemClock
from grace_common.runtime.root_seal import LEADING
from grace_common.transparency.dsse import verify_envelope
from grace_common.transparency.statement import OperationKey, read_leaf, verifier_of

from grace_crypto_signer.adapters import backup_file, key_files, log_keys
from grace_crypto_signer.adapters.backup_file import Backup
from grace_crypto_signer.adapters.epoch_store import open_epoch
from grace_crypto_signer.adapters.share_files import THRESHOLD, HeldShare
from grace_crypto_signer.domain.entry import signed
from grace_crypto_signer.domain.keyring import Keyring
from grace_crypto_signer.domain.notary import KEY_ENTRY, Notary, OwnKeys

_PASSPHRASE: Final = b"of the drill alone"


@dataclass(frozen=True, slots=True)
class Drilled:
    """What the drill showed.

    epochs   seeds that made the same keys as when the backup was taken
    entries  signed by the restored signer, and verified
    log_key  vkey of the log's key, which signed a checkpoint; None: the backup holds none
    """

    epochs: int
    entries: int
    seconds: float
    log_key: str | None = None


def drill(backup: Backup, shares: Sequence[HeldShare], trust_domain: str) -> Drilled:
    """Restore, sign, verify; nothing of it stays.

    raises  Refused when the shares do not make the root, fewer would have, something does not open, or a signature of
            the restored signer does not verify
    """
    began = monotonic()
    root = backup.root.combine(shares)
    _must_not_suffice(backup, shares[: THRESHOLD - 1])
    with tempfile.TemporaryDirectory(prefix="grace-drill-") as place:
        folder = Path(place) / "state"
        backup_file.restore(backup, root, _PASSPHRASE, folder, trust_domain, SystemClock())
        vault = key_files.open_vault(folder, key_files.kek_by_passphrase(folder, _PASSPHRASE), trust_domain)
        rows, _ = backup_file.waiting_rows(folder)
        keyring = Keyring([open_epoch(stored, vault.kek) for stored in rows])
        entries = sum(_signs(keyring, vault.own, number) for number in range(len(keyring.epochs)))
    if backup.log is not None:
        log_keys.opened(backup.log, root)
    log_key = backup.log.vkeys[LEADING] if backup.log is not None else None
    return Drilled(len(keyring.epochs), entries, round(monotonic() - began, 3), log_key)


def _must_not_suffice(backup: Backup, shares: Sequence[HeldShare]) -> None:
    try:
        backup.root.combine(shares)
    except Refused:
        return
    raise Refused(
        f"{' and '.join(share.name for share in shares)} make the root by themselves: one more must be needed"
    )


def _signs(keyring: Keyring, own: OwnKeys, number: int) -> int:
    """Notarise a fact of one epoch's time and verify what comes out as a stranger would; return how many entries."""
    epoch = keyring.epochs[number]
    example = TaskSubmitted.example()
    operation = uuid5(NAMESPACE_URL, f"grace-drill:{epoch.number}")
    stated = envelope.encode(
        Envelope(
            id=operation,
            source=f"/grace/{topics.GATEWAY}",
            time=epoch.not_before,
            correlation=example.partition_key,
            causation=None,
            operation=operation,
            actor="drill",
            traceparent=None,
            event=example,
        )
    )
    drafts = Notary(keyring, own).notarize(example.TOPIC.name, example.partition_key.encode(), stated, topics.GATEWAY)
    known = {own.notary.key_id: own.notary.public_key}
    types = []
    for value in signed(drafts):
        event = envelope.open(value).event
        if not isinstance(event, EntriesNotarized):
            raise Refused(f"the restored signer stated {event.TYPE}, which was not asked for")
        for entry in event.entries:
            leaf, statement = read_leaf(entry.leaf.encode())
            verify_envelope(leaf, known, verifier_of(leaf))
            if statement is not None and isinstance(statement.announced, OperationKey):
                known = {statement.announced.key_id: statement.announced.public_key}
            types.append(entry.entry_type)
    if types != [KEY_ENTRY, TaskSubmitted.TYPE]:
        raise Refused(f"the restored signer stated {types}")
    return len(types)
