"""What code-gen is told beyond what every service is."""

from pathlib import Path

from grace_common.runtime.settings import Settings as RuntimeSettings
from pydantic import Field, SecretStr


class Settings(RuntimeSettings):
    """A generator is used when its settings are there; the synthesis needs none.

    openai_base_url        an OpenAI-compatible server: OpenAI, Ollama, vLLM, llama.cpp (…/v1)
    recorded_completions   a file of recorded raw completions, replayed by entry point
    synthesis_cpu_s        CPU seconds of one synthesis
    synthesis_workers      synthesis processes at a time
    synthesis_patience_s   seconds to look for alternatives after the first program
    model_timeout_s        of one request to a model
    model_max_tokens       of one answer of a model; unset: what its server allows
    repair_rounds          how often models are shown how all candidates failed, and asked again
    """

    synthesis_cpu_s: float = Field(default=20.0, gt=0)
    synthesis_memory_mib: int = Field(default=1536, ge=256)
    synthesis_workers: int = Field(default=2, ge=1)
    synthesis_patience_s: float = Field(default=4.0, gt=0)
    openai_base_url: str | None = None
    openai_api_key: SecretStr | None = None
    openai_model: str | None = None
    anthropic_base_url: str | None = None
    anthropic_api_key: SecretStr | None = None
    anthropic_model: str | None = None
    model_timeout_s: float = Field(default=120.0, gt=0)
    model_max_tokens: int | None = Field(default=None, ge=1)
    model_temperature: float = Field(default=0.8, ge=0, le=2)
    recorded_completions: Path | None = None
    repair_rounds: int = Field(default=1, ge=0, le=5)
    sandbox_memory_mib: int = Field(default=256, ge=64)
    sandbox_cpu_s: float = Field(default=1.0, gt=0)
    sandbox_slots: int = Field(default=2, ge=1)
    sandbox_uid_base: int = 61_000
    bubblewrap: str = "bwrap"
