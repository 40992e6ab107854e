"""What code-gen does when a task needs an approach or a round opens, and when somebody wants code examined."""

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace

import orjson
from grace_common.contract.errors import Refused, Unready
from grace_common.contract.events.base import Event
from grace_common.contract.events.candidate import (
    ApproachProposed,
    CandidateEvaluated,
    CandidateGenerated,
    CandidatesGenerated,
    EvaluationCompleted,
    GenerationFailed,
    Row,
)
from grace_common.contract.events.round import ApproachRequested, RoundOpened
from grace_common.contract.events.task import CancellationRequested, EvaluationRequested
from grace_common.contract.events.task import Specification as Requested
from grace_common.runtime.operation import operation
from grace_common.runtime.router import EventRouter, Work

from grace_code_gen.domain import approach
from grace_code_gen.domain.draft import MAX_CODE, Brief, Draft
from grace_code_gen.domain.report import EvaluationReport
from grace_code_gen.domain.specification import Example, Specification
from grace_code_gen.ports import Evaluation, Generator, Ports

router: EventRouter[Ports] = EventRouter("code-gen")


@router.on(ApproachRequested, emits=(ApproachProposed, GenerationFailed))
async def propose(event: ApproachRequested, ports: Ports) -> Sequence[Event]:
    """Say how the task would be done, or what is missing for it."""
    try:
        brief = _brief(event.specification, ports)
    except Refused as error:
        return [GenerationFailed(task_id=event.task_id, reason=str(error))]
    names = tuple(generator.name for generator in ports.generators if generator.suits(brief))
    return [
        ApproachProposed(
            task_id=event.task_id,
            approach=approach.describe(brief, names, event.lessons),
            entry_point=brief.specification.entry_point,
            signature=brief.specification.signature or "",
            generators=names,
        )
    ]


@router.on(
    RoundOpened,
    emits=(CandidateGenerated, CandidateEvaluated, CandidatesGenerated, GenerationFailed),
    outside=True,
)
async def run_round(event: RoundOpened, ports: Ports, work: Work) -> Sequence[Event]:
    """Generate candidates, examine each in the sandbox, and hand the evidence to the consensus."""
    rounds = asyncio.create_task(_round(event, ports, work))
    with ports.running.registered(event.task_id, rounds.cancel):
        try:
            return await rounds
        except asyncio.CancelledError:
            current = asyncio.current_task()
            if current is not None and current.cancelling():
                raise  # the service stops: the round is handed back
            work.note(cancelled=True)
            return []  # the task was cancelled: nobody waits for an answer
        finally:
            rounds.cancel()


@router.on(CancellationRequested)
async def stop(event: CancellationRequested, ports: Ports, work: Work) -> None:
    """Stop working on a task that is no longer wanted."""
    work.note(was_running=ports.running.stop(event.task_id))


@router.on(EvaluationRequested, emits=(EvaluationCompleted,), outside=True)
async def examine(event: EvaluationRequested, ports: Ports) -> Sequence[Event]:
    """Examine one piece of code as a candidate would be."""
    requested = event.specification
    entry_point = requested.entry_point or approach.entry_point_of(event.code)
    if entry_point is None:
        raise Refused("the code defines no function at its top level; name one as `entry_point`")
    specification = Specification(
        requirements=requested.requirements,
        entry_point=entry_point,
        language=requested.language,
        signature=requested.signature,
        examples=tuple(Example(tuple(one.args), one.expected) for one in requested.examples),
        tests=requested.tests,
    )
    [report] = (await ports.workbench.evaluate(specification, [event.code])).reports
    return [
        EvaluationCompleted(
            evaluation_id=event.evaluation_id,
            quality_score=report.quality_score,
            passed=report.passed,
            failed=report.failed,
            report_sha256=_report_sha256(report),
            report=report.model_dump(mode="json"),
        )
    ]


def _brief(requested: Requested, ports: Ports) -> Brief:
    """Return what the generators are told; Refused when none of them could do anything with it."""
    brief = approach.brief_of(requested, ports.catalogue, models=any(one.repairs for one in ports.generators))
    if not any(generator.suits(brief) for generator in ports.generators):
        raise Refused(
            f"no generator has anything to go by for {brief.specification.entry_point!r}: "
            "add examples, or configure a model"
        )
    return brief


async def _round(event: RoundOpened, ports: Ports, work: Work) -> Sequence[Event]:
    try:
        brief = replace(
            _brief(event.specification, ports),
            approach=event.approach,
            guidance=event.guidance,
            lessons=event.lessons,
            evidence=event.findings,
        )
    except Refused as error:
        return [GenerationFailed(task_id=event.task_id, round_id=event.round_id, reason=str(error))]
    generators = [one for one in ports.generators if one.suits(brief)]
    notes: list[str] = []
    drafts: dict[str, Draft] = {}
    started = time.perf_counter()
    await _gather(event, brief, generators, drafts, notes, work)
    if not drafts:
        reason = "; ".join(notes) + "; add examples, or configure a model"
        return [GenerationFailed(task_id=event.task_id, round_id=event.round_id, reason=reason)]
    tests = [test for one in generators for test in await _tests(one, brief, notes)]
    generated_s = time.perf_counter() - started
    evaluated = await _evaluate(event, brief, drafts, tests, ports, work)
    for _ in range(ports.repair_rounds):
        again = [one for one in generators if one.repairs]
        if not again or any(report.failed == 0 for report in evaluated.reports):
            break
        known = len(drafts)
        await _gather(event, replace(brief, evidence=_evidence(evaluated)), again, drafts, notes, work)
        if len(drafts) == known:
            break
        evaluated = await _evaluate(event, brief, drafts, tests, ports, work)
    work.note(candidates=len(drafts), generators=", ".join(one.name for one in generators))
    ordered = list(drafts.values())
    rows = tuple(
        Row(
            candidate_id=draft.candidate_id(event.round_id),
            generator=draft.generator,
            code_sha256=draft.sha256,
            quality_score=report.quality_score,
            report_sha256=_report_sha256(report),
            cost=draft.cost,
            outputs=outputs,
        )
        for draft, report, outputs in zip(ordered, evaluated.reports, evaluated.matrix.rows, strict=True)
    )
    return [
        CandidatesGenerated(
            task_id=event.task_id,
            round_id=event.round_id,
            entry_point=brief.specification.entry_point,
            probes=evaluated.matrix.probes,
            rows=rows,
            minimum_confidence=event.minimum_confidence,
            notes=tuple(notes),
            generation_s=round(generated_s, 3),
            evaluation_s=round(time.perf_counter() - started - generated_s, 3),
        )
    ]


@operation("codegen.generate", outside=True)
async def _gather(
    event: RoundOpened,
    brief: Brief,
    generators: Sequence[Generator],
    drafts: dict[str, Draft],
    notes: list[str],
    work: Work,
) -> None:
    """Collect drafts of all generators side by side, each stated as soon as it exists; the same code counts once."""

    async def drain(generator: Generator) -> None:
        found = 0
        try:
            async for draft in _bounded(generator.generate(brief, event.candidates), event.candidates):
                found += 1
                if len(draft.code) > MAX_CODE:
                    notes.append(f"{generator.name}: a candidate of {len(draft.code)} characters was left out")
                elif draft.sha256 not in drafts:
                    drafts[draft.sha256] = draft
                    await work.state(_generated(event, draft, len(drafts) - 1))
        except (Unready, Refused) as error:
            notes.append(f"{generator.name}: {error}")
        else:
            if not found:
                notes.append(f"{generator.name}: no program within the budget satisfies the examples")

    async with asyncio.TaskGroup() as group:
        for generator in generators:
            group.create_task(drain(generator))


@operation("codegen.evaluate", outside=True)
async def _evaluate(
    event: RoundOpened, brief: Brief, drafts: dict[str, Draft], tests: Sequence[str], ports: Ports, work: Work
) -> Evaluation:
    """Examine every draft; each report is stated as soon as it exists."""
    ordered = list(drafts.values())

    async def report_ready(number: int, report: EvaluationReport) -> None:
        draft = ordered[number]
        await work.state(
            CandidateEvaluated(
                task_id=event.task_id,
                round_id=event.round_id,
                candidate_id=draft.candidate_id(event.round_id),
                generator=draft.generator,
                code_sha256=draft.sha256,
                report_sha256=_report_sha256(report),
                quality_score=report.quality_score,
                passed=report.passed,
                failed=report.failed,
                report=report.model_dump(mode="json"),
            )
        )

    return await ports.workbench.evaluate(
        brief.specification, [draft.code for draft in ordered], report_ready, generated_tests=tests
    )


async def _bounded(drafts: AsyncIterator[Draft], most: int) -> AsyncIterator[Draft]:
    count = 0
    async for draft in drafts:
        yield draft
        count += 1
        if count == most:
            return


async def _tests(generator: Generator, brief: Brief, notes: list[str]) -> Sequence[str]:
    try:
        return await generator.tests(brief)
    except (Unready, Refused) as error:
        notes.append(f"{generator.name}: {error}")
        return []


def _generated(event: RoundOpened, draft: Draft, ordinal: int) -> CandidateGenerated:
    return CandidateGenerated(
        task_id=event.task_id,
        round_id=event.round_id,
        candidate_id=draft.candidate_id(event.round_id),
        ordinal=ordinal,
        generator=draft.generator,
        code=draft.code,
        code_sha256=draft.sha256,
    )


def _evidence(evaluated: Evaluation) -> tuple[str, ...]:
    """Return in words how candidates failed, at most ten, for another try."""
    asked = {probe.id: probe.label for probe in evaluated.matrix.probes}
    failures = [
        f"{asked.get(result.probe, result.probe)}: {result.verdict} {result.shown}"
        for report in evaluated.reports
        for result in report.results
        if result.kind in ("example", "test") and result.verdict != "passed"
    ]
    return tuple(dict.fromkeys(failures))[:10]


def _report_sha256(report: EvaluationReport) -> str:
    """Return the digest of a report: over sorted compact JSON."""
    return hashlib.sha256(orjson.dumps(report.model_dump(mode="json"), option=orjson.OPT_SORT_KEYS)).hexdigest()
