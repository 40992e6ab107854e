"""What the orchestrator is told by its environment, beyond what every service is told."""

from pathlib import Path

from grace_common.runtime.settings import Settings as ServiceSettings
from pydantic import Field


class Settings(ServiceSettings):
    """The orchestrator's settings, each from `GRACE_<NAME>`.

    policies_dir  a folder of policy files (*.toml) instead of the ones that come with the package
    timer_poll_s  how often due timers are looked for
    lessons       how many lessons of memory a task is given, at most
    """

    policies_dir: Path | None = None
    timer_poll_s: float = Field(default=1.0, gt=0)
    lessons: int = Field(default=5, ge=0, le=20)
