"""What code-gen does when a task needs an approach or a round opens, and when somebody wants code examined."""

import asyncio
import time
from collections.abc import Coroutine, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Any

from grace_common.contract.approval import report_sha256
from grace_common.contract.envelope import Envelope
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
    Row,
)
from grace_common.contract.events.round import ApproachRequested, RoundOpened, TaskCancelled, TaskFailed
from grace_common.contract.events.task import EvaluationRequested
from grace_common.contract.events.task import Specification as Requested
from grace_common.runtime.operation import operation
from grace_common.runtime.router import EventRouter, Work

from grace_code_gen.domain import approach
from grace_code_gen.domain.draft import Brief, Draft
from grace_code_gen.domain.fitting import MOST_CANDIDATES, fitted, noted
from grace_code_gen.domain.report import EvaluationReport
from grace_code_gen.domain.shortcomings import satisfies, shortcomings
from grace_code_gen.ports import Evaluation, Generator, Ports

router: EventRouter[Ports] = EventRouter("code-gen")


def endings(instance: str) -> EventRouter[Ports]:
    """Return the routes by which every instance hears of every task's end, whoever works on it.

    A group of its own: a round keeps its partition busy, and the end of its task comes through the same partition.
    """
    heard: EventRouter[Ports] = EventRouter("code-gen", group=f"endings-{instance}")
    heard.batch(TaskCancelled, TaskFailed)(stop)
    return heard


@router.on(ApproachRequested, emits=(ApproachProposed, GenerationFailed))
async def propose(event: ApproachRequested, ports: Ports) -> Sequence[Event]:
    """Say how the task would be done, or what is missing for it."""
    try:
        brief, suited = _brief(event.specification, ports)
    except Refused as error:
        return [GenerationFailed(task_id=event.task_id, reason=str(error))]
    names = tuple(generator.name for generator in suited)
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
    if ports.running.ended(event.task_id):
        work.note(ended=True)
        return []  # nobody waits for an answer
    running = asyncio.create_task(_work_on(event, ports, work))
    with ports.running.registered(event.task_id, running.cancel):
        try:
            return await running
        except asyncio.CancelledError:
            current = asyncio.current_task()
            if current is not None and current.cancelling():
                raise  # the service stops: the round is handed back
            work.note(ended=True)
            return []


async def stop(envelopes: Sequence[Envelope], ports: Ports) -> None:
    """Stop working on tasks that are over."""
    for envelope in envelopes:
        if isinstance(envelope.event, TaskCancelled | TaskFailed):
            ports.running.end(envelope.event.task_id)


@router.on(EvaluationRequested, emits=(EvaluationCompleted, EvaluationFailed), outside=True)
async def examine(event: EvaluationRequested, ports: Ports) -> Sequence[Event]:
    """Examine one piece of code as a candidate would be; what cannot be examined is answered with why."""
    try:
        specification = approach.examined(event.specification, event.code)
        [report] = (await ports.workbench.evaluate(specification, [event.code])).reports
    except Refused as error:
        return [EvaluationFailed(evaluation_id=event.evaluation_id, reason=str(error))]
    stated = report.model_dump(mode="json")
    return [
        EvaluationCompleted(
            evaluation_id=event.evaluation_id,
            quality_score=report.quality_score,
            passed=report.passed,
            failed=report.failed,
            report_sha256=report_sha256(stated),
            report=stated,
        )
    ]


def _brief(requested: Requested, ports: Ports) -> tuple[Brief, list[Generator]]:
    """Return what the generators are told, and those that can go by it; Refused when none can."""
    brief = approach.brief_of(requested, ports.catalogue, models=any(one.prose for one in ports.generators))
    suited = [generator for generator in ports.generators if generator.suits(brief)]
    if not suited:
        raise Refused(
            f"no generator has anything to go by for {brief.specification.entry_point!r}: {approach.HOW_TO_BE_MET}"
        )
    return brief, suited


async def _work_on(event: RoundOpened, ports: Ports, work: Work) -> Sequence[Event]:
    try:
        brief, suited = _brief(event.specification, ports)
        brief = replace(
            brief,
            approach=event.approach,
            guidance=event.guidance,
            lessons=event.lessons,
            evidence=event.findings,
        )
        return [await _Round(event, brief, suited, ports, work).run()]
    except Refused as error:
        return [GenerationFailed(task_id=event.task_id, round_id=event.round_id, reason=str(error))]


@dataclass
class _Round:
    """One round while it runs: the drafts so far by the digest of their code, tests that generators wrote, notes."""

    event: RoundOpened
    brief: Brief
    generators: Sequence[Generator]
    ports: Ports
    work: Work
    drafts: dict[str, Draft] = field(default_factory=dict)
    asserts: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    async def run(self) -> CandidatesGenerated:
        """Return the round's evidence; Refused, saying what to add, when nothing was generated."""
        started = time.perf_counter()
        await self._generate(self.generators, self.brief)
        generation_s = time.perf_counter() - started
        if not self.drafts:
            raise Refused("; ".join((*noted(self.notes), "more or other examples, or another model, may help")))
        evaluated = await self._evaluate()
        models = [one for one in self.generators if one.prose]
        for _ in range(self.ports.repair_rounds if models else 0):
            if any(satisfies(report) for report in evaluated.reports):
                break
            known = len(self.drafts)
            failures = shortcomings(self.brief.specification, evaluated.matrix.probes, evaluated.reports)
            again_from = time.perf_counter()
            await self._generate(models, replace(self.brief, evidence=(*self.brief.evidence, *failures)), again=True)
            generation_s += time.perf_counter() - again_from
            if len(self.drafts) == known:
                break
            evaluated = await self._evaluate()
        self.work.note(candidates=len(self.drafts), generators=", ".join(one.name for one in self.generators))
        return fitted(
            CandidatesGenerated(
                task_id=self.event.task_id,
                round_id=self.event.round_id,
                entry_point=self.brief.specification.entry_point,
                probes=evaluated.matrix.probes,
                rows=self._rows(evaluated),
                minimum_confidence=self.event.minimum_confidence,
                notes=tuple(self.notes),
                generation_s=round(generation_s, 3),
                evaluation_s=round(time.perf_counter() - started - generation_s, 3),
            )
        )

    @operation("codegen.generate", outside=True)
    async def _generate(self, generators: Sequence[Generator], brief: Brief, again: bool = False) -> None:
        """Collect what all generators make side by side; each draft is stated as soon as it exists."""
        wanted = min(self.event.candidates, max(1, (MOST_CANDIDATES - len(self.drafts)) // len(generators)))
        tests = [] if again else [self._collect_tests(one, brief) for one in generators]
        await _side_by_side([*(self._collect(one, brief, wanted) for one in generators), *tests])

    async def _collect(self, generator: Generator, brief: Brief, wanted: int) -> None:
        """Take at most `wanted` drafts of one generator; code that is there already counts once."""
        found = 0
        try:
            async with aclosing(generator.generate(brief, wanted)) as drafts:
                async for draft in drafts:
                    await self._take(draft)
                    found += 1
                    if found == wanted:
                        break
        except (Unready, Refused) as error:
            self.notes.append(f"{generator.name}: {error}")
        else:
            if not found and brief is self.brief:  # in a repair there is something already
                self.notes.append(f"{generator.name}: found no program for this task")

    async def _take(self, draft: Draft) -> None:
        if not draft.fits:
            self.notes.append(f"{draft.generator}: left out a candidate of {len(draft.code)} characters: too large")
        elif draft.sha256 not in self.drafts and len(self.drafts) < MOST_CANDIDATES:
            self.drafts[draft.sha256] = draft
            await self.work.state(
                CandidateGenerated(
                    task_id=self.event.task_id,
                    round_id=self.event.round_id,
                    candidate_id=draft.candidate_id(self.event.round_id),
                    ordinal=len(self.drafts) - 1,
                    generator=draft.generator,
                    code=draft.code,
                    code_sha256=draft.sha256,
                    authorship=draft.authorship,
                )
            )

    async def _collect_tests(self, generator: Generator, brief: Brief) -> None:
        try:
            self.asserts.extend(await generator.tests(brief))
        except (Unready, Refused) as error:
            self.notes.append(f"{generator.name}: {error}")

    @operation("codegen.evaluate", outside=True)
    async def _evaluate(self) -> Evaluation:
        """Examine every draft; each report is stated as soon as it exists."""
        drafts = list(self.drafts.values())

        async def state(number: int, report: EvaluationReport) -> None:
            draft, stated = drafts[number], report.model_dump(mode="json")
            await self.work.state(
                CandidateEvaluated(
                    task_id=self.event.task_id,
                    round_id=self.event.round_id,
                    candidate_id=draft.candidate_id(self.event.round_id),
                    generator=draft.generator,
                    code_sha256=draft.sha256,
                    report_sha256=report_sha256(stated),
                    quality_score=report.quality_score,
                    passed=report.passed,
                    failed=report.failed,
                    report=stated,
                )
            )

        return await self.ports.workbench.evaluate(
            self.brief.specification, [draft.code for draft in drafts], state, generated_tests=self.asserts
        )

    def _rows(self, evaluated: Evaluation) -> tuple[Row, ...]:
        return tuple(
            Row(
                candidate_id=draft.candidate_id(self.event.round_id),
                generator=draft.generator,
                code_sha256=draft.sha256,
                quality_score=report.quality_score,
                report_sha256=report_sha256(report.model_dump(mode="json")),
                cost=draft.cost,
                outputs=outputs,
            )
            for draft, report, outputs in zip(
                self.drafts.values(), evaluated.reports, evaluated.matrix.rows, strict=True
            )
        )


async def _side_by_side(works: Sequence[Coroutine[Any, Any, None]]) -> None:
    """Do all of it at once; when one fails, stop the others and raise its error as it is.

    Not a TaskGroup: its ExceptionGroup would hide from the runtime that the database is out.
    """
    tasks = [asyncio.create_task(work) for work in works]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
