"""How well the consensus chooses among real, imperfect candidates, and how right it is about how sure it is.

    python services/consensus/benchmarks/selection.py --tasks DIR          the figures, as a table
    python services/consensus/benchmarks/selection.py --tasks DIR --fit    fit calibration.json anew, with provenance

DIR holds dev.json and recorded.json (see `recorded_outcomes`). A scenario is a task with some of its candidates,
examples and model-written tests; subsets are drawn by hashing, so every run draws the same ones.
"""

import argparse
import hashlib
import json
import os
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from math import log
from pathlib import Path

from grace_consensus.domain import confidence, fingerprint
from grace_consensus.domain.agreement import Decision, Policy, decide_candidates
from grace_consensus.domain.confidence import Calibration
from grace_consensus.domain.execution_matrix import Candidate, ExecutionMatrix, Probe, ProbeKind
from recorded_outcomes import Recorded, recorded_outcomes

CANDIDATES = (5, 10, 40)
EXAMPLES = (0, 1, 99)
TESTS = (0, 99)
FOLDS = 5
CORRELATIONS = (0.1, 0.2, 0.3, 0.4)
UNSEEN = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0)
BINDING_POWERS = (0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0)
SLOPES = (0.4, 0.5, 0.6, 0.7, 0.8, 1.0, 1.2, 1.4)
CALIBRATION_FILE = Path(confidence.__file__).with_name("calibration.json")


@dataclass(frozen=True)
class Scenario:
    task_id: str
    candidates: int
    examples: int
    tests: int
    matrix: ExecutionMatrix
    right: dict[str, bool]


@dataclass(frozen=True)
class Outcome:
    """A leading candidate's evidence, enough to recompute its confidence under another calibration."""

    task_id: str
    right: bool
    weight: float
    unseen_weight: float
    binding: int


def drawn(items: Sequence[int], count: int, salt: str) -> list[int]:
    """Return that many of the items, the same ones in every run."""
    return sorted(sorted(items, key=lambda item: hashlib.sha256(f"{salt}:{item}".encode()).digest())[:count])


@cache
def digest_of(source: str) -> str:
    return fingerprint.of_source(source)


def scenario(recorded: Recorded, candidates: int, examples: int, tests: int) -> Scenario:
    """Build the matrix of one scenario; class 0 is what a probe's author expects."""
    salt = f"{recorded.task_id}:{candidates}:{examples}:{tests}"
    rows = drawn(range(len(recorded.sources)), candidates, salt)
    kinds = {"example": examples, "generated-test": tests}
    columns = sorted(
        column
        for kind, count in kinds.items()
        for column in drawn([j for j, call in enumerate(recorded.calls) if call.kind == kind], count, salt)
    )
    outcomes = [[0] * len(columns) for _ in rows]
    for at, j in enumerate(columns):
        classes = {recorded.calls[j].expected: 0}
        for row, i in zip(outcomes, rows, strict=True):
            output = recorded.outputs[i][j]
            row[at] = -1 if output.startswith("!") else classes.setdefault(output, len(classes))
    matrix = ExecutionMatrix.of(
        [Candidate(f"{i:03d}", "model", digest_of(recorded.sources[i]), size=len(recorded.sources[i])) for i in rows],
        [Probe(f"{j:03d}", ProbeKind(recorded.calls[j].kind), 0) for j in columns],
        outcomes,
    )
    right = {f"{i:03d}": recorded.right[i] for i in rows}
    return Scenario(recorded.task_id, candidates, examples, tests, matrix, right)


def scenarios(tasks: Sequence[Recorded]) -> Iterator[Scenario]:
    for task in tasks:
        for candidates in CANDIDATES:
            for examples in EXAMPLES:
                for tests in TESTS:
                    yield scenario(task, candidates, examples, tests)


def outcome(given: Scenario, decision: Decision) -> Outcome:
    right = decision.leading is not None and given.right[decision.leading]
    binding = sum(probe.kind == ProbeKind.EXAMPLE for probe in given.matrix.probes)
    weight = decision.clusters[0].weight if decision.clusters else 0.0
    return Outcome(given.task_id, right, weight, decision.unseen_weight, binding)


def posterior(found: Outcome, base: Calibration, other: Calibration) -> float:
    """Return the leading weight as another calibration of equal correlation would give it."""
    unseen = other.unseen / base.unseen * float((1 + found.binding) ** (base.binding_power - other.binding_power))
    return found.weight / (1 - found.unseen_weight + found.unseen_weight * unseen)


def log_loss(found: Sequence[Outcome], base: Calibration, other: Calibration) -> float:
    shares = [other.confidence(posterior(one, base, other)) for one in found]
    return -sum(log(share if one.right else 1 - share) for share, one in zip(shares, found, strict=True)) / len(found)


def best(found: dict[float, list[Outcome]], base: Calibration) -> tuple[float, Calibration]:
    """Return the least log loss over the grid and where it lies; `found` holds outcomes per candidate correlation."""
    trials = [
        (log_loss(outcomes, base, trial), asdict(trial))
        for correlation, outcomes in found.items()
        for unseen in UNSEEN
        for power in BINDING_POWERS
        for slope in SLOPES
        for trial in [replace(base, candidate_correlation=correlation, unseen=unseen, binding_power=power, slope=slope)]
    ]
    loss, parameters = min(trials, key=lambda trial: (trial[0], sorted(trial[1].items())))
    return loss, Calibration(**parameters)


def fit(tasks: Sequence[Recorded]) -> dict[str, object]:
    """Fit four parameters to the outcomes; tasks are held out fold by fold to see what the fit is worth."""
    every = list(scenarios(tasks))
    base = confidence.DEFAULT
    found = {}
    for correlation in CORRELATIONS:
        trial = replace(base, candidate_correlation=correlation)
        outcomes = [outcome(one, decide_candidates(one.matrix, calibration=trial)) for one in every]
        found[correlation] = [one for one in outcomes if one.weight > 0]
    held_out_loss, held_out_brier, count = 0.0, 0.0, 0
    fold = {task.task_id: at % FOLDS for at, task in enumerate(tasks)}
    for number in range(FOLDS):
        train = {c: [one for one in outcomes if fold[one.task_id] != number] for c, outcomes in found.items()}
        _, fitted = best(train, base)
        tested = [one for one in found[fitted.candidate_correlation] if fold[one.task_id] == number]
        held_out_loss += log_loss(tested, base, fitted) * len(tested)
        held_out_brier += sum((fitted.confidence(posterior(one, base, fitted)) - one.right) ** 2 for one in tested)
        count += len(tested)
    loss, chosen = best(found, base)
    return {
        "parameters": asdict(chosen),
        "provenance": {
            "fitted_by": "services/consensus/benchmarks/selection.py --fit",
            "data": "CodeGen-Mono-16B completions and generated tests for 47 HumanEval tasks (microsoft/CodeT, MIT)",
            "tasks": len(tasks),
            "scenarios": len(every),
            "scenarios_with_a_leader": count,
            "log_loss": round(loss, 4),
            "held_out_log_loss": round(held_out_loss / count, 4),
            "held_out_brier": round(held_out_brier / count, 4),
            "folds": f"{FOLDS}, by task",
            "assumed": "fitted_failures: no outcomes of synthesised candidates were at hand",
        },
    }


def calibration_error(pairs: Sequence[tuple[float, bool]], bins: int = 10) -> float:
    """Return the expected calibration error over equal-width bins."""
    total = 0.0
    for at in range(bins):
        inside = [(share, right) for share, right in pairs if at / bins <= share < (at + 1) / bins]
        total += abs(sum(share for share, _ in inside) - sum(right for _, right in inside))
    return total / len(pairs)


def figures(title: str, chosen: Sequence[Scenario]) -> str:
    """Return one row: pass@1 of random, random among those that pass, consensus and oracle; then calibration."""
    pairs, random, passing, oracle, answered = [], 0.0, 0.0, 0, []
    for one in chosen:
        decision = decide_candidates(one.matrix, Policy())
        right = decision.leading is not None and one.right[decision.leading]
        pairs.append((decision.confidence, right))
        if decision.verdict == "chosen":
            answered.append(right)
        members = [member for cluster in decision.clusters for member in cluster.members]
        random += sum(one.right.values()) / len(one.right)
        passing += sum(one.right[member] for member in members) / max(1, len(members))
        oracle += any(one.right.values())
    count = len(chosen)
    brier = sum((share - right) ** 2 for share, right in pairs) / count
    accuracy = sum(answered) / max(1, len(answered))
    return (
        f"| {title} | {count} | {random / count:.3f} | {passing / count:.3f} | "
        f"{sum(right for _, right in pairs) / count:.3f} | {oracle / count:.3f} | {brier:.3f} | "
        f"{calibration_error(pairs):.3f} | {len(answered) / count:.2f} | {accuracy:.2f} |"
    )


def table(tasks: Sequence[Recorded]) -> str:
    names = [
        "candidates, evidence",
        "n",
        "random",
        "random of viable",
        "consensus",
        "oracle",
        "Brier",
        "ECE",
        "coverage",
        "accuracy",
    ]
    head = "| " + " | ".join(names) + " |"
    given = {0: "no example", 1: "1 example", 99: "all examples"}
    rows = []
    for candidates in CANDIDATES:
        for examples in EXAMPLES:
            for tests in TESTS:
                title = f"{candidates}, {given[examples]}, {'no tests' if tests == 0 else 'model tests'}"
                rows.append(figures(title, [scenario(task, candidates, examples, tests) for task in tasks]))
    return "\n".join([head, "|---" * 10 + "|", *rows, figures("all scenarios", list(scenarios(tasks)))])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", type=Path, required=True, help="folder with dev.json and recorded.json")
    parser.add_argument("--fit", action="store_true", help="write calibration.json anew instead of the table")
    given = parser.parse_args()
    os.nice(10)
    tasks = list(recorded_outcomes(given.tasks, Path(tempfile.gettempdir()) / "grace-consensus-matrices"))
    if given.fit:
        document = json.dumps(fit(tasks), indent=2)
        CALIBRATION_FILE.write_text(document + "\n", encoding="utf-8")
        print(document)
    else:
        print(table(tasks))


if __name__ == "__main__":
    main()
