"""What code-gen states in a round: candidates, evidence, repairs, and why there are none."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import orjson
import pytest
from grace_code_gen.domain.draft import Brief
from grace_code_gen.domain.fitting import MOST_CANDIDATES
from grace_common.contract.approval import report_sha256
from grace_common.contract.envelope import MAX_ENVELOPE_BYTES, encode, open
from grace_common.contract.errors import Refused, Unready
from grace_common.contract.events.candidate import (
    CandidateEvaluated,
    CandidateGenerated,
    CandidatesGenerated,
    GenerationFailed,
)
from grace_common.contract.events.task import Example as StatedExample
from grace_common.testing.events import NOON, enveloped

from .fakes import (
    ALSO_RIGHT,
    BROKEN,
    DOUBLE,
    RIGHT,
    ROUND,
    WRONG,
    Judged,
    Judges,
    Writes,
    held,
    opened,
    operation_of,
    ports,
)


async def test_generators_work_side_by_side_and_the_same_code_counts_once() -> None:
    synthesis, model = Writes("synthesis", [RIGHT, WRONG]), Writes("openai:qwen", [ALSO_RIGHT, RIGHT], prose=True)

    answer, work = await held(opened(minimum_confidence=0.7), ports(synthesis, model))

    assert isinstance(answer, CandidatesGenerated)
    assert (answer.round_id, answer.entry_point, answer.minimum_confidence) == (ROUND, "double", 0.7)
    generated = work.of(CandidateGenerated)
    assert {event.code for event in generated} == {RIGHT, WRONG, ALSO_RIGHT}
    assert sorted(event.ordinal for event in generated) == [0, 1, 2]
    assert [row.candidate_id for row in answer.rows] == [event.candidate_id for event in generated]
    assert {event.generator for event in generated} == {"synthesis", "openai:qwen"}
    assert [event.authorship.strategy.name for event in generated if event.authorship] == ["side-by-side"] * 3
    assert len(work.of(CandidateEvaluated)) == 3
    assert answer.notes == ()


async def test_the_generators_hear_what_people_said_and_what_was_wrong_before() -> None:
    model = Writes("openai:qwen", repaired=[RIGHT], prose=True)

    await held(opened(guidance=("add",), lessons=("iterate",), findings=("double(0) failed",)), ports(model))

    (brief,) = model.briefs
    assert (brief.guidance, brief.lessons, brief.evidence) == (("add",), ("iterate",), ("double(0) failed",))


async def test_reports_and_rows_carry_the_digest_that_orchestrator_and_gateway_compute() -> None:
    answer, work = await held(opened(), ports(Writes("synthesis", [RIGHT, WRONG])))

    for row, event in zip(answer.rows, work.of(CandidateEvaluated), strict=True):
        received = open(encode(enveloped(event))).event
        assert isinstance(received, CandidateEvaluated)
        assert report_sha256(received.report) == received.report_sha256 == row.report_sha256
        assert orjson.loads(orjson.dumps(received.report)) == event.report
    assert [(event.passed, event.failed) for event in work.of(CandidateEvaluated)] == [(2, 0), (0, 2)]


async def test_a_round_done_again_states_the_same_facts_under_the_same_ids() -> None:
    cause = enveloped(opened()).id

    async def ids(*generators: Writes) -> set[UUID]:
        answer, work = await held(opened(), ports(*generators))
        operation = operation_of(cause)
        return {operation.envelope(event, NOON).id for event in (*work.stated, answer)}

    once = await ids(Writes("synthesis", [RIGHT, WRONG]), Writes("recorded", [ALSO_RIGHT]))
    again = await ids(Writes("recorded", [ALSO_RIGHT]), Writes("synthesis", [RIGHT, WRONG]))

    assert once == again
    assert len(once) == 7


async def test_a_generator_that_fails_leaves_a_note_and_the_others_work() -> None:
    down = Writes("openai:qwen", [WRONG], prose=True, fails=Unready("the model server does not answer"))
    nonsense = Writes("recorded", fails=Refused("no such recording"))
    barren = Writes("anthropic:haiku", prose=True)

    answer, _ = await held(opened(), ports(Writes("synthesis", [RIGHT]), down, nonsense, barren))

    assert {row.generator for row in answer.rows} == {"synthesis", "openai:qwen"}
    assert set(answer.notes) == {
        "openai:qwen: the model server does not answer",
        "recorded: no such recording",
        "anthropic:haiku: found no program for this task",
    }


async def test_tests_that_generators_wrote_reach_the_workbench_and_their_failure_is_noted() -> None:
    class Silent(Writes):
        async def tests(self, brief: Brief) -> Sequence[str]:
            raise Unready("no answer in time")

    workbench = Judges()
    generators = Writes("recorded", [RIGHT], asserts=["assert double(4) == 8"]), Silent("openai:qwen", [RIGHT])

    answer, _ = await held(opened(), ports(*generators, workbench=workbench))

    assert workbench.heard[0][2] == ("assert double(4) == 8",)
    assert answer.notes == ("openai:qwen: no answer in time",)


async def test_when_every_candidate_fails_models_are_shown_how_and_try_again() -> None:
    synthesis = Writes("synthesis", [BROKEN])
    model = Writes("openai:qwen", [WRONG], prose=True, repaired=[RIGHT])
    workbench = Judges()

    answer, work = await held(opened(), ports(synthesis, model, workbench=workbench))

    assert [event.code for event in work.of(CandidateGenerated)] == [BROKEN, WRONG, RIGHT]
    assert len(synthesis.briefs) == 1
    evidence = model.briefs[1].evidence
    assert f"double(2,) gave {'9' * 200}, expected 4" in evidence
    assert "the code does not parse" in evidence
    assert [len(codes) for _, codes, _ in workbench.heard] == [2, 3]
    assert len(answer.rows) == 3
    assert [row.report_sha256 for row in answer.rows] == [
        event.report_sha256 for event in work.of(CandidateEvaluated)[-3:]
    ]


async def test_repair_ends_when_something_passes_nothing_new_comes_or_the_setting_says_so() -> None:
    passes = Writes("openai:qwen", [RIGHT], prose=True, repaired=[ALSO_RIGHT])
    repeats = Writes("openai:qwen", [WRONG], prose=True, repaired=[WRONG])
    forbidden = Writes("openai:qwen", [WRONG], prose=True, repaired=[RIGHT])

    await held(opened(), ports(passes, repair_rounds=3))
    answer, _ = await held(opened(), ports(repeats, repair_rounds=3))
    await held(opened(), ports(forbidden, repair_rounds=0))

    assert [len(one.briefs) for one in (passes, repeats, forbidden)] == [1, 2, 1]
    assert len(answer.rows) == 1


async def test_a_round_without_any_candidate_fails_with_what_each_generator_said_and_what_helps() -> None:
    generators = Writes("synthesis"), Writes("openai:qwen", prose=True, fails=Unready("check GRACE_OPENAI_BASE_URL"))

    failed, work = await held(opened(), ports(*generators))

    assert isinstance(failed, GenerationFailed)
    assert failed.round_id == ROUND
    assert "synthesis: found no program for this task" in failed.reason
    assert "check GRACE_OPENAI_BASE_URL" in failed.reason
    assert "more or other examples" in failed.reason
    assert work.stated == []


async def test_a_round_whose_tests_cannot_be_run_fails_instead_of_hanging() -> None:
    asked = DOUBLE.model_copy(update={"tests": "assert double(("})

    failed, _ = await held(opened(asked), ports(Writes("synthesis", [RIGHT])))
    late, _ = await held(opened(), ports(Writes("synthesis", [RIGHT]), workbench=Judges(fails=Refused("no Python"))))

    assert isinstance(failed, GenerationFailed)
    assert "the tests are no Python (line 1)" in failed.reason
    assert (type(late), late.reason) == (GenerationFailed, "no Python")


async def test_a_missing_sandbox_is_the_deliverys_to_wait_for() -> None:
    with pytest.raises(Unready, match="no bwrap"):
        await held(opened(), ports(Writes("synthesis", [RIGHT]), workbench=Judges(fails=Unready("no bwrap"))))


async def test_code_too_large_for_an_envelope_is_left_out_with_a_note() -> None:
    long = f"def double(n):\n    return '{'x' * 16_000}'\n"
    wide = "def double(n):\n    return '" + "\N{CJK UNIFIED IDEOGRAPH-4E00}" * 12_000 + "'\n"
    just = f"def double(n):\n    return '{'x' * 15_000}'\n"

    answer, work = await held(opened(), ports(Writes("openai:qwen", [long, wide, just], prose=True)))

    assert [event.code for event in work.of(CandidateGenerated)] == [just]
    assert answer.notes == (
        f"openai:qwen: left out a candidate of {len(long)} characters: too large",
        f"openai:qwen: left out a candidate of {len(wide)} characters: too large",
    )


async def test_a_round_never_takes_more_than_was_asked_for_nor_more_than_an_envelope_holds() -> None:
    many = [f"def double(n):\n    return n * {number}\n" for number in range(200)]

    few, _ = await held(opened(candidates=3), ports(Writes("synthesis", many)))
    most, _ = await held(
        opened(candidates=40), ports(*(Writes(f"model-{at}", many[at * 40 :], prose=True) for at in range(3)))
    )

    assert len(few.rows) == 3
    assert len(most.rows) == MOST_CANDIDATES
    assert {row.generator for row in most.rows} == {"model-0", "model-1", "model-2"}


async def test_a_generator_that_has_given_enough_is_closed_before_its_candidates_are_examined() -> None:
    class Watches(Judges):
        closed: int = 0

        async def evaluate(self, *args: Any, **kwargs: Any) -> Judged:
            self.closed = generous.closed
            return await super().evaluate(*args, **kwargs)

    generous, workbench = Writes("synthesis", [RIGHT, WRONG, ALSO_RIGHT]), Watches()

    await held(opened(candidates=2), ports(generous, workbench=workbench))

    assert workbench.closed == 1


async def test_a_round_of_forty_candidates_on_all_probes_fits_its_envelopes() -> None:
    examples = tuple(StatedExample(args=(number,), expected=2 * number) for number in range(50))
    codes = [
        f"def double(n):\n    if n < {number}:\n        return n\n    return 2 * n\n" + "# \N{SNOWMAN}\n" * 400
        for number in range(40)
    ]
    asserts = [
        f"assert double({number}) == {2 * number}  # as far as a model can tell, and it is sure" for number in range(40)
    ]
    asked = DOUBLE.model_copy(update={"examples": examples})
    generators = Writes("openai:an-organisation/a-model-of-a-rather-long-name", codes, asserts=asserts, prose=True)
    notes = [
        Writes(f"model-{at}", prose=True, fails=Unready("the model server does not answer " * 40)) for at in range(2)
    ]

    answer, work = await held(
        opened(asked, candidates=40), ports(generators, *notes, workbench=Judges(right=codes[:20]), repair_rounds=0)
    )

    assert len(answer.rows) == 16  # three generators share the room
    alone, more = await held(opened(asked, candidates=40), ports(generators, workbench=Judges(right=codes[:20])))
    assert len(alone.rows) == 40
    for event in (answer, alone, *work.stated, *more.stated):
        assert len(encode(enveloped(event))) <= MAX_ENVELOPE_BYTES
    assert sum(probe.kind == "example" for probe in alone.probes) == 50
    assert all(len(row.outputs) == len(alone.probes) for row in alone.rows)
