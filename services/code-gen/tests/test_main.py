"""Which generators a set of settings chooses."""

import json
from pathlib import Path
from typing import Any

import pytest
from grace_code_gen.main import build, generators
from grace_code_gen.settings import Settings
from grace_common.contract.errors import Refused


def settings(**changes: Any) -> Settings:
    here = Path("nowhere")
    return Settings(
        service="code-gen",
        kafka_bootstrap="127.0.0.1:9092",
        database_url="postgresql://code_gen:secret@127.0.0.1/grace",
        identity_dir=here,
        state_dir=here,
        publication_dir=here,
        schemas_dir=here,
        http_port=0,
        **changes,
    )


def test_the_synthesis_needs_no_setting_and_every_other_generator_its_own(tmp_path: Path) -> None:
    recorded = tmp_path / "recorded.json"
    recorded.write_text(json.dumps({"tasks": []}))
    models = {
        "openai_base_url": "http://127.0.0.1:11434/v1",
        "openai_model": "qwen3",
        "openai_api_key": "secret",
        "anthropic_api_key": "secret",
        "anthropic_model": "claude",
        "recorded_completions": recorded,
        "model_max_tokens": 100,
    }

    assert [one.name for one in generators(settings())] == ["synthesis"]
    chosen = generators(settings(**models))
    assert [one.name for one in chosen] == ["synthesis", "recorded", "openai:qwen3", "anthropic:claude"]
    assert [one.prose for one in chosen] == [False, False, True, True]


@pytest.mark.parametrize(
    ("given", "missing"),
    [
        ({"openai_base_url": "http://127.0.0.1:11434/v1"}, "GRACE_OPENAI_MODEL is not"),
        ({"anthropic_api_key": "secret"}, "GRACE_ANTHROPIC_MODEL is not"),
    ],
)
def test_a_model_that_is_not_named_is_asked_for(given: dict[str, str], missing: str) -> None:
    with pytest.raises(Refused, match=missing):
        generators(settings(**given))


async def test_the_service_hears_rounds_and_endings_and_is_not_ready_without_its_sandbox() -> None:
    service = build(settings(instance="7"))

    assert [router.group_id for router in service.routers] == ["code-gen", "code-gen.endings-7"]
    assert set(service.checks) == {"sandbox"}
    assert len(service.background) == 1
    await service.database.close()
