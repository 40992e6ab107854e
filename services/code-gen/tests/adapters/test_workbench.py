"""The workbench opens when the sandbox can be had, and nothing runs before."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from grace_code_gen.adapters.sandbox import SandboxSettings
from grace_code_gen.adapters.sandbox_host import find_bubblewrap
from grace_code_gen.adapters.workbench import OpenWorkbench
from grace_code_gen.domain.report import EvaluationReport
from grace_code_gen.domain.specification import Example, Specification
from grace_common.contract.errors import Unready

DOUBLE = Specification("Double", "double", signature="def double(n: int) -> int:", examples=(Example((2,), 4),))
CODE = "def double(n: int) -> int:\n    return 2 * n\n"


@asynccontextmanager
async def running(workbench: OpenWorkbench) -> AsyncIterator[None]:
    run = asyncio.create_task(workbench.run())
    try:
        yield
    finally:
        run.cancel()
        await asyncio.gather(run, return_exceptions=True)


async def test_it_evaluates_once_it_is_open_and_is_not_ready_before_or_after() -> None:
    workbench = OpenWorkbench(SandboxSettings(slots=1, uid_base=61_700))
    with pytest.raises(Unready, match="being opened"):
        await workbench.check()

    async with running(workbench):
        evaluation = await workbench.evaluate(DOUBLE, [CODE])
        await workbench.check()

    assert [(report.passed, report.failed) for report in evaluation.reports] == [(1, 0)]
    with pytest.raises(Unready):
        await workbench.check()


async def test_while_bubblewrap_is_missing_nothing_runs_and_when_it_comes_the_waiting_are_served(
    tmp_path: Path,
) -> None:
    link = tmp_path / "bwrap"
    settings = SandboxSettings(slots=1, uid_base=61_700, bubblewrap=str(link))
    workbench = OpenWorkbench(settings, look_again_s=0.05)

    async with running(workbench):
        waiting = asyncio.create_task(workbench.evaluate(DOUBLE, [CODE]))
        async with asyncio.timeout(30):
            while "being opened" in (missing := await why(workbench)):  # noqa: ASYNC110 (its state, seen from outside)
                await asyncio.sleep(0.01)
        assert "lacks bubblewrap" in missing
        assert not waiting.done()

        link.symlink_to(find_bubblewrap())
        evaluation = await waiting

    assert evaluation.reports[0].failed == 0


async def test_a_sandbox_that_is_lost_at_work_is_waited_for_too(tmp_path: Path) -> None:
    link = tmp_path / "bwrap"
    link.symlink_to(find_bubblewrap())
    settings = SandboxSettings(slots=1, uid_base=61_700, bubblewrap=str(link))
    workbench = OpenWorkbench(settings, look_again_s=0.05)

    async with running(workbench):
        await workbench.evaluate(DOUBLE, [CODE])
        link.unlink()
        waiting = asyncio.create_task(workbench.evaluate(DOUBLE, [CODE]))
        async with asyncio.timeout(30):
            while True:
                if waiting.done() or "lacks bubblewrap" in (await missing_of(workbench) or ""):
                    break
                await asyncio.sleep(0.01)
        assert not waiting.done()

        link.symlink_to(find_bubblewrap())
        evaluation = await waiting
        await workbench.check()

    assert evaluation.reports[0].failed == 0


async def test_work_that_no_sandbox_lets_through_is_handed_back() -> None:
    async def hear(number: int, report: EvaluationReport) -> None:
        raise Unready("it does not go through")

    workbench = OpenWorkbench(SandboxSettings(slots=1, uid_base=61_700), look_again_s=0.01)
    async with running(workbench):
        with pytest.raises(Unready, match="does not go through"):
            await workbench.evaluate(DOUBLE, [CODE], hear)
        evaluation = await workbench.evaluate(DOUBLE, [CODE])

    assert evaluation.reports[0].failed == 0


async def missing_of(workbench: OpenWorkbench) -> str | None:
    try:
        await workbench.check()
    except Unready as missing:
        return str(missing)
    return None


async def why(workbench: OpenWorkbench) -> str:
    with pytest.raises(Unready) as raised:
        await workbench.check()
    return str(raised.value)
