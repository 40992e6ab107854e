"""From what happened in the sandbox to evidence: results per probe, and the named checks of a report."""

from collections import Counter
from collections.abc import Sequence

from grace_common.contract.events.candidate import ProbeKind

from grace_code_gen.domain import values
from grace_code_gen.domain.probes import Call
from grace_code_gen.domain.report import Check, CheckName, Finding, ProbeResult
from grace_code_gen.domain.verdict import NOT_RUN, Answer, Run, shown, step_verdict, verdict_of

COMPLEX = 10  # McCabe's bound, see `quality`


def results_of(calls: Sequence[Call], tests: int, generated_tests: int, run: Run) -> tuple[ProbeResult, ...]:
    """Return one result per call, per step of the requester's tests, per step of the generated tests, in this order."""
    results = [_call_result(call, answer) for call, answer in zip(calls, run.answers, strict=True)]
    suite = 0
    kinds: tuple[tuple[ProbeKind, str, int], ...] = (("test", "t", tests), ("generated-test", "m", generated_tests))
    for kind, letter, steps in kinds:
        if steps:
            results += [_step_result(run, suite, number, kind, f"{letter}{number}") for number in range(steps)]
            suite += 1
    return tuple(results)


def heavy_probes(pilots: Sequence[Sequence[ProbeResult]]) -> set[str]:
    """Return the generated probes at which at least half of the pilot candidates, and two of them, were stopped.

    They say little about candidates and cost every one of them its limit: a base of 1, the hundredth of an exponential
    recursion. A probe that was not put, because the budget was spent before it, has said nothing.
    """
    stopped = Counter(
        result.probe
        for results in pilots
        for result in results
        if result.kind in ("generated", "generated-test")
        and result.verdict == "timeout"
        and not result.shown.startswith(NOT_RUN)
    )
    return {probe for probe, times in stopped.items() if times >= max(2, len(pilots) / 2)}


def _call_result(call: Call, answer: Answer) -> ProbeResult:
    return ProbeResult(
        probe=call.id,
        kind="example" if call.known else "generated",
        verdict=verdict_of(answer, call.expected, call.known),
        digest=values.digest(answer.value) if answer.status == "answered" else None,
        shown=shown(answer),
        cpu_ms=max(0.0, answer.cpu_ms),
    )


def _step_result(run: Run, suite: int, number: int, kind: ProbeKind, name: str) -> ProbeResult:
    verdict, note = step_verdict(run.suites[suite], number) or ("error", run.unreached[suite])
    return ProbeResult(probe=name, kind=kind, verdict=verdict, shown=ascii(note)[1:-1][:200])


def checks_of(
    obstacle: str | None,
    results: Sequence[ProbeResult],
    findings: Sequence[Finding],
    silent: Sequence[str],
    complexity: int,
    peak_kib: int,
) -> tuple[Check, ...]:
    """Return every named check with its verdict.

    obstacle  why the code could not be run, None when it could
    silent    static tools that gave no answer
    """
    defines = obstacle is not None and obstacle.startswith("does not define")
    checks = [
        _check("parses", obstacle is None or defines, "" if defines else obstacle or ""),
        _check("defines entry point", obstacle is None, obstacle or ""),
        _share("examples", [result for result in results if result.kind == "example"]),
        _share("requester tests", [result for result in results if result.kind == "test"]),
        _share("generated tests", [result for result in results if result.kind == "generated-test"]),
        _ended(results),
    ]
    for tool in ("ruff", "mypy", "bandit"):
        found = sum(finding.tool == tool for finding in findings)
        if tool in silent:
            checks.append(Check(name=tool, verdict="absent", note=f"{tool} gave no answer"))
        else:
            checks.append(_check(tool, found == 0, f"{found} findings"))
    if obstacle is not None:
        reason = "the code was not run"
        return (*checks, *(Check(name=name, verdict="absent", note=reason) for name in _RUN_CHECKS))
    slowest = max((result.cpu_ms for result in results), default=0.0)
    late = sum(result.verdict == "timeout" for result in results)
    large = sum(result.verdict == "memory" for result in results)
    return (
        *checks,
        _check("complexity", complexity <= COMPLEX, f"cyclomatic complexity {complexity}"),
        _check("time", late == 0, f"slowest probe {slowest:.1f} ms of CPU; {late} stopped at the limit"),
        _check("memory", large == 0, f"peak {peak_kib} KiB; {large} stopped at the limit"),
    )


_RUN_CHECKS: tuple[CheckName, ...] = ("complexity", "time", "memory")


def _check(name: CheckName, passed: bool, note: str) -> Check:
    return Check(name=name, verdict="passed" if passed else "failed", note=ascii(note)[1:-1][:200])


def _share(name: CheckName, results: Sequence[ProbeResult]) -> Check:
    if not results:
        return Check(name=name, verdict="absent", note="none were given or none were run")
    passed = sum(result.verdict == "passed" for result in results)
    return _check(name, passed == len(results), f"{passed} of {len(results)} passed")


def _ended(results: Sequence[ProbeResult]) -> Check:
    generated = [result for result in results if result.kind == "generated"]
    if not generated:
        return Check(name="generated probes", verdict="absent", note="the types are unknown, or the code was not run")
    ended = sum(result.verdict == "observed" for result in generated)
    return _check("generated probes", ended > 0, f"{ended} of {len(generated)} ended in a value")
