"""What the gateway is told by its environment."""

from grace_common.runtime.settings import Settings as RuntimeSettings
from pydantic import Field


class Settings(RuntimeSettings):
    """Settings of the gateway, beside those of every service.

    key_rate              requests one API key may make, in the notation of the library `limits`
    auth_failure_rate     failed authentications one client address may cause
    refusal_rate          refusals of one client that are stated one by one; further ones are counted into one fact
    max_body_bytes        largest request body
    max_backlog           facts waiting in the outbox above which no new work is taken
    stream_buffer         messages a WebSocket client may lag behind before it is closed
    stream_heartbeat_s    seconds between heartbeats on a silent WebSocket
    """

    key_rate: str = "400/second"
    auth_failure_rate: str = "10/minute"
    refusal_rate: str = "20/minute"
    max_body_bytes: int = Field(default=64 * 1024, ge=1024)
    max_backlog: int = Field(default=20_000, ge=1)
    stream_buffer: int = Field(default=1_000, ge=10)
    stream_heartbeat_s: float = Field(default=20.0, gt=0)
