"""The signer's own keys while it runs: read from their files again when a command or policy has changed them."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Final

import structlog
from grace_common.contract.errors import Refused, Unready
from grace_common.transparency.directory import KeyDirectory
from grace_common.transparency.note import VerifierKey

from grace_crypto_signer.adapters import directory_files, key_files, key_uses, log_due, root_files
from grace_crypto_signer.adapters.key_files import Vault
from grace_crypto_signer.adapters.log_due import LogDue
from grace_crypto_signer.adapters.sealing import LiveKek, read_if_there
from grace_crypto_signer.adapters.state_lock import Busy, changing
from grace_crypto_signer.domain.certificate import Authority
from grace_crypto_signer.domain.keyring import Level, SigningKey, Use
from grace_crypto_signer.domain.notary import OwnKeys
from grace_crypto_signer.domain.root import Root
from grace_crypto_signer.settings import Settings

OWN: Final[Sequence[Level]] = ("notary", "attestation", "witness")  # by a new key and a new version of the directory
_log = structlog.get_logger(__name__)


class FileKeys:
    """Implements `Keys` and `LogDirectory`."""

    def __init__(self, settings: Settings, kek: LiveKek) -> None:
        self._settings = settings
        self._kek = kek
        self._vault: Vault | None = None
        self._seen: Sequence[bytes] = ()
        self._told = ""
        self._directory: tuple[int, KeyDirectory | None] = (0, None)

    def authority(self) -> Authority:
        return self._usable("ca").authority

    def own(self) -> OwnKeys:
        return self._opened().own

    def witness(self) -> SigningKey:
        """Return the key that cosigns checkpoints now; raises Unready as `authority` does."""
        return self._usable("witness").witness

    def log_keys(self, origin: str) -> Sequence[VerifierKey]:
        """Return the keys of a log that the newest key directory lists, those that ended too, the newest last."""
        count, known = self._directory
        found = len(directory_files.files(self._settings.state_dir))
        if found != count:
            try:
                known = directory_files.newest(self._settings.state_dir)
                self._directory = (found, known)
            except Refused as error:  # the root is being replaced: what was known goes on
                _log.warning("key_directory_not_followed", why=str(error))
        return [] if known is None else known.log_keys(origin)

    def succeed_log(self, leading: VerifierKey, successor: VerifierKey, now: datetime) -> None:
        self._change_log(
            LogDue("rotate", leading, successor),
            lambda vault, root: directory_files.succeed_log(
                self._settings.state_dir, vault, root, successor, now, self._life
            ),
        )

    def retire_log(
        self, leading: VerifierKey, older: VerifierKey, witnessed: VerifierKey | None, now: datetime
    ) -> None:
        self._change_log(
            LogDue("retire", leading, older),
            lambda vault, root: directory_files.retire_log(
                self._settings.state_dir, vault, root, witnessed, now, self._life
            ),
        )

    def _change_log(self, due: LogDue, sign: Callable[[Vault, Root], KeyDirectory]) -> None:
        folder = self._settings.state_dir
        if not due.holds(directory_files.newest(folder)):
            return
        with changing(folder, "the running signer"):
            vault = self._opened()
            if vault.root is not None:
                made = sign(vault, vault.root)
                _log.info("log_key_changed", verb=due.verb, log_key=str(due.other), version=made.version)
            elif log_due.keep(folder, due):
                _log.warning("log_key_due", log_key=str(due.other), why=f"`grace keys {due.verb} log --share …`")

    def begin(self, now: datetime) -> None:
        """See to it that no key signs that has ended: an older copy of the folder may have been put back.

        raises  Refused when one has, and people have to bring the root or a newer copy
        """
        folder = self._settings.state_dir
        if root_files.next_file(folder).exists():
            return  # the root is being replaced: that is gone on with first, and each renewal looks again
        if adopted := directory_files.adopt(folder, self._settings.publication_dir):
            _log.warning("older_keys_were_put_back", newer_versions_of_the_key_directory=adopted)
        ended = self._ended()
        if "ca" in ended:
            raise Refused(f"the CA of {folder} has ended since this copy of it was made: put back a newer one")
        if ended and not root_files.sealed_file(folder).exists():
            which = " and ".join(f"`grace keys rotate {purpose} --share …`" for purpose in ended)
            raise Refused(f"keys of {folder} have ended since this copy of it was made: give {which}, then start again")
        if ended:
            with changing(folder, "the signer, which starts"):
                self._renew(now.replace(microsecond=0))

    def _ended(self) -> list[Level]:
        """Return of which levels the key here is one that the key directory lists as ended."""
        folder = self._settings.state_dir
        known = directory_files.newest(folder)
        listed = () if known is None else known.keys
        gone = {(key.purpose, key.key_id) for key in listed if key.not_after is not None}
        return [level for level in (*OWN, "ca") if (level, key_files.described(folder, level)[0]) in gone]

    def renew(self, now: datetime) -> None:
        try:
            with changing(self._settings.state_dir, "the running signer"):
                self._renew(now.replace(microsecond=0))  # as commands do: a key must not end before it begins
        except Busy as error:
            _log.info("keys_are_being_changed", by=error.holder)  # the next look finds what is due then

    def _renew(self, now: datetime) -> None:
        folder, policy = self._settings.state_dir, self._settings.policy
        if root_files.load(folder, self._kek) is None:
            self._tell_what_people_must_do(now)
            return
        used, ended = key_uses.read(folder), self._ended()
        for purpose in OWN:
            before, made_at = key_files.described(folder, purpose)
            due = policy.due(purpose, Use(made_at, used.get(before, 0)), now)
            if why := "has ended" if purpose in ended else due:
                made = key_files.make_key(folder, self._kek, purpose, now)
                _log.info("own_key_made", purpose=purpose, why=why, key_id=made.key_id)
        versions = len(self.directories())
        vault = self._opened()
        renewed = directory_files.renew(folder, vault, vault.root, self._log_key(), now, self._life, versions)
        if renewed is not None:
            _log.info("key_directory_signed", version=renewed.version, expires=renewed.expires)

    def directories(self) -> Sequence[bytes]:
        return directory_files.signed_versions(self._settings.state_dir)

    @property
    def _life(self) -> timedelta:
        return timedelta(days=self._settings.directory_days)

    def _log_key(self) -> VerifierKey | None:
        return directory_files.log_key(self._settings.publication_dir)

    def _usable(self, purpose: str) -> Vault:
        """Return the open keys, the one for a purpose being that of now.

        raises  Unready when it was replaced by one that does not open
        """
        known = self._vault
        try:
            return self._opened()
        except Refused as error:
            # Sealed under a key that people have to bring. What was open goes on, while it is still the one in use.
            in_memory = None if known is None else {"ca": known.own.authority, "witness": known.witness}[purpose].key_id
            if known is not None and key_files.described(self._settings.state_dir, purpose)[0] == in_memory:
                return known
            raise Unready(f"the {purpose} key was replaced by one that does not open: {error}") from error

    def _opened(self) -> Vault:
        """Return the open keys; the files are opened again when one of them changed."""
        folder = self._settings.state_dir
        files = [*key_files.sealed_files(folder).values(), root_files.sealed_file(folder)]
        seen = [data for file in files if (data := read_if_there(file)) is not None]
        if self._vault is None or seen != self._seen:
            self._vault = key_files.open_vault(folder, self._kek, self._settings.trust_domain)
            self._seen = seen
        return self._vault

    def _tell_what_people_must_do(self, now: datetime) -> None:
        due = directory_files.pending(self._settings.state_dir, self._opened(), self._log_key(), now, self._life)
        said = "" if due is None else f"version {due.version} of the key directory waits for three shares"
        if said != self._told and said:
            _log.warning("key_directory_due", why=f"{said}: `grace keys directory --share …`")
        self._told = said
