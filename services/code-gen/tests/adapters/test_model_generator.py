"""Candidates from a model, whoever serves it."""

import asyncio
from contextlib import aclosing
from dataclasses import dataclass, field
from hashlib import sha256

import pytest
from grace_code_gen.adapters.model_generator import ModelGenerator
from grace_code_gen.domain.draft import Brief
from grace_code_gen.domain.prompt import SYSTEM
from grace_code_gen.domain.specification import Specification
from grace_common.contract.errors import Unready
from grace_common.contract.events.candidate import Strategy

DOUBLE = Brief(Specification("Double a number", "double"))
CODE = "def double(n):\n    return 2 * n\n"


@dataclass
class Answers:
    """A chat model that gives its answers in turn; an exception among them is raised, None is waited for in vain."""

    answers: list[str | Exception | None]
    name: str = "openai:fake"
    model: str = "fake"
    asked: list[tuple[str, float]] = field(default_factory=list)
    now: int = 0
    most: int = 0

    async def complete(self, system: str, message: str, temperature: float) -> str:
        self.asked.append((message, temperature))
        answer = self.answers.pop(0)
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            await (asyncio.Event().wait() if answer is None else asyncio.sleep(0))
        finally:
            self.now -= 1
        if isinstance(answer, Exception):
            raise answer
        assert answer is not None
        return answer


async def test_answers_with_code_become_drafts_and_a_few_requests_run_at_a_time() -> None:
    model = Answers([CODE, "Sorry, I cannot.", *[CODE] * 8])

    drafts = [draft async for draft in ModelGenerator(model, temperature=0.7).generate(DOUBLE, 10)]

    assert [draft.code for draft in drafts] == [CODE] * 9
    assert model.most == 4
    assert {temperature for _, temperature in model.asked} == {0.7}


async def test_a_draft_says_which_model_wrote_it_and_by_digest_what_it_was_told() -> None:
    model = Answers([CODE])

    [draft] = [draft async for draft in ModelGenerator(model, temperature=0.7).generate(DOUBLE, 1)]

    authorship = draft.authorship
    assert (authorship.model, authorship.strategy) == ("fake", Strategy(name="side-by-side", version=1))
    told = [SYSTEM, model.asked[0][0]]
    assert [prompt.sha256 for prompt in authorship.prompts] == [sha256(text.encode()).hexdigest() for text in told]
    assert [prompt.role for prompt in authorship.prompts] == ["system", "user"]
    assert "Double" not in authorship.model_dump_json()


async def test_some_failures_are_outweighed_by_answers() -> None:
    generator = ModelGenerator(Answers([Unready("busy"), CODE, Unready("busy")]), temperature=0.7)

    assert [draft.code async for draft in generator.generate(DOUBLE, 3)] == [CODE]


async def test_a_server_that_answers_nothing_is_not_ready() -> None:
    generator = ModelGenerator(Answers([Unready("check the setting")] * 2), temperature=0.7)

    with pytest.raises(Unready, match="check the setting"):
        _ = [draft async for draft in generator.generate(DOUBLE, 2)]


async def test_leaving_early_ends_the_requests_under_way() -> None:
    model = Answers([CODE, None, None])

    async with aclosing(ModelGenerator(model, temperature=0.7).generate(DOUBLE, 3)) as drafts:
        assert (await anext(drafts)).code == CODE

    assert model.now == 0


async def test_a_model_writes_tests_coolly() -> None:
    model = Answers(["```python\nassert double(2) == 4\nassert other(1)\n```"])
    generator = ModelGenerator(model, temperature=0.7)

    assert await generator.tests(DOUBLE) == ["assert double(2) == 4"]
    assert generator.suits(DOUBLE)
    assert model.asked[0][1] == 0.2
