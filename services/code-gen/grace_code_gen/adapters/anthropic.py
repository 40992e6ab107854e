"""Anthropic's Messages API, which takes no temperature: its models vary their answers by themselves."""

from typing import Final

from anthropic import APIConnectionError, APIError, APIStatusError, AsyncAnthropic
from anthropic.types import Message

from grace_code_gen.adapters.model_errors import not_reached, not_understood, refused, require_url

_MOST_TOKENS: Final = 4096  # of one answer: many times the longest function worth delivering
_SERVER: Final = "Anthropic"
_URL: Final = "GRACE_ANTHROPIC_BASE_URL"


class AnthropicModel:
    """Implements `ChatModel`. `base_url` None is Anthropic's own."""

    def __init__(
        self, *, base_url: str | None, api_key: str, model: str, timeout_s: float, max_tokens: int | None = None
    ) -> None:
        self.name = f"anthropic:{model}"
        self.model = model
        self._max_tokens = max_tokens or _MOST_TOKENS
        if base_url is not None:
            require_url(base_url, _URL)
        self._client = AsyncAnthropic(base_url=base_url, api_key=api_key, timeout=timeout_s, max_retries=2)

    async def complete(self, system: str, message: str, temperature: float) -> str:
        try:
            answer: object = await self._client.messages.create(
                model=self.model,
                max_tokens=self._max_tokens,
                system=system,
                messages=[{"role": "user", "content": message}],
            )
        except APIConnectionError as error:
            raise not_reached(_SERVER, error, _URL) from error
        except APIStatusError as error:
            raise refused(
                _SERVER,
                error.status_code,
                url=_URL,
                key="GRACE_ANTHROPIC_API_KEY",
                model="GRACE_ANTHROPIC_MODEL",
            ) from error
        except (APIError, ValueError) as error:
            raise not_understood(_SERVER, _URL) from error
        if not isinstance(answer, Message) or not isinstance(answer.content, list):
            raise not_understood(_SERVER, _URL)
        return "".join(block.text for block in answer.content if block.type == "text")
