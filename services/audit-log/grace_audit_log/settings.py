"""Environment → settings."""

from pathlib import Path

from grace_common.runtime.settings import Settings as RuntimeSettings
from pydantic import Field


class Settings(RuntimeSettings):
    """What the audit-log is told besides what every service is.

    log_origin        name of the log: first line of every checkpoint, and name of its key
    batch             records in one transaction, at the most; each has some twenty entries
    publish_every_s   seconds between two looks for something to publish, where no commit asks for one
    witness_policy    file of a C2SP tlog-policy: its witnesses that have an address are asked for their cosignatures
    witness_timeout_s seconds that a checkpoint waits for them before it is published with what came
    """

    service: str = "audit-log"
    log_origin: str = Field(default="grace.local/log", pattern=r"^[^\s+]+$")
    batch: int = Field(default=100, ge=1, le=1_000)
    publish_every_s: float = Field(default=1.0, gt=0)
    witness_policy: Path | None = None
    witness_timeout_s: float = Field(default=2.0, gt=0, le=30)
