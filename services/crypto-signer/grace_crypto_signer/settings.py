"""Environment → settings."""

from datetime import timedelta
from pathlib import Path

from grace_common.runtime.settings import Settings as RuntimeSettings
from pydantic import Field

from grace_crypto_signer.domain.keyring import Limit, RotationPolicy


class Settings(RuntimeSettings):
    """What the crypto-signer is told besides what every service is.

    kek_passphrase_file  opens the key-encryption key; None: `kek-passphrase` in the state folder, made by `init`
    sealed               start without any key, and wait for `grace keys unseal`
    epochs_every_s       seconds between two looks for new keys and whether one is due; `rotate` announces an epoch
                         seed longer before
    epoch_days           age at which the next epoch seed is made
    epoch_operations     operations after which it is made even before
    own_key_days         age at which the notary's and the attestation's key are replaced, while the root is kept here
    notary_operations    operations' keys that the notary's key announces, at the most; replaced as by age, and so below
    attestation_statements  statements that the attestation's key signs, at the most
    witness_key_days     age at which the witness's key is replaced, while the root is kept here; None: by command, as
                         whoever demands its cosignature has to be told of the next one
    witness_checkpoints  checkpoints that it cosigns, at the most; None: as many as there are
    kek_days             age at which the key-encryption key is replaced, while its passphrase is kept here
    kek_seals            seals that it makes, at the most, far below the 2^32 of NIST SP 800-38D, section 8.3, and far
                         above the number of epoch seeds, as each change seals them all
    ca_days              age at which the CA is replaced, while the root is kept here and identities_dir is set
    ca_certificates      certificates that it issues, at the most; None: as many as are asked for
    ca_overlap_days      age of the next CA at which the one before ends by itself, where the next could begin so
    root_days            age at which the root is replaced, while it is kept here; None: by command
    root_directories     versions of the key directory that it signs, the first of which is the change itself; None: as
                         many as are due
    workload_records     records that a service's key seals before it gets another, where identities_dir is set; None:
                         by the certificate's age alone
    identities_dir       holds the services' identity folders; None: they are elsewhere, and a change of the CA and
                         certificates near their end need people, or a Job
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
    notary_operations: int = Field(default=100_000_000, ge=1)
    attestation_statements: int = Field(default=100_000_000, ge=1)
    witness_key_days: float | None = Field(default=None, gt=0)
    witness_checkpoints: int | None = Field(default=None, ge=1)
    kek_days: float = Field(default=365.0, gt=0)
    kek_seals: int = Field(default=1_000_000, ge=1_000, le=1 << 32)
    ca_days: float = Field(default=1095.0, gt=0)
    ca_certificates: int | None = Field(default=None, ge=1)
    ca_overlap_days: float = Field(default=1.0, ge=0)
    root_days: float | None = Field(default=None, gt=0)
    root_directories: int | None = Field(default=None, ge=2)
    workload_records: int | None = Field(default=None, ge=1)
    identities_dir: Path | None = None
    directory_days: float = Field(default=365.0, gt=0)
    restate_every_s: float = Field(default=60.0, gt=0)
    batch: int = Field(default=500, ge=1, le=5_000)
    witnessed_log: str | None = None
    witness_every_s: float = Field(default=1.0, gt=0)

    @property
    def policy(self) -> RotationPolicy:
        return RotationPolicy(
            {
                "epoch": _limit(self.epoch_days, self.epoch_operations),
                "notary": _limit(self.own_key_days, self.notary_operations),
                "attestation": _limit(self.own_key_days, self.attestation_statements),
                "witness": _limit(self.witness_key_days, self.witness_checkpoints),
                "kek": _limit(self.kek_days, self.kek_seals),
                "ca": _limit(self.ca_days, self.ca_certificates),
                "root": _limit(self.root_days, self.root_directories),
                "workload": _limit(None, self.workload_records),  # its age is bounded by its certificate
            }
        )

    @property
    def passphrase_file(self) -> Path:
        return self.kek_passphrase_file or self.state_dir / "kek-passphrase"


def _limit(days: float | None, times: int | None) -> Limit:
    return Limit(None if days is None else timedelta(days=days), times)
