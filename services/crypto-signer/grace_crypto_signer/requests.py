"""What a command about keys is asked: one JSON object, with every secret in it, so that none is an argument.

Arguments and environments show in process lists; standard input and a Unix socket of mode 0600 do not.
"""

from pathlib import Path
from typing import Any, Self

from grace_common.contract.envelope import explain
from grace_common.contract.errors import Refused
from grace_common.contract.topics import SERVICES
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError

from grace_crypto_signer.adapters import key_files, root_files
from grace_crypto_signer.adapters.root_files import PublicRoot
from grace_crypto_signer.adapters.sealing import KeyEncryptionKey
from grace_crypto_signer.adapters.share_files import HeldShare
from grace_crypto_signer.domain.root import Root


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class Share(_Part):
    """A share: the file's name and content, the passphrase of its holder."""

    name: str
    content: str
    passphrase: SecretStr


class Holder(_Part):
    """Who shall hold a share, and the passphrase that will seal it."""

    name: str
    passphrase: SecretStr


class KeyRequest(_Part):
    """Whatever a command may need; each takes what it needs and passes over the rest.

    file            of the backup
    folder          where shares are written; where the services' identities lie, one folder each
    holders         who gets one
    shares          three of the root, in place of a passphrase or because the root itself is needed
    passphrase      of the key-encryption key; None: the one in the signer's own file
    new_passphrase  that the key-encryption key gets; None: one is made and kept in the signer's own file
    level           what to rotate or retire; `log`: restore the log's keys alone
    log_key         vkey that shall succeed the log's, as the audit-log made it
    log_keys        what `python -m grace_audit_log key backup` printed of the log's keys, for the backup
    log_folder      the audit-log's state folder, into which the log's keys of a backup are put back
    told            the services' folders are elsewhere, and name by now which CAs there are
    """

    file: Path | None = None
    folder: Path | None = None
    holders: tuple[Holder, ...] = ()
    shares: tuple[Share, ...] = ()
    passphrase: SecretStr | None = None
    new_passphrase: SecretStr | None = Field(default=None, min_length=1)
    level: str | None = None
    log_key: str | None = None
    log_keys: dict[str, Any] | None = None
    log_folder: Path | None = None
    told: bool = False

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Return the request; raises Refused, which quotes no value."""
        try:
            return cls.model_validate_json(data or b"{}")
        except ValidationError as error:
            raise Refused(f"the request is malformed: {explain(error, most=5)}") from None

    @property
    def held(self) -> tuple[HeldShare, ...]:
        return tuple(
            HeldShare(share.name, share.content.encode(), share.passphrase.get_secret_value().encode())
            for share in self.shares
        )

    @property
    def identities(self) -> dict[str, Path]:
        """The folder of each service that has one."""
        if self.folder is None:
            return {}
        return {service: self.folder / service for service in SERVICES if (self.folder / service).is_dir()}

    def need_file(self) -> Path:
        if self.file is None:
            raise Refused("the request names no file")
        return self.file

    def open_kek(self, folder: Path, passphrase_file: Path) -> KeyEncryptionKey:
        """Return the key-encryption key by what the request brings: shares, a passphrase, else the signer's own file.

        raises  Refused when that does not open it
        """
        if self.shares:
            return key_files.kek_by_root(folder, root_files.read_public(folder).combine(self.held))
        if self.passphrase is not None:
            return key_files.kek_by_passphrase(folder, self.passphrase.get_secret_value().encode())
        return key_files.open_kek(folder, passphrase_file)

    def open_root(self, public: PublicRoot, kept: Root | None) -> Root:
        """Return the root: out of the shares, or the one that the signer still keeps; raises Refused."""
        if self.shares:
            return public.combine(self.held)
        if kept is None:
            raise Refused("the root exists as shares alone: bring three of them")
        return kept
