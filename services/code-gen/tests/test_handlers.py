"""What code-gen states when it hears requests and rounds; generators and workbench are fakes."""

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid5

import orjson
import pytest
from grace_code_gen.domain import probes
from grace_code_gen.domain.approach import Concept
from grace_code_gen.domain.candidate import ExecutionMatrix, Question, execution_matrix
from grace_code_gen.domain.draft import Brief, Draft
from grace_code_gen.domain.fitting import MOST_CANDIDATES
from grace_code_gen.domain.report import Check, EvaluationReport, Finding, Limits, ProbeResult, fitted
from grace_code_gen.domain.running import Running
from grace_code_gen.domain.specification import Example, Specification
from grace_code_gen.handlers import endings, examine, propose, router, run_round, stop
from grace_code_gen.ports import Ports
from grace_common.contract.approval import report_sha256
from grace_common.contract.envelope import MAX_ENVELOPE_BYTES, encode, open
from grace_common.contract.errors import Refused, Unready
from grace_common.contract.events.base import Event
from grace_common.contract.events.candidate import (
    ApproachProposed,
    CandidateEvaluated,
    CandidateGenerated,
    CandidatesGenerated,
    EvaluationCompleted,
    EvaluationFailed,
    GenerationFailed,
)
from grace_common.contract.events.round import ApproachRequested, RoundOpened, TaskCancelled, TaskFailed
from grace_common.contract.events.task import EvaluationRequested
from grace_common.contract.events.task import Example as StatedExample
from grace_common.contract.events.task import Specification as Requested
from grace_common.runtime.operation import Operation
from grace_common.runtime.router import Work
from grace_common.runtime.seal import Signer
from grace_common.testing.events import NOON, TASK, enveloped

ROUND = UUID("019ac000-0000-7000-8000-000000000002")
RIGHT = "def double(n):\n    return 2 * n\n"
ALSO_RIGHT = "def double(n):\n    return n + n\n"
WRONG = "def double(n):\n    return n * n\n"
BROKEN = "def double(n:\n"
DOUBLE = Requested(
    requirements="Double a number",
    entry_point="double",
    signature="def double(n: int) -> int:",
    examples=(StatedExample(args=(2,), expected=4), StatedExample(args=(3,), expected=6)),
)
PROSE = Requested(requirements="Frobnicate the widgets", entry_point="frobnicate")
SQUARE = Concept(
    "square", "square", "def square(n: int) -> int:", "Return n squared.", (Example((2,), 4), Example((3,), 9))
)


@dataclass(frozen=True)
class Listening(Work):
    """Work that keeps what is stated at once."""

    stated: list[Event] = field(default_factory=list)

    async def state(self, *events: Event) -> None:
        await asyncio.sleep(0)  # others get a turn, as they do while a transaction commits
        self.stated.extend(events)

    def of(self, kind: type[Event]) -> list[Any]:
        return [event for event in self.stated if isinstance(event, kind)]


@dataclass
class Writes:
    """A generator that writes what it is told to; asked again with evidence it writes `repaired`."""

    name: str
    codes: Sequence[str] = ()
    prose: bool = False
    asserts: Sequence[str] = ()
    repaired: Sequence[str] = ()
    fails: Exception | None = None
    briefs: list[Brief] = field(default_factory=list)
    closed: int = 0

    def suits(self, brief: Brief) -> bool:
        return self.prose or bool(brief.specification.examples)

    async def generate(self, brief: Brief, wanted: int) -> AsyncGenerator[Draft, None]:
        self.briefs.append(brief)
        try:
            for rank, code in enumerate(self.repaired if brief.evidence else self.codes):
                await asyncio.sleep(0)
                yield Draft(code, self.name, float(rank))
            if self.fails is not None:
                raise self.fails
        finally:
            for _ in range(10):  # a process takes its time to end
                await asyncio.sleep(0)
            self.closed += 1

    async def tests(self, brief: Brief) -> Sequence[str]:
        return self.asserts


@dataclass
class Stuck(Writes):
    """A generator that never comes to an end by itself."""

    begun: asyncio.Event = field(default_factory=asyncio.Event)

    async def generate(self, brief: Brief, wanted: int) -> AsyncGenerator[Draft, None]:
        self.briefs.append(brief)
        try:
            yield Draft(RIGHT, self.name, 0.0)
            self.begun.set()
            await asyncio.Event().wait()
        finally:
            self.closed += 1


@dataclass
class Judges:
    """A workbench that knows which codes are right, and puts as many generated probes as the real one."""

    right: Sequence[str] = (RIGHT, ALSO_RIGHT)
    cpu_ms: float = 0.1
    fails: Exception | None = None
    heard: list[tuple[Specification, tuple[str, ...], tuple[str, ...]]] = field(default_factory=list)

    async def evaluate(
        self,
        specification: Specification,
        candidates: Sequence[str],
        on_report: Callable[[int, EvaluationReport], Awaitable[None]] | None = None,
        generated_tests: Sequence[str] = (),
    ) -> "Judged":
        self.heard.append((specification, tuple(candidates), tuple(generated_tests)))
        if self.fails is not None:
            raise self.fails
        questions = [
            Question(f"e{at}", "example", f"{specification.entry_point}{one.args!r}")
            for at, one in enumerate(specification.examples)
        ]
        questions += [Question(f"g{at}", "generated", f"generated input {at} " * 8) for at in range(probes.GENERATED)]
        questions += [Question(f"m{at}", "generated-test", text) for at, text in enumerate(generated_tests)]
        reports, results = [], []
        for number, code in enumerate(candidates):
            report = self._report(specification, code, questions)
            reports.append(fitted(report))
            results.append(report.results)
            if on_report is not None:
                await on_report(number, reports[-1])
        return Judged(tuple(reports), execution_matrix(questions, results))

    def _report(self, specification: Specification, code: str, questions: Sequence[Question]) -> EvaluationReport:
        parses = code != BROKEN
        results = [
            ProbeResult(
                probe=one.id,
                kind=one.kind,
                verdict="observed" if one.kind == "generated" else "passed" if code in self.right else "failed",
                digest=None if one.kind == "generated-test" else Draft(code, "", 0).sha256[:16],
                shown="9" * 200,
                cpu_ms=self.cpu_ms,
            )
            for one in questions
            if parses
        ]
        message = "a finding of the usual length, which says what is wrong with this line and why"
        return EvaluationReport(
            code_sha256=Draft(code, "", 0).sha256,
            entry_point=specification.entry_point,
            checks=(
                Check(name="parses", verdict="passed" if parses else "failed", note="" if parses else "does not parse"),
            ),
            results=tuple(results),
            findings=tuple(
                Finding(tool="ruff", rule="E999", severity="low", line=at, message=message) for at in range(50)
            ),
            quality_score=0.9 if code in self.right else 0.2,
            limits=Limits(cpu_s=1, total_cpu_s=3, wall_s=10, memory_mib=256),
            tools={"ruff": "0.14"},
        )


@dataclass(frozen=True)
class Judged:
    reports: tuple[EvaluationReport, ...]
    matrix: ExecutionMatrix


class Knows:
    """A catalogue of one concept."""

    def find(self, requirements: str, entry_point: str | None) -> Concept | None:
        return SQUARE if "square" in f"{requirements} {entry_point}" else None


def ports(*generators: Writes, workbench: Judges | None = None, repair_rounds: int = 1) -> Ports:
    return Ports(generators, workbench or Judges(), Knows(), repair_rounds)


def opened(specification: Requested = DOUBLE, **changes: object) -> RoundOpened:
    event = RoundOpened(task_id=TASK, round_id=ROUND, number=1, specification=specification, approach="as agreed")
    return event.model_copy(update=changes)


def listening(event: RoundOpened) -> Listening:
    envelope = enveloped(event)
    return Listening(envelope, operation_of(envelope.id), Signer("mtl-orchestrator", "ab", ()))


def operation_of(cause: UUID) -> Operation:
    return Operation(
        id=uuid5(cause, "code-gen.run_round"),
        name="code-gen.run_round",
        service="code-gen",
        actor="ada",
        subject=str(TASK),
        correlation=str(TASK),
        why=RoundOpened.TYPE,
        started_at=NOON,
        cause=cause,
    )


async def held(event: RoundOpened, given: Ports) -> tuple[Any, Listening]:
    work = listening(event)
    (answer,) = await run_round(event, given, work)
    return answer, work


async def test_an_approach_names_the_function_what_it_goes_by_and_who_writes() -> None:
    event = ApproachRequested(task_id=TASK, specification=DOUBLE, lessons=("double: add it to itself",))

    (proposed,) = await propose(event, ports(Writes("synthesis"), Writes("openai:qwen", prose=True)))

    assert isinstance(proposed, ApproachProposed)
    assert (proposed.entry_point, proposed.signature) == ("double", "def double(n: int) -> int:")
    assert proposed.generators == ("synthesis", "openai:qwen")
    assert "`def double(n: int) -> int` from 2 examples, with synthesis, openai:qwen" in proposed.approach
    assert "double: add it to itself" in proposed.approach


async def test_a_known_concept_needs_no_examples_and_the_approach_says_whose_are_used() -> None:
    asked = Requested(requirements="Create a function that returns the square")

    (proposed,) = await propose(ApproachRequested(task_id=TASK, specification=asked), ports(Writes("synthesis")))

    assert (proposed.entry_point, proposed.signature) == ("square", "def square(n: int) -> int:")
    assert "known concept “square”" in proposed.approach
    assert "square(2) == 4" in proposed.approach


async def test_prose_alone_suffices_when_a_model_is_there() -> None:
    event = ApproachRequested(task_id=TASK, specification=PROSE)

    (proposed,) = await propose(event, ports(Writes("synthesis"), Writes("openai:qwen", prose=True)))

    assert proposed.generators == ("openai:qwen",)
    assert "from the text alone" in proposed.approach


async def test_without_examples_concept_or_model_the_answer_says_how_to_add_one() -> None:
    event = ApproachRequested(task_id=TASK, specification=PROSE)

    (failed,) = await propose(event, ports(Writes("synthesis")))

    assert isinstance(failed, GenerationFailed)
    assert failed.round_id is None
    for named in ("'frobnicate'", '"examples": [{"args"', "GRACE_OPENAI_BASE_URL", "GRACE_ANTHROPIC_API_KEY"):
        assert named in failed.reason


async def test_a_task_that_no_generator_suits_fails_with_what_to_add() -> None:
    (failed,) = await propose(ApproachRequested(task_id=TASK, specification=DOUBLE), ports())

    assert "no generator has anything to go by for 'double'" in failed.reason


async def test_a_language_that_cannot_be_evaluated_fails_with_those_that_can() -> None:
    asked = DOUBLE.model_copy(update={"language": "haskell"})

    (proposed,) = await propose(ApproachRequested(task_id=TASK, specification=asked), ports(Writes("synthesis")))
    opened_all_the_same, _ = await held(opened(asked), ports(Writes("synthesis", [RIGHT])))

    for failed in (proposed, opened_all_the_same):
        assert isinstance(failed, GenerationFailed)
        assert "'haskell' cannot be evaluated yet; these can: python" in failed.reason


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


@pytest.mark.parametrize("ended", [TaskCancelled(task_id=TASK, by="ada"), TaskFailed.example()])
async def test_a_round_stops_when_its_task_is_over(ended: Event) -> None:
    stuck, event = Stuck("synthesis"), opened()
    given = ports(stuck)
    running = asyncio.create_task(run_round(event, given, listening(event)))
    await stuck.begun.wait()

    await stop([enveloped(ended.model_copy(update={"task_id": UUID(int=7)})), enveloped(event)], given)
    assert not running.done()
    await stop([enveloped(ended)], given)

    assert await running == []
    assert stuck.closed == 1


async def test_a_round_of_a_task_that_is_over_is_not_begun() -> None:
    stuck, event = Stuck("synthesis"), opened()
    given = ports(stuck)
    await stop([enveloped(TaskCancelled(task_id=TASK, by="ada"))], given)

    assert await run_round(event, given, listening(event)) == []
    assert stuck.briefs == []


async def test_a_stopping_service_hands_the_round_back() -> None:
    stuck, event = Stuck("synthesis"), opened()
    given = ports(stuck)
    running = asyncio.create_task(run_round(event, given, listening(event)))
    await stuck.begun.wait()

    running.cancel()

    with pytest.raises(asyncio.CancelledError):
        await running
    assert stuck.closed == 1
    assert not given.running.ended(TASK)


async def test_a_lost_database_stops_the_round_and_shows_as_what_it_is() -> None:
    class Lost(Listening):
        async def state(self, *events: Event) -> None:
            raise ConnectionRefusedError("5432")

    stuck, event = Stuck("openai:qwen", prose=True), opened()
    work = listening(event)

    with pytest.raises(ConnectionRefusedError):  # and not a group of it: the delivery would take that for a bug
        await run_round(
            event, ports(stuck, Writes("synthesis", [RIGHT])), Lost(work.envelope, work.operation, work.signer)
        )
    assert stuck.closed == 1


async def test_code_is_examined_on_request_by_its_own_definition() -> None:
    workbench = Judges()
    event = EvaluationRequested(
        evaluation_id=TASK,
        requester="ada",
        specification=Requested(requirements="Double", examples=DOUBLE.examples),
        code="import math\n\n\ndef double(n: int) -> int:\n    return 2 * n\n",
    )

    (completed,) = await examine(event, ports(workbench=workbench))

    assert isinstance(completed, EvaluationCompleted)
    asked, codes, _ = workbench.heard[0]
    assert (asked.entry_point, asked.signature, codes) == ("double", "def double(n: int) -> int:", (event.code,))
    assert asked.examples == (Example((2,), 4), Example((3,), 6))
    assert completed.report_sha256 == report_sha256(json.loads(json.dumps(completed.report)))
    assert len(encode(enveloped(completed))) <= MAX_ENVELOPE_BYTES


@pytest.mark.parametrize(
    ("asked", "code", "reason"),
    [
        (Requested(requirements="Print"), "print(1)", "defines no function"),
        (Requested(requirements="Print", language="cobol"), "DISPLAY 1", "these can: python"),
        (Requested(requirements="Print", signature="def ("), "def f(): pass", "no Python function header"),
    ],
)
async def test_what_cannot_be_examined_is_answered_with_why(asked: Requested, code: str, reason: str) -> None:
    event = EvaluationRequested(evaluation_id=TASK, requester="ada", specification=asked, code=code)

    (failed,) = await examine(event, ports())

    assert isinstance(failed, EvaluationFailed)
    assert failed.evaluation_id == TASK
    assert reason in failed.reason


async def test_tests_that_only_the_sandbox_knows_to_be_too_many_are_answered_with_why() -> None:
    workbench = Judges(fails=Refused("the tests have 61 asserts; at most 60 are run"))

    (failed,) = await examine(EvaluationRequested.example(), ports(workbench=workbench))

    assert failed == EvaluationFailed(
        evaluation_id=EvaluationRequested.example().evaluation_id,
        reason="the tests have 61 asserts; at most 60 are run",
    )


async def test_an_evaluation_waits_for_a_missing_sandbox_as_a_round_does() -> None:
    with pytest.raises(Unready):
        await examine(EvaluationRequested.example(), ports(workbench=Judges(fails=Unready("bubblewrap is missing"))))


def test_only_so_many_endings_are_remembered() -> None:
    running: Running[int] = Running()
    for key in range(10_001):
        running.end(key)

    assert not running.ended(0)
    assert running.ended(10_000)


def test_rounds_and_endings_are_heard_in_groups_of_their_own() -> None:
    heard = endings("b")

    assert (router.group_id, heard.group_id) == ("code-gen", "code-gen.endings-b")
    assert set(heard.routes) == {TaskCancelled, TaskFailed}
    assert {event.__name__ for event in router.routes} == {"ApproachRequested", "RoundOpened", "EvaluationRequested"}
    stated = {event.TOPIC.noun for route in router.routes.values() for event in route.emits}
    assert stated == {"candidate"}
