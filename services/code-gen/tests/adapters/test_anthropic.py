"""The Anthropic adapter: the real client against a server on loopback that speaks the Messages API."""

from typing import Any

import pytest
from grace_code_gen.adapters.anthropic import AnthropicModel
from grace_code_gen.adapters.model_generator import ModelGenerator
from grace_code_gen.domain.draft import Brief
from grace_code_gen.domain.specification import Specification
from grace_common.contract.errors import Refused, Unready

DOUBLE = Brief(Specification("Double a number", "double"))


def model(base_url: str, max_tokens: int | None = None) -> AnthropicModel:
    return AnthropicModel(
        base_url=base_url, api_key="sk-ant-secret", model="claude", timeout_s=30, max_tokens=max_tokens
    )


def message(*blocks: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "claude",
        "content": list(blocks),
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {"input_tokens": 1, "output_tokens": 1},
    }


def text(words: str) -> dict[str, Any]:
    return {"type": "text", "text": words}


async def test_answers_become_drafts(answering: Any) -> None:
    code = text("```python\ndef double(n):\n    return 2 * n\n```")
    async with answering((200, message({"type": "thinking", "thinking": "hm", "signature": "x"}, code))) as server:
        generator = ModelGenerator(model(server.url), temperature=0.8)
        drafts = [draft async for draft in generator.generate(DOUBLE, 2)]

    assert [(draft.code, draft.generator) for draft in drafts] == [
        ("def double(n):\n    return 2 * n\n", "anthropic:claude")
    ] * 2
    path, headers, body = server.asked[0]
    assert path == "/v1/messages"
    assert headers["authorization"] == "Bearer sk-ant-secret"
    assert (body["model"], body["max_tokens"]) == ("claude", 4096)
    assert body["system"].startswith("You write one correct")
    assert body["messages"][0]["content"].startswith("Task:\nDouble a number")
    assert "temperature" not in body


async def test_the_bound_on_tokens_can_be_set(answering: Any) -> None:
    async with answering((200, message(text("yes")))) as server:
        assert await model(server.url, max_tokens=7).complete("s", "m", 0.8) == "yes"

    assert server.asked[0][2]["max_tokens"] == 7


@pytest.mark.parametrize(
    ("status", "body", "reason"),
    [
        (404, {"type": "error", "error": {"type": "not_found_error", "message": "model: x"}}, "GRACE_ANTHROPIC_MODEL"),
        (401, {"type": "error", "error": {"message": "sk-ant-secret is invalid"}}, "check GRACE_ANTHROPIC_API_KEY$"),
        (529, {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}, "status 529"),
        (200, "<html>Log in</html>", "no completion; check that GRACE_ANTHROPIC_BASE_URL"),
        (200, {"hello": "world"}, "no completion; check that GRACE_ANTHROPIC_BASE_URL"),
        (200, '{"half": ', "no completion; check that GRACE_ANTHROPIC_BASE_URL"),
    ],
)
async def test_an_error_says_which_setting_to_check_and_never_repeats_the_key(
    answering: Any, status: int, body: Any, reason: str
) -> None:
    async with answering((status, body)) as server:
        with pytest.raises(Unready, match=reason) as raised:
            await model(server.url).complete("", "Hello", 0.8)

    assert "sk-ant-secret" not in str(raised.value)


async def test_a_server_that_is_not_there_is_not_ready() -> None:
    with pytest.raises(Unready, match="GRACE_ANTHROPIC_BASE_URL"):
        await model("http://127.0.0.1:9").complete("", "Hello", 0.8)


def test_a_base_url_that_is_none_is_refused_at_start() -> None:
    with pytest.raises(Refused, match="GRACE_ANTHROPIC_BASE_URL is no URL"):
        model("http://[")
