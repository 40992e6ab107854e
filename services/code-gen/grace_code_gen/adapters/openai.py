"""Any server that speaks OpenAI's chat protocol: OpenAI, Ollama, vLLM, llama.cpp."""

from grace_common.contract.errors import Unready
from openai import APIConnectionError, APIStatusError, AsyncOpenAI


class OpenAIModel:
    """Implements `ChatModel`."""

    def __init__(self, *, base_url: str, api_key: str | None, model: str, timeout_s: float) -> None:
        self.name = f"openai:{model}"
        self._model = model
        # The client insists on a key; servers on one's own machine mostly do not.
        self._client = AsyncOpenAI(base_url=base_url, api_key=api_key or "none", timeout=timeout_s, max_retries=2)

    async def complete(self, system: str, message: str, temperature: float) -> str:
        try:
            answer = await self._client.chat.completions.create(
                model=self._model,
                temperature=temperature,
                messages=[{"role": "system", "content": system}, {"role": "user", "content": message}],
            )
        except APIConnectionError as error:
            raise Unready(
                f"the model server does not answer ({type(error).__name__}); check that GRACE_OPENAI_BASE_URL names it"
            ) from error
        except APIStatusError as error:
            raise Unready(
                f"the model server answered with status {error.status_code}; "
                "check GRACE_OPENAI_MODEL and GRACE_OPENAI_API_KEY"
            ) from error
        return (answer.choices[0].message.content or "") if answer.choices else ""
