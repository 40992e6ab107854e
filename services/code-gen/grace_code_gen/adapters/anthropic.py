"""Anthropic's Messages API, which takes no temperature: its models vary their answers by themselves."""

from typing import Final

from anthropic import APIConnectionError, APIStatusError, AsyncAnthropic
from grace_common.contract.errors import Unready

_MOST_TOKENS: Final = 4096  # of one answer: many times the longest function worth delivering


class AnthropicModel:
    """Implements `ChatModel`."""

    def __init__(self, *, base_url: str | None, api_key: str, model: str, timeout_s: float) -> None:
        self.name = f"anthropic:{model}"
        self._model = model
        self._client = AsyncAnthropic(base_url=base_url, api_key=api_key, timeout=timeout_s, max_retries=2)

    async def complete(self, system: str, message: str, temperature: float) -> str:
        try:
            answer = await self._client.messages.create(
                model=self._model,
                max_tokens=_MOST_TOKENS,
                system=system,
                messages=[{"role": "user", "content": message}],
            )
        except APIConnectionError as error:
            raise Unready(f"Anthropic does not answer ({type(error).__name__}); check the network") from error
        except APIStatusError as error:
            raise Unready(
                f"Anthropic answered with status {error.status_code}; "
                "check GRACE_ANTHROPIC_MODEL and GRACE_ANTHROPIC_API_KEY"
            ) from error
        return "".join(block.text for block in answer.content if block.type == "text")
