"""The log's signing keys: files of mode 0600 in the state folder.

`log-key.pem` leads. `log-key-next.pem` was made, by command or by policy, and waits until the key directory lists it;
then it takes the place of the first, which stays as `log-key-before.pem` and signs as well until the directory says
that it has ended.
"""

import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from threading import RLock
from typing import TypeAlias

import structlog
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from grace_common.contract.errors import Refused
from grace_common.runtime.root_seal import BEFORE, LEADING, LEAST, NEXT
from grace_common.transparency.checkpoint import Checkpoint, open_checkpoint
from grace_common.transparency.directory import KeyDirectory, follow_all
from grace_common.transparency.dsse import DsseEnvelope
from grace_common.transparency.ed25519 import Sign
from grace_common.transparency.note import Note, VerifierKey

from grace_audit_log.domain.succession import Held, ended, leads, require_in_use
from grace_audit_log.domain.tree import LogIdentity

_log = structlog.get_logger(__name__)

Signer: TypeAlias = tuple[VerifierKey, Sign]


class FileLogKeys:
    """Implements `LogKeys` and `OwnSuccession`; the leading key is made where there is none.

    A database that a lost key has signed is noticed by the writer, which compares its newest checkpoint with the keys.

    folder       the state folder
    ca_keys      returns the CAs' keys that checkpoints name
    publication  the folder of the log's static files, with the versions of the key directory
    raises       Refused when a file is readable by others or holds no Ed25519 key, or its key has ended
    """

    def __init__(self, folder: Path, origin: str, ca_keys: Callable[[], tuple[bytes, ...]], publication: Path) -> None:
        self._ca_keys = ca_keys
        self._folder = folder
        self._origin = origin
        self._publication = publication
        if not (folder / LEADING).exists():
            _create(folder / LEADING)
        self._versions: list[bytes] = []
        self._directory: KeyDirectory | None = None
        self._one_at_a_time = RLock()  # publishing is partly done in threads
        self._learn(self._published())
        self._seen, self._identity = self._taken_up()
        require_in_use(self._held(), self._directory)

    def identity(self) -> LogIdentity:
        with self._one_at_a_time:
            if self._state() != self._seen:  # a command, or another instance, has changed the files
                self._take_up()
            return self._identity

    def follow(self, directories: Sequence[bytes]) -> LogIdentity:
        with self._one_at_a_time:
            if self._learn(directories):
                self._take_up()
            return self.identity()

    def directory(self) -> KeyDirectory | None:
        with self._one_at_a_time:
            return self._directory

    def successor(self) -> VerifierKey:
        with self._one_at_a_time:
            return make_successor(self._folder, self._origin, self._publication)[1]

    def settle(self) -> None:
        with self._one_at_a_time:
            self.follow(self._published())
            before = self._folder / BEFORE
            if self._identity.others or not before.exists():
                return
            if ended(self._held().before, self._directory) and self._shown_by_leading():
                before.unlink(missing_ok=True)
                _sync(self._folder)
                _log.info("log_key_removed", leading=str(self._identity.key))

    def _take_up(self) -> None:
        before = self._identity.keys
        try:
            self._seen, self._identity = self._taken_up()
        except Refused as error:  # what it holds in memory goes on; the next start is refused
            self._seen = self._state()
            _log.error("log_key_unreadable", why=str(error))
        if self._identity.keys != before:
            _log.info("log_keys_changed", keys=[str(key) for key in self._identity.keys])

    def _taken_up(self) -> tuple[list[tuple[int, int] | None], LogIdentity]:
        """Read the files, and let the successor lead where its time has come."""
        if leads(self._held(), self._directory):
            with suppress(FileExistsError):  # of a change that was cut short
                os.link(self._folder / LEADING, self._folder / BEFORE)
            _sync(self._folder)
            with suppress(FileNotFoundError):  # another instance was faster
                os.replace(self._folder / NEXT, self._folder / LEADING)
            _sync(self._folder)
        return self._state(), self._read()

    def _read(self) -> LogIdentity:
        key, sign = self._need(LEADING)
        before = self._load(BEFORE)
        others = () if before is None or before[0] == key or ended(before[0], self._directory) else (before,)
        listed = self._directory.log_keys(self._origin) if self._directory is not None else []
        gone = tuple(each for each in listed if ended(each, self._directory))
        return LogIdentity(key, sign, ca_keys=self._ca_keys, others=others, ended=gone, least=self._least())

    def _least(self) -> Checkpoint | None:
        """Return the checkpoint that the ledger must contain, as the keys were restored; None where they were not."""
        try:
            note = (self._folder / LEAST).read_bytes()
        except FileNotFoundError:
            return None
        # Restored with the keys, of which the one that led then may have ended since; their holder wrote it.
        return Checkpoint.parse(Note.parse(note).text)

    def _held(self) -> Held:
        before, successor = self._load(BEFORE), self._load(NEXT)
        return Held(
            self._need(LEADING)[0],
            before[0] if before else None,
            successor[0] if successor else None,
        )

    def _need(self, name: str) -> Signer:
        found = self._load(name)
        if found is None:
            raise Refused(f"{self._folder / name} is gone: put back the key that belongs to this log")
        return found

    def _load(self, name: str) -> Signer | None:
        return load(self._folder / name, self._origin)

    def _state(self) -> list[tuple[int, int] | None]:
        """Return what tells one state of the key files from another."""
        state: list[tuple[int, int] | None] = []
        for name in (LEADING, BEFORE, NEXT):
            try:
                found = (self._folder / name).stat()
            except FileNotFoundError:
                state.append(None)
            else:
                state.append((found.st_ino, found.st_mtime_ns))
        return state

    def _published(self) -> list[bytes]:
        """Return the versions of the key directory that are published after those known here."""
        return published_versions(self._publication, len(self._versions))

    def _learn(self, signed: Sequence[bytes]) -> bool:
        """Take in versions that follow those known; tell whether one did."""
        learned = False
        for each in signed:
            try:
                version = KeyDirectory.parse(DsseEnvelope.parse(each).payload).version
                if version <= len(self._versions):
                    continue
                self._directory = follow_all([*self._versions, each])
            except Refused as error:
                _log.error("key_directory_not_followed", why=str(error))
                continue
            self._versions.append(each)
            learned = True
        return learned

    def _shown_by_leading(self) -> bool:
        """Tell whether the published checkpoint is signed by the key that leads."""
        try:
            open_checkpoint((self._publication / "checkpoint").read_bytes(), self._identity.key)
        except (OSError, Refused):
            return False
        return True


def make_successor(folder: Path, origin: str, publication: Path) -> tuple[VerifierKey, VerifierKey]:
    """Return the leading key and the one that shall succeed it, which is made unless it waits already.

    raises  Refused while two keys sign, or there is none
    """
    leading, before = load(folder / LEADING, origin), load(folder / BEFORE, origin)
    if leading is None:
        raise Refused("this log has no key yet: start the audit-log first")
    if before is not None and before[0] != leading[0]:
        raise Refused(
            f"two keys sign this log already, {leading[0]} and the one that it succeeds, {before[0]}: end that one "
            "first with `grace keys retire log`"
        )
    if not (folder / NEXT).exists():
        versions = published_versions(publication, 0)
        listed = follow_all(versions).log_keys(origin, in_use=True) if versions else []
        if leading[0] not in listed:
            raise Refused(
                f"no published version of the key directory lists the log's key {leading[0]}, so nobody could learn of "
                "another one: `grace keys directory` first, and wait until the ledger has it"
            )
        _create(folder / NEXT)
    successor = load(folder / NEXT, origin)
    if successor is None:
        raise Refused("the key was taken up while it was looked at: see `grace keys status`")
    return leading[0], successor[0]


def published_versions(publication: Path, known: int) -> list[bytes]:
    """Return the versions of the key directory beside the log from the one after `known` on."""
    versions: list[bytes] = []
    with suppress(FileNotFoundError, NotADirectoryError):
        while True:
            versions.append((publication / "keys" / f"{known + len(versions) + 1:04}.json").read_bytes())
    return versions


def load(file: Path, origin: str) -> Signer | None:
    """Return the key in a file; None when there is no file.

    raises  Refused when the file is readable by others, or holds no Ed25519 key
    """
    try:
        mode, content = file.stat().st_mode, file.read_bytes()
    except FileNotFoundError:
        return None
    if mode & 0o077:
        raise Refused(f"{file} can be read by others; run `chmod 600 {file}`, and replace the key if somebody did")
    try:
        key = load_pem_private_key(content, password=None)
    except ValueError as error:
        raise Refused(f"{file} holds no Ed25519 key: {error}") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise Refused(f"{file} holds no Ed25519 key")
    return VerifierKey(origin, key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)), key.sign


def _create(file: Path) -> None:
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    material = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    draft = file.with_suffix(f".{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as out:
        out.write(material)
        out.flush()
        os.fsync(out.fileno())
    try:
        os.link(draft, file)  # unlike a rename, this never replaces a key that another process made meanwhile
    except FileExistsError:
        pass
    finally:
        draft.unlink()
    _sync(file.parent)


def _sync(folder: Path) -> None:
    """Make the folder's listing durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
