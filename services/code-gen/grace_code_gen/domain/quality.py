"""`quality_score`: one number in [0, 1] from a candidate's evidence; docs/quality-score.md explains the formula.

    craft   = 0.30 · robustness + 0.15 · lint + 0.15 · types + 0.20 · security + 0.10 · simplicity + 0.10 · speed
    score   = 0.5  + 0.5 · craft             when examples or tests were given and all pass
            = 0.25 + 0.5 · craft             when none were given: unproven, at most 0.75
            = p · (0.35 + 0.10 · craft)      when a share p < 1 of them passes: always below 0.45
            = 0                              when it does not parse or does not define the entry point

Every term of craft lies in [0, 1]:

    robustness  share of generated probes that ended in a value (1 when there are none)
    lint        1 / (1 + findings of ruff / 4)
    types       1 / (1 + findings of mypy)
    security    1 / (1 + Σ weight of bandit's findings), weight 0.1 low, 1 medium, 4 high
    simplicity  1 up to a cyclomatic complexity of 10 (McCabe's own bound), then 10 / complexity
    speed       1 up to 10 ms of CPU for the slowest probe, then 1 − log10(ms / 10) / 3, at least 0
"""

import math
from collections.abc import Sequence
from typing import Final

from grace_code_gen.domain.report import Finding, ProbeResult

SECURITY_WEIGHT: Final = {"low": 0.1, "medium": 1.0, "high": 4.0}
SIMPLE: Final = 10  # McCabe, A Complexity Measure (1976), section IV
QUICK_MS: Final = 10.0


def quality_score(
    runnable: bool, results: Sequence[ProbeResult], findings: Sequence[Finding], complexity: int
) -> float:
    """Return the score, rounded to four places.

    runnable    whether the code parses and defines the entry point
    complexity  highest cyclomatic complexity of its functions, 0 when unknown
    """
    if not runnable:
        return 0.0
    given = [result for result in results if result.kind in ("example", "test")]
    passed = sum(result.verdict == "passed" for result in given)
    craft = _craft(results, findings, complexity)
    if not given:
        return round(0.25 + 0.5 * craft, 4)
    if passed == len(given):
        return round(0.5 + 0.5 * craft, 4)
    return round(passed / len(given) * (0.35 + 0.10 * craft), 4)


def _craft(results: Sequence[ProbeResult], findings: Sequence[Finding], complexity: int) -> float:
    generated = [result for result in results if result.kind == "generated"]
    robustness = sum(result.verdict == "observed" for result in generated) / len(generated) if generated else 1.0
    lint = 1 / (1 + sum(finding.tool == "ruff" for finding in findings) / 4)
    types = 1 / (1 + sum(finding.tool == "mypy" for finding in findings))
    risk = sum(SECURITY_WEIGHT[finding.severity] for finding in findings if finding.tool == "bandit")
    security = 1 / (1 + risk)
    simplicity = min(1.0, SIMPLE / complexity) if complexity else 1.0
    slowest_ms = max((result.cpu_ms for result in results), default=0.0)
    speed = 1.0 if slowest_ms <= QUICK_MS else max(0.0, 1 - math.log10(slowest_ms / QUICK_MS) / 3)
    return 0.30 * robustness + 0.15 * lint + 0.15 * types + 0.20 * security + 0.10 * simplicity + 0.10 * speed
