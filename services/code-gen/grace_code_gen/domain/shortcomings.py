"""How a round's candidates failed what the requester gave, in words for another try."""

import json
from collections.abc import Iterator, Sequence
from typing import Final

from grace_common.contract.events.candidate import Probe

from grace_code_gen.domain.report import EvaluationReport
from grace_code_gen.domain.specification import Specification

MOST: Final = 10
_MOST_CHARACTERS: Final = 400  # of one sentence


def satisfies(report: EvaluationReport) -> bool:
    """Return whether the candidate runs and fails nothing that the requester gave."""
    return report.failed == 0 and all(
        check.verdict == "passed" for check in report.checks if check.name in ("parses", "defines entry point")
    )


def shortcomings(
    specification: Specification, probes: Sequence[Probe], reports: Sequence[EvaluationReport]
) -> tuple[str, ...]:
    """Return at most MOST different failures, the best candidate's first."""
    best_first = sorted(reports, key=lambda report: -report.quality_score)
    said = (sentence for report in best_first for sentence in _failures(specification, probes, report))
    return tuple(dict.fromkeys(sentence[:_MOST_CHARACTERS] for sentence in said))[:MOST]


def _failures(specification: Specification, probes: Sequence[Probe], report: EvaluationReport) -> Iterator[str]:
    for check in report.checks:
        if check.name in ("parses", "defines entry point") and check.verdict == "failed":
            yield f"the code {check.note}"
    asked = {probe.id: probe.label for probe in probes}
    expected = {f"e{number}": example.expected for number, example in enumerate(specification.examples)}
    for result in report.results:
        if result.kind not in ("example", "test") or result.verdict == "passed":
            continue
        wanted = f", expected {json.dumps(expected[result.probe])}" if result.probe in expected else ""
        outcome = {"failed": "gave", "timeout": "ran too long", "memory": "took too much memory"}
        yield f"{asked.get(result.probe, result.probe)} {outcome.get(result.verdict, 'raised')} {result.shown}{wanted}"
