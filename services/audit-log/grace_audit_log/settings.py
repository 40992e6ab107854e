"""Environment → settings."""

from datetime import timedelta
from pathlib import Path

from grace_common.runtime.settings import Settings as RuntimeSettings
from pydantic import Field

from grace_audit_log.domain.succession import SuccessionPolicy


class Settings(RuntimeSettings):
    """What the audit-log is told besides what every service is.

    log_origin        name of the log: first line of every checkpoint, and name of its key
    batch             records in one transaction, at the most; each has some twenty entries
    publish_every_s   seconds between two looks for something to publish, where no commit asks for one
    witness_policy    file of a C2SP tlog-policy: its witnesses that have an address are asked for their cosignatures
    witness_timeout_s seconds that a checkpoint waits for them before it is published with what came
    log_key_days      age at which the log's key is succeeded; None: by command, as whoever verifies has to be told
    log_key_checkpoints  signed with it, after which it is succeeded even before; None: no number of them
    log_key_overlap_days how long the two sign together, where either of these is set
    log_key_every_s   seconds between two looks whether something is due, which is also how often that is said
    """

    service: str = "audit-log"
    log_origin: str = Field(default="grace.local/log", pattern=r"^[^\s+]+$")
    batch: int = Field(default=100, ge=1, le=1_000)
    publish_every_s: float = Field(default=1.0, gt=0)
    witness_policy: Path | None = None
    witness_timeout_s: float = Field(default=2.0, gt=0, le=30)
    log_key_days: float | None = Field(default=None, gt=0)
    log_key_checkpoints: int | None = Field(default=None, ge=1)
    log_key_overlap_days: float = Field(default=30.0, gt=0)
    log_key_every_s: float = Field(default=60.0, gt=0)

    @property
    def succession(self) -> SuccessionPolicy | None:
        """When the log's key is replaced; None: by command alone."""
        if self.log_key_days is None and self.log_key_checkpoints is None:
            return None
        age = None if self.log_key_days is None else timedelta(days=self.log_key_days)
        return SuccessionPolicy(age, self.log_key_checkpoints, timedelta(days=self.log_key_overlap_days))
