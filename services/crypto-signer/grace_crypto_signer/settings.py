"""Environment → settings."""

from datetime import timedelta
from pathlib import Path

from grace_common.runtime.settings import Settings as RuntimeSettings
from pydantic import Field

from grace_crypto_signer.domain.keyring import RotationPolicy


class Settings(RuntimeSettings):
    """What the crypto-signer is told besides what every service is.

    kek_passphrase_file  opens the key-encryption key; None: `kek-passphrase` in the state folder, made by `init`
    sealed               start without any key, and wait for `grace keys unseal`
    epochs_every_s       seconds between two looks for new keys and whether one is due; `rotate` announces an epoch
                         seed longer before
    epoch_days           age at which the next epoch seed is made
    epoch_operations     operations after which it is made even before
    own_key_days         age at which the notary's and the attestation's key are replaced, while the root is kept here
    witness_key_days     age at which the witness's key is replaced, while the root is kept here; None: by command, as
                         whoever demands its cosignature has to be told of the next one
    directory_days       life of a version of the public key directory; the next comes with a third of it left
    restate_every_s      seconds between two statements of all certificates that hold, for a broker that lost them
    batch                records notarised together, at the most
    witnessed_log        vkey of the log to cosign, with which a succession may begin; None: the one published when the
                         first checkpoint was cosigned
    witness_every_s      seconds between two cosignatures, at the least
    """

    service: str = "crypto-signer"
    kek_passphrase_file: Path | None = None
    sealed: bool = False
    epochs_every_s: float = Field(default=20.0, gt=0)
    epoch_days: float = Field(default=1.0, gt=0)
    epoch_operations: int = Field(default=1_000_000, ge=1)
    own_key_days: float = Field(default=90.0, gt=0)
    witness_key_days: float | None = Field(default=None, gt=0)
    directory_days: float = Field(default=365.0, gt=0)
    restate_every_s: float = Field(default=60.0, gt=0)
    batch: int = Field(default=500, ge=1, le=5_000)
    witnessed_log: str | None = None
    witness_every_s: float = Field(default=1.0, gt=0)

    @property
    def policy(self) -> RotationPolicy:
        return RotationPolicy(
            epoch_age=timedelta(days=self.epoch_days),
            epoch_operations=self.epoch_operations,
            own_age=timedelta(days=self.own_key_days),
            witness_age=None if self.witness_key_days is None else timedelta(days=self.witness_key_days),
        )

    @property
    def passphrase_file(self) -> Path:
        return self.kek_passphrase_file or self.state_dir / "kek-passphrase"
