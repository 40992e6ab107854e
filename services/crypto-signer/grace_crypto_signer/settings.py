"""Environment → settings."""

from pathlib import Path

from grace_common.runtime.settings import Settings as RuntimeSettings
from pydantic import Field


class Settings(RuntimeSettings):
    """What the crypto-signer is told besides what every service is.

    kek_passphrase_file  opens the key-encryption key; None: `kek-passphrase` in the state folder, made by `init`
    sealed               start without any key, and wait for `grace keys unseal`
    epochs_every_s       seconds between two looks for a new epoch seed; `rotate` announces one longer before
    restate_every_s      seconds between two statements of all certificates that hold, for a broker that lost them
    batch                records notarised together, at the most
    """

    service: str = "crypto-signer"
    kek_passphrase_file: Path | None = None
    sealed: bool = False
    epochs_every_s: float = Field(default=20.0, gt=0)
    restate_every_s: float = Field(default=60.0, gt=0)
    batch: int = Field(default=500, ge=1, le=5_000)

    @property
    def passphrase_file(self) -> Path:
        return self.kek_passphrase_file or self.state_dir / "kek-passphrase"
