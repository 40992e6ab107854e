"""What a process is told by its environment; nothing else in Grace reads environment variables."""

from pathlib import Path
from typing import Literal, Self
from urllib.parse import unquote, urlsplit

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from grace_common.contract.envelope import explain
from grace_common.contract.errors import Refused


class Settings(BaseSettings):
    """Settings that every service has, each from `GRACE_<NAME>`. There are no default passwords.

    kafka_bootstrap  host:port, several separated by commas
    kafka_username   None: the cluster asks for no authentication
    kafka_security_protocol  with …SSL the broker's certificate is checked against the system's authorities
    kafka_compression  of what this service produces; None saves CPU where the broker is near, lz4 network and disk
    database_url     postgresql://role:password@host:port/database; the role's search path is its own schema
    identity_dir     key.pem, cert.pem and ca.pem of this workload
    state_dir        files only this service may read
    publication_dir  the ledger's static files: the audit-log writes, the gateway serves
    schemas_dir      the checked-in `schemas/`: a service refuses to start when its own differ from it
    instance         tells instances of one service apart; stable across restarts
    outbox_resend_s  seconds after which a record that no checkpoint covers is sent again
    failpoint        for tests: the stage at which to die (runtime/failpoint.py); refused in production builds
    """

    model_config = SettingsConfigDict(env_prefix="GRACE_", frozen=True, extra="ignore")

    service: str
    kafka_bootstrap: str
    kafka_username: str | None = None
    kafka_password: SecretStr | None = None
    kafka_security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "SASL_PLAINTEXT"
    kafka_compression: Literal["gzip", "snappy", "lz4", "zstd"] | None = None
    database_url: SecretStr
    identity_dir: Path
    state_dir: Path
    publication_dir: Path
    schemas_dir: Path
    trust_domain: str = "grace.local"
    http_host: str = "127.0.0.1"
    http_port: int = Field(ge=0, le=65535)
    instance: str = "0"
    log_level: str = "INFO"
    database_pool: int = Field(default=8, ge=2, le=100)
    outbox_resend_s: float = Field(default=30.0, gt=0)
    delivery_attempts: int = Field(default=8, ge=1)
    otlp_endpoint: str | None = None
    failpoint: str | None = None

    @property
    def secrets(self) -> frozenset[str]:
        """Every secret that this process was told, each as it may stand in a text."""
        told = {value.get_secret_value() for _, value in self if isinstance(value, SecretStr)}
        password = urlsplit(self.database_url.get_secret_value()).password or ""
        return frozenset(told | {password, unquote(password)}) - {""}

    @classmethod
    def load(cls) -> Self:
        """Read the environment; Refused names each setting that is missing or malformed, never its value."""
        try:
            return cls()
        except ValidationError as error:
            raise Refused(
                f"settings of {cls.__module__.split('.')[0]}: {explain(error, most=100)}; "
                "set them as GRACE_<NAME> in the environment"
            ) from error
