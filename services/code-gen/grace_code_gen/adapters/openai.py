"""Any server that speaks OpenAI's chat protocol: OpenAI, Ollama, vLLM, llama.cpp."""

from typing import Final

from openai import APIConnectionError, APIError, APIStatusError, AsyncOpenAI, omit
from openai.types.chat import ChatCompletion

from grace_code_gen.adapters.model_errors import not_reached, not_understood, refused, require_url

_SERVER: Final = "the model server"
_URL: Final = "GRACE_OPENAI_BASE_URL"


class OpenAIModel:
    """Implements `ChatModel`.

    api_key     None: the server asks for none
    max_tokens  of one answer; None leaves it to the server
    """

    def __init__(
        self, *, base_url: str, api_key: str | None, model: str, timeout_s: float, max_tokens: int | None = None
    ) -> None:
        self.name = f"openai:{model}"
        self.model = model
        self._max_tokens = max_tokens
        require_url(base_url, _URL)
        # The client insists on a key; servers on one's own machine mostly do not.
        self._client = AsyncOpenAI(base_url=base_url, api_key=api_key or "none", timeout=timeout_s, max_retries=2)

    async def complete(self, system: str, message: str, temperature: float) -> str:
        try:
            answer: object = await self._client.chat.completions.create(
                model=self.model,
                temperature=temperature,
                max_tokens=self._max_tokens if self._max_tokens is not None else omit,
                messages=[{"role": "system", "content": system}, {"role": "user", "content": message}],
            )
        except APIConnectionError as error:
            raise not_reached(_SERVER, error, _URL) from error
        except APIStatusError as error:
            raise refused(
                _SERVER,
                error.status_code,
                url=_URL,
                key="GRACE_OPENAI_API_KEY",
                model="GRACE_OPENAI_MODEL",
            ) from error
        except (APIError, ValueError) as error:
            raise not_understood(_SERVER, _URL) from error
        # The client hands on whatever came with status 200: a proxy's login page, another API's object.
        if not isinstance(answer, ChatCompletion) or not isinstance(answer.choices, list):
            raise not_understood(_SERVER, _URL)
        return (answer.choices[0].message.content or "") if answer.choices else ""
