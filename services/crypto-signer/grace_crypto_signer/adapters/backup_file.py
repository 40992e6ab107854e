"""The backup of all keys: one file, of no use without three shares of the root.

It holds what the state folder and the database hold, sealed as it is there, but for the passphrase's seal of the
key-encryption key: a guessed passphrase shall not open a stolen backup. `probes` are ids of keys that the seeds must
make again, which is how a drill knows that it restored the same ones. The log's keys are the audit-log's, sealed to the
root before they reach this service.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import Any, Final
from uuid import NAMESPACE_URL, uuid5

import orjson
from grace_common.contract.errors import Refused
from grace_common.contract.events.identity import CertificateIssued
from grace_common.runtime.clock import Clock
from grace_common.runtime.root_seal import SealedLogKeys
from pydantic import ValidationError

from grace_crypto_signer.adapters import directory_files, key_files, key_uses, log_keys, root_files
from grace_crypto_signer.adapters.epoch_store import open_epoch
from grace_crypto_signer.adapters.root_files import PublicRoot
from grace_crypto_signer.adapters.sealing import (
    KeyEncryptionKey,
    octets,
    parse_sealed,
    pretty,
    read_if_there,
    text,
    write_private,
)
from grace_crypto_signer.domain.keyring import Epoch
from grace_crypto_signer.domain.root import Root
from grace_crypto_signer.ports import SealedEpoch

VERSION: Final = 1
PROBE: Final = uuid5(NAMESPACE_URL, "grace-backup-probe")  # an operation that never is
RESTORED: Final = "restored.json"
_KIND: Final = "grace-keys-backup"
_KEK_FILE: Final = "kek.sealed.json"
# A witness that comes back without its memory could cosign a fork: what is restored gets another key instead.
_LEFT_OUT: Final = ("witness.sealed.json",)
_KEK_PUBLIC: Final = ("version", "id", "made_at", "root", "sealed_to_root")


@dataclass(frozen=True, slots=True)
class Backup:
    """What a backup holds.

    files   the state folder's, by name
    probes  by epoch's number, the id of the key that the operation PROBE would have in it
    log     the log's keys, as the audit-log sealed them; None: it gave none
    """

    made_at: datetime
    files: Mapping[str, bytes]
    epochs: Sequence[SealedEpoch]
    certificates: Sequence[CertificateIssued]
    probes: Mapping[int, str]
    log: SealedLogKeys | None = None

    @property
    def root(self) -> PublicRoot:
        return root_files.parse_public(self.files["root.json"], "the backup's root.json")

    def encode(self) -> bytes:
        """Return the file's bytes."""
        content = {
            "version": VERSION,
            "kind": _KIND,
            "made_at": self.made_at.isoformat(),
            "files": {name: text(data) for name, data in sorted(self.files.items())},
            **_rows(self.epochs, self.certificates),
            "probes": {str(number): id_ for number, id_ in self.probes.items()},
            **({"log": self.log.as_object()} if self.log is not None else {}),
        }
        return pretty({**content, "sha256": _digest(content)})

    @classmethod
    def parse(cls, data: bytes, name: str) -> "Backup":
        """Return the backup of these bytes; raises Refused, which calls them `name`, when any of them was changed."""
        stored = parse_sealed(data, name, VERSION)
        try:
            if stored.pop("sha256", None) != _digest(stored) or stored["kind"] != _KIND:
                raise Refused(f"{name} is damaged, or no backup of Grace's keys: take another copy of it")
            epochs, certificates = _parse_rows(stored)
            return cls(
                datetime.fromisoformat(stored["made_at"]),
                {file: octets(content) for file, content in stored["files"].items()},
                epochs,
                certificates,
                {int(number): id_ for number, id_ in stored["probes"].items()},
                SealedLogKeys.parse(stored["log"]) if "log" in stored else None,
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise Refused(f"{name} is no backup of Grace's keys: {type(error).__name__}: {error}") from error


def make(
    folder: Path,
    kek: KeyEncryptionKey,
    epochs: Sequence[SealedEpoch],
    certificates: Sequence[CertificateIssued],
    now: datetime,
    log: SealedLogKeys | None = None,
) -> Backup:
    """Return the backup of a state folder and the rows of the database; everything is opened on the way.

    log     the log's keys, which only the shares open
    raises  Refused when something does not open, nobody holds shares that could open the backup, or the log's keys are
            another Grace's
    """
    if not root_files.read_public(folder).splits:
        raise Refused("nobody holds a share of the root yet, and without shares no backup opens: hand them out first")
    if kek.older:
        raise Refused("the key-encryption key is being changed: finish that first")
    if key_files.next_ca_file(folder).exists():
        raise Refused("the CA is being replaced: finish that first with `grace keys rotate ca`")
    files = {name: file.read_bytes() for name, file in key_files.sealed_files(folder).items() if name not in _LEFT_OUT}
    whole = orjson.loads(files[_KEK_FILE])
    files[_KEK_FILE] = pretty({name: whole[name] for name in _KEK_PUBLIC if name in whole})
    files |= {file.name: file.read_bytes() for file in directory_files.files(folder)}
    files["root.json"] = root_files.public_file(folder).read_bytes()
    if (counted := read_if_there(key_uses.file(folder))) is not None:
        files[key_uses.file(folder).name] = counted
    if log is not None:
        log_keys.require_listed(log, directory_files.newest(folder))
    return Backup(now, files, epochs, certificates, probes(open_epoch(stored, kek) for stored in epochs), log)


def restore(
    backup: Backup, root: Root, passphrase: bytes, folder: Path, trust_domain: str, clock: Clock
) -> KeyEncryptionKey:
    """Put the keys back into an empty folder, under a new passphrase; what belongs in the database waits in a file.

    raises  Refused when the folder holds keys, or something of the backup does not open: nothing is left then
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    there = sorted({*key_files.sealed_files(folder), *(name for name in backup.files if (folder / name).exists())})
    if there:
        raise Refused(f"{folder} holds keys already ({', '.join(there)}): restore into an empty folder")
    try:
        for name, data in backup.files.items():
            if "/" in name or name.startswith("."):
                raise Refused(f"the backup names a file {name!r}, which none of Grace's is called")
            write_private(folder / name, data)
        kek = key_files.kek_by_root(folder, root)
        key_files.write_kek(folder, kek, passphrase)
        key_files.complete(folder, kek, trust_domain, clock, None)
        key_files.open_vault(folder, kek, trust_domain)
        directory_files.newest(folder)
        found = probes(open_epoch(stored, kek) for stored in backup.epochs)
        if found != dict(backup.probes):
            raise Refused("the backup's seeds do not make the keys that they made when it was taken")
        write_private(folder / RESTORED, pretty({"version": VERSION, **_rows(backup.epochs, backup.certificates)}))
    except Refused:
        for name in (*backup.files, *_LEFT_OUT, RESTORED):
            (folder / name).unlink(missing_ok=True)
        raise
    return kek


def waiting_rows(folder: Path) -> tuple[Sequence[SealedEpoch], Sequence[CertificateIssued]]:
    """Return what a restoration left to be put into the database, nothing when there was none; raises Refused."""
    file = folder / RESTORED
    if not file.exists():
        return (), ()
    stored = parse_sealed(file.read_bytes(), str(file), VERSION)
    try:
        return _parse_rows(stored)
    except (KeyError, TypeError, ValueError) as error:
        raise Refused(f"{file} does not hold what a restoration left: {error}") from error


def rows_are_back(folder: Path) -> None:
    """Forget what waited for the database."""
    (folder / RESTORED).unlink(missing_ok=True)


def probes(epochs: Iterable[Epoch]) -> dict[int, str]:
    """Return, by epoch's number, the id of the key that the operation PROBE would have."""
    return {epoch.number: epoch.operation_key(PROBE).key_id for epoch in epochs}


def _rows(epochs: Sequence[SealedEpoch], certificates: Sequence[CertificateIssued]) -> dict[str, Any]:
    return {
        "epochs": [
            {
                "number": stored.number,
                "not_before": stored.not_before.isoformat(),
                "kek": stored.kek_id,
                "nonce": text(stored.nonce),
                "sealed": text(stored.sealed),
            }
            for stored in epochs
        ],
        "certificates": [one.model_dump(mode="json") for one in certificates],
    }


def _parse_rows(stored: Mapping[str, Any]) -> tuple[Sequence[SealedEpoch], Sequence[CertificateIssued]]:
    epochs = [
        SealedEpoch(
            int(row["number"]),
            datetime.fromisoformat(row["not_before"]),
            str(row["kek"]),
            octets(row["nonce"]),
            octets(row["sealed"]),
        )
        for row in stored["epochs"]
    ]
    try:
        # As JSON, so that bytes are read as they were written.
        certificates = [CertificateIssued.model_validate_json(orjson.dumps(one)) for one in stored["certificates"]]
    except ValidationError as error:
        raise ValueError(f"a certificate is malformed: {error.error_count()} errors") from error
    return epochs, certificates


def _digest(content: Mapping[str, Any]) -> str:
    return sha256(orjson.dumps(content)).hexdigest()
