"""The composition root: reads the settings, chooses the generators, mounts the router."""

from grace_common.contract.errors import Refused
from grace_common.runtime.database import Database
from grace_common.runtime.service import Service

from grace_code_gen.adapters.model_generator import ModelGenerator
from grace_code_gen.adapters.recorded import RecordedGenerator
from grace_code_gen.adapters.sandbox import SandboxSettings
from grace_code_gen.adapters.synthesis import SynthesisGenerator
from grace_code_gen.adapters.synthesis_worker import SynthesisPool
from grace_code_gen.adapters.workbench import OpenWorkbench
from grace_code_gen.domain.known_concepts import KnownConcepts
from grace_code_gen.handlers import endings, router
from grace_code_gen.ports import Generator, Ports
from grace_code_gen.settings import Settings


def build(settings: Settings | None = None) -> Service:
    """Return code-gen, ready to run; Refused when a setting cannot serve."""
    settings = settings or Settings.load()
    workbench = OpenWorkbench(
        SandboxSettings(
            cpu_s=settings.sandbox_cpu_s,
            memory_mib=settings.sandbox_memory_mib,
            slots=settings.sandbox_slots,
            uid_base=settings.sandbox_uid_base,
            bubblewrap=settings.bubblewrap,
        )
    )
    return Service(
        settings,
        Database(settings.database_url.get_secret_value(), pool_size=settings.database_pool),
        Ports(
            generators=generators(settings),
            workbench=workbench,
            catalogue=KnownConcepts(),
            repair_rounds=settings.repair_rounds,
        ),
        routers=[router, endings(settings.instance)],
        background=[workbench.run],
        checks={"sandbox": workbench.check},
    )


def generators(settings: Settings) -> list[Generator]:
    """Return every generator that is configured; the synthesis always is."""
    chosen: list[Generator] = [
        SynthesisGenerator(
            SynthesisPool(settings.synthesis_workers, memory_bytes=settings.synthesis_memory_mib * 1024 * 1024),
            cpu_seconds=settings.synthesis_cpu_s,
            patience_s=settings.synthesis_patience_s,
        )
    ]
    if settings.recorded_completions is not None:
        chosen.append(RecordedGenerator.load(settings.recorded_completions))
    if settings.openai_base_url is not None:
        if settings.openai_model is None:
            raise Refused("GRACE_OPENAI_BASE_URL is set, but GRACE_OPENAI_MODEL is not: name the model to ask for")
        from grace_code_gen.adapters.openai import OpenAIModel  # slow to import, and seldom needed

        key = settings.openai_api_key.get_secret_value() if settings.openai_api_key else None
        chosen.append(
            ModelGenerator(
                OpenAIModel(
                    base_url=settings.openai_base_url,
                    api_key=key,
                    model=settings.openai_model,
                    timeout_s=settings.model_timeout_s,
                    max_tokens=settings.model_max_tokens,
                ),
                temperature=settings.model_temperature,
            )
        )
    if settings.anthropic_api_key is not None:
        if settings.anthropic_model is None:
            raise Refused("GRACE_ANTHROPIC_API_KEY is set, but GRACE_ANTHROPIC_MODEL is not: name the model to ask for")
        from grace_code_gen.adapters.anthropic import AnthropicModel  # slow to import, and seldom needed

        chosen.append(
            ModelGenerator(
                AnthropicModel(
                    base_url=settings.anthropic_base_url,
                    api_key=settings.anthropic_api_key.get_secret_value(),
                    model=settings.anthropic_model,
                    timeout_s=settings.model_timeout_s,
                    max_tokens=settings.model_max_tokens,
                ),
                temperature=settings.model_temperature,
            )
        )
    return chosen
