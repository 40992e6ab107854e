"""Whole rounds in one process: generators, sandbox, evidence, consensus; no broker and no database.

    python services/code-gen/benchmarks/rounds.py --tasks DIR [--candidates 40] [--every 5] [--with both] [--keep DIR]

DIR holds dev.json (tasks with examples and a hidden check) and recorded.json (a model's completions and tests). The
check decides only what the table calls right: it is run in the sandbox after the decision, and nothing else reads it.
Rounds are held with recorded candidates, with synthesised ones, and with both competing (`--with` chooses). Those
kept in a folder are not held again but decided again: what a change of the consensus is worth takes seconds.
"""

import argparse
import asyncio
import json
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID, uuid5

from grace_code_gen.adapters.recorded import RecordedGenerator
from grace_code_gen.adapters.sandbox import Sandbox, SandboxSettings
from grace_code_gen.adapters.synthesis import SynthesisGenerator
from grace_code_gen.adapters.synthesis_worker import SynthesisPool
from grace_code_gen.adapters.workbench import OpenWorkbench
from grace_code_gen.domain.known_concepts import KnownConcepts
from grace_code_gen.domain.requester_tests import suite
from grace_code_gen.handlers import run_round
from grace_code_gen.ports import Generator, Ports
from grace_common.contract.events.base import Event
from grace_common.contract.events.candidate import CandidateGenerated, CandidatesGenerated
from grace_common.contract.events.decision import DecisionReached
from grace_common.contract.events.round import RoundOpened
from grace_common.contract.events.task import Specification
from grace_common.runtime.operation import Operation
from grace_common.runtime.router import Work
from grace_common.runtime.seal import Signer
from grace_common.testing.events import NOON, TASK, enveloped
from grace_consensus.handlers import decide

UNREACHED = "the tests ended before this step"
SLOTS = 1
UIDS = 61_800


@dataclass(frozen=True)
class Listening(Work):
    """Work that keeps what is stated at once."""

    stated: list[Event] = field(default_factory=list)

    async def state(self, *events: Event) -> None:
        self.stated.extend(events)


@dataclass(frozen=True)
class Outcome:
    """One round: how right its candidates and its decision are.

    random, viable  share of right candidates among all, and among those that pass what was given
    leading         whether the candidate the consensus leans to is right; None when there is none
    """

    name: str
    candidates: int
    random: float
    viable: float
    oracle: bool
    leading: bool | None
    confidence: float
    chosen: bool
    generation_s: float
    evaluation_s: float
    decision_ms: float
    winner: str
    reasons: str


def specification(task: dict[str, Any]) -> Specification:
    known = {name: task[name] for name in ("requirements", "language", "entry_point", "signature", "examples")}
    return Specification.model_validate(known)


def listening(event: RoundOpened) -> Listening:
    envelope = enveloped(event)
    operation = Operation(
        id=uuid5(envelope.id, "benchmark"),
        name="benchmark",
        service="code-gen",
        actor="benchmark",
        subject=str(TASK),
        correlation=str(TASK),
        why=RoundOpened.TYPE,
        started_at=NOON,
        cause=envelope.id,
    )
    return Listening(envelope, operation, Signer("benchmark", "benchmark"))


async def right(sandbox: Sandbox, task: dict[str, Any], codes: Sequence[str]) -> dict[str, bool]:
    """Return, for each code, whether it passes the task's own hidden check."""
    verdicts: dict[str, bool] = {}
    async with sandbox.session([suite(task["check"]).source]) as session:
        for code in codes:
            run = await session.run(code, task["entry_point"], [])
            passed = bool(run.suites[0]) and all(step.verdict == "passed" for step in run.suites[0])
            verdicts[code] = passed and run.unreached[0] == UNREACHED
    return verdicts


@dataclass(frozen=True)
class Held:
    """A round that was held: its evidence, and by their ids which candidates are right; or why there is no evidence."""

    evidence: CandidatesGenerated | None
    right: dict[str, bool]
    reason: str = ""

    def to_json(self) -> str:
        evidence = None if self.evidence is None else self.evidence.model_dump(mode="json")
        return json.dumps({"evidence": evidence, "right": self.right, "reason": self.reason})

    @classmethod
    def from_json(cls, text: str) -> "Held":
        kept = json.loads(text)
        evidence = None if kept["evidence"] is None else CandidatesGenerated.model_validate(kept["evidence"])
        return cls(evidence, kept["right"], kept["reason"])


async def hold(task: dict[str, Any], ports: Ports, sandbox: Sandbox, candidates: int) -> Held:
    """Hold one round, then look which of its candidates are right."""
    event = RoundOpened(
        task_id=TASK,
        round_id=uuid5(TASK, task["id"]),
        number=1,
        specification=specification(task),
        approach="benchmark",
        candidates=candidates,
    )
    work = listening(event)
    [answer] = await run_round(event, ports, work) or ()
    if not isinstance(answer, CandidatesGenerated):
        return Held(None, {}, getattr(answer, "reason", ""))
    codes = {str(one.candidate_id): one.code for one in work.stated if isinstance(one, CandidateGenerated)}
    verdicts = await right(sandbox, task, list(codes.values()))
    return Held(answer, {name: verdicts[code] for name, code in codes.items()})


async def judged(name: str, held: Held) -> Outcome:
    """Return how right the consensus is about a round."""
    answer = held.evidence
    if answer is None:
        return Outcome(name, 0, 0, 0, False, None, 0, False, 0, 0, 0, "-", held.reason[:100])
    decided = time.perf_counter()
    [decision] = await decide(answer, None) or ()
    assert isinstance(decision, DecisionReached)
    decision_ms = (time.perf_counter() - decided) * 1000
    binding = [at for at, probe in enumerate(answer.probes) if probe.expected is not None]
    passing = [row for row in answer.rows if all(row.outputs[at] == 0 for at in binding)]
    leading = leader(decision)
    by_id = {row.candidate_id: row for row in answer.rows}
    return Outcome(
        name=name,
        candidates=len(answer.rows),
        random=sum(held.right.values()) / len(held.right),
        viable=sum(held.right[str(row.candidate_id)] for row in passing) / max(1, len(passing)),
        oracle=any(held.right.values()),
        leading=None if leading is None else held.right[str(leading)],
        confidence=decision.confidence,
        chosen=decision.verdict == "chosen",
        generation_s=answer.generation_s,
        evaluation_s=answer.evaluation_s,
        decision_ms=decision_ms,
        winner="-" if leading is None else by_id[leading].generator,
        reasons="; ".join((*decision.reasons[:1], *answer.notes[:1]))[:100],
    )


def leader(decision: DecisionReached) -> UUID | None:
    """Return the candidate the consensus leans to, whether or not it is sure enough to choose it."""
    if decision.winner_id is not None:
        return decision.winner_id
    return UUID(decision.clusters[0].members[0]) if decision.clusters else None


def summary(title: str, outcomes: Sequence[Outcome]) -> str:
    """Return one row of the table."""
    count = len(outcomes)
    chosen = [one for one in outcomes if one.chosen]
    brier = sum((one.confidence - bool(one.leading)) ** 2 for one in outcomes) / count
    generation, evaluation = (
        sorted(seconds)[count // 2]
        for seconds in ([one.generation_s for one in outcomes], [one.evaluation_s for one in outcomes])
    )
    return (
        f"| {title} | {count} | {sum(one.candidates for one in outcomes) / count:.1f} "
        f"| {sum(one.random for one in outcomes) / count:.3f} | {sum(one.viable for one in outcomes) / count:.3f} "
        f"| {sum(one.leading is True for one in outcomes) / count:.3f} "
        f"| {sum(one.oracle for one in outcomes) / count:.3f} "
        f"| {sum(one.leading is True for one in chosen)} of {len(chosen)} | {brier:.3f} "
        f"| {generation:.1f} | {evaluation:.1f} |"
    )


HEAD = (
    "| candidates | tasks | a task | random | random of viable | consensus | oracle | right of chosen | Brier "
    "| generation s | evaluation s |\n" + "|---" * 11 + "|"
)


async def measure(arguments: argparse.Namespace) -> None:
    every = json.loads((arguments.tasks / "dev.json").read_text(encoding="utf-8"))["tasks"]
    tasks = [task for task in every[:: arguments.every] if not arguments.only or task["entry_point"] in arguments.only]
    recorded = RecordedGenerator.load(arguments.tasks / "recorded.json")
    synthesis = SynthesisGenerator(SynthesisPool(1), cpu_seconds=arguments.cpu_seconds, patience_s=arguments.patience)
    choices: dict[str, list[Generator]] = {
        "recorded": [recorded],
        "synthesis": [synthesis],
        "both": [synthesis, recorded],
    }
    settings = SandboxSettings(slots=SLOTS, uid_base=UIDS)
    workbench = OpenWorkbench(settings)
    bench = asyncio.create_task(workbench.run())
    rows = []
    try:
        async with Sandbox(SandboxSettings(slots=SLOTS, uid_base=UIDS + SLOTS, cpu_s=3, total_cpu_s=10)) as sandbox:
            for title in arguments.held_with or choices:
                ports = Ports(choices[title], workbench, KnownConcepts())
                outcomes = []
                for task in tasks:
                    path = arguments.keep and arguments.keep / f"{title}-{arguments.candidates}-{task['id']}.json"
                    if path and path.exists():
                        held = Held.from_json(path.read_text(encoding="utf-8"))
                    else:
                        held = await hold(task, ports, sandbox, arguments.candidates)
                    if path:
                        path.write_text(held.to_json(), encoding="utf-8")
                    outcome = await judged(task["entry_point"], held)
                    outcomes.append(outcome)
                    verdict = {True: "right", False: "wrong", None: "none"}[outcome.leading]
                    print(
                        f"{title:9} {outcome.name:28} {verdict:5} {outcome.confidence:.2f} "
                        f"{'chosen' if outcome.chosen else 'abstained':9} {outcome.winner:9} "
                        f"{outcome.candidates:2} candidates, {outcome.random:.2f} right "
                        f"{outcome.generation_s:6.1f} s {outcome.evaluation_s:6.1f} s {outcome.decision_ms:5.0f} ms "
                        f"{outcome.reasons}",
                        flush=True,
                    )
                rows.append(summary(title, outcomes))
    finally:
        bench.cancel()
        await asyncio.gather(bench, return_exceptions=True)
    print("\n".join((HEAD, *rows)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", type=Path, required=True, help="folder with dev.json and recorded.json")
    parser.add_argument("--candidates", type=int, default=8, help="a round and generator")
    parser.add_argument("--every", type=int, default=1, help="take every n-th task")
    parser.add_argument("--only", action="append", default=[], help="entry point of a task to take")
    parser.add_argument("--with", dest="held_with", action="append", choices=["recorded", "synthesis", "both"])
    parser.add_argument("--cpu-seconds", type=float, default=20, help="of one synthesis")
    parser.add_argument("--patience", type=float, default=4, help="seconds for alternatives after the first program")
    parser.add_argument("--keep", type=Path, help="existing folder for the rounds' evidence")
    os.nice(10)
    asyncio.run(measure(parser.parse_args()))


if __name__ == "__main__":
    main()
