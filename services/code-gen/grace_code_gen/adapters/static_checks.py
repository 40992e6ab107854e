"""What tools say about candidates without running them: ruff, mypy and bandit over a round at once, radon's complexity.

The tools read copies in a private folder and run as processes with limits; a candidate is never imported. Comments that
would silence a tool (noqa, nosec, `type: ignore`) silence none: the candidate is not the one to decide.
"""

import asyncio
import json
import re
import resource
import shutil
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final, Self

from grace_common.contract.errors import Unready
from radon.complexity import cc_visit

from grace_code_gen.domain.report import Finding, Severity

TOOLS: Final = ("ruff", "mypy", "bandit", "radon")
RUFF_RULES: Final = "E7,E9,F,B,C4,PLE,S"
RUFF_IGNORED: Final = "S101,S311,B011"  # asserts and ordinary random numbers are fine in a candidate
RUFF_GRAVE: Final = ("F821", "F822", "E9", "PLE")  # would fail when run
CPU_S: Final = 60
MEMORY_BYTES: Final = 2 * 1024**3
_SILENCER: Final = re.compile(r"#\s*(type|mypy)\s*:")

Findings = dict[int, list[Finding]]


@dataclass(frozen=True, slots=True)
class StaticEvidence:
    """What the tools said about one candidate.

    complexity  highest cyclomatic complexity of its functions, 0 when unknown
    silent      tools that gave no answer for this round
    """

    findings: tuple[Finding, ...] = ()
    complexity: int = 0
    silent: tuple[str, ...] = ()


@dataclass
class StaticChecks:
    """Runs the tools. mypy's knowledge of the standard library stays in a cache folder as long as this is open."""

    cpu_s: int = CPU_S
    versions: dict[str, str] = field(default_factory=dict)

    def __enter__(self) -> Self:
        self.versions = {tool: _installed(tool) for tool in TOOLS}
        self._cache = tempfile.mkdtemp(prefix="grace-mypy-")
        self._one_at_a_time = asyncio.Lock()
        return self

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self._cache, ignore_errors=True)

    async def check(self, codes: Sequence[str]) -> list[StaticEvidence]:
        """Return the evidence for each of the codes, all of which must parse: one that does not stops mypy for all."""
        if not codes:
            return []
        async with self._one_at_a_time:
            with tempfile.TemporaryDirectory(prefix="grace-static-") as folder:
                files = await asyncio.to_thread(_write, folder, codes)
                found = await asyncio.gather(self._ruff(folder), self._mypy(folder, files), self._bandit(folder))
        complexities = await asyncio.to_thread(lambda: [complexity(code) for code in codes])
        silent = tuple(tool for tool, findings in zip(TOOLS, found, strict=False) if findings is None)
        return [
            StaticEvidence(
                findings=tuple(finding for findings in found if findings for finding in findings.get(number, ())),
                complexity=complexities[number],
                silent=silent,
            )
            for number in range(len(codes))
        ]

    async def _ruff(self, folder: str) -> Findings | None:
        said = await self._run(
            [
                *(_program("ruff"), "check", "--isolated", "--no-cache", "--ignore-noqa", "--exit-zero", "--quiet"),
                *("--select", RUFF_RULES, "--ignore", RUFF_IGNORED, "--output-format", "json", "."),
            ],
            folder,
        )
        remarks = _json(said)
        if not isinstance(remarks, list):
            return None
        findings: Findings = {}
        for remark in remarks:
            rule = str(remark["code"] or "syntax")
            severity: Severity = "high" if rule.startswith(RUFF_GRAVE) else "medium" if rule.startswith("S") else "low"
            row = int((remark["location"] or {"row": 0})["row"])
            _add(findings, remark["filename"], "ruff", rule, severity, row, remark["message"])
        return findings

    async def _mypy(self, folder: str, files: Sequence[str]) -> Findings | None:
        said = await self._run(
            [
                *(sys.executable, "-m", "mypy", "--config-file=", "--no-site-packages", "--check-untyped-defs"),
                *("--ignore-missing-imports", "--no-error-summary", "--output=json", f"--cache-dir={self._cache}"),
                *files,
            ],
            folder,
        )
        if said is None:
            return None
        findings: Findings = {}
        for line in said.splitlines():
            remark = _json(line)
            if not isinstance(remark, dict):
                return None
            if remark["severity"] == "error":
                rule = str(remark["code"] or "error")
                _add(findings, remark["file"], "mypy", rule, "medium", int(remark["line"]), remark["message"])
        return findings

    async def _bandit(self, folder: str) -> Findings | None:
        said = await self._run(
            [
                *(sys.executable, "-m", "bandit", "--quiet", "--ignore-nosec", "--exit-zero", "--skip", "B101,B311"),
                *("--format", "json", "--recursive", "."),
            ],
            folder,
        )
        remarks = _json(said)
        if not isinstance(remarks, dict):
            return None
        findings: Findings = {}
        for remark in remarks["results"]:
            severity: Severity = _BANDIT.get(remark["issue_severity"], "low")
            line = int(remark["line_number"])
            _add(findings, remark["filename"], "bandit", remark["test_id"], severity, line, remark["issue_text"])
        return findings

    async def _run(self, line: Sequence[str], folder: str) -> str | None:
        """Return what a tool wrote; None when it failed or passed its limits. Its process never outlives the call."""
        process = await asyncio.create_subprocess_exec(
            *line,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            cwd=folder,
            env={"HOME": folder, "TMPDIR": folder, "LANG": "C.UTF-8", "PYTHONSAFEPATH": "1"},
        )
        try:
            with suppress(ProcessLookupError):
                resource.prlimit(process.pid, resource.RLIMIT_CPU, (self.cpu_s, self.cpu_s))
                resource.prlimit(process.pid, resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
            said, _ = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        return said.decode(errors="replace") if process.returncode in (0, 1) else None


_BANDIT: Final[dict[str, Severity]] = {"LOW": "low", "MEDIUM": "medium", "HIGH": "high"}


def _write(folder: str, codes: Sequence[str]) -> list[str]:
    names = [f"candidate_{number}.py" for number in range(len(codes))]
    for name, code in zip(names, codes, strict=True):
        Path(folder, name).write_text(_SILENCER.sub(r"# \1 ", code), encoding="utf-8", errors="replace")
    return names


def complexity(code: str) -> int:
    """Return the highest cyclomatic complexity of the functions in `code`, 0 when there are none or it is unknown."""
    try:
        return max((int(block.complexity) for block in cc_visit(code)), default=0)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return 0


def _installed(tool: str) -> str:
    try:
        return version(tool)
    except PackageNotFoundError as problem:
        raise Unready(f"the static checks lack {tool}; type: pip install {tool}") from problem


def _program(name: str) -> str:
    beside = Path(sys.executable).with_name(name)
    found = str(beside) if beside.exists() else shutil.which(name)
    if found is None:
        raise Unready(f"the static checks lack {name}; type: pip install {name}")
    return found


def _json(text: str | None) -> Any:
    try:
        return None if text is None else json.loads(text)
    except ValueError:
        return None


def _add(findings: Findings, file: str, tool: Any, rule: str, severity: Severity, line: int, message: str) -> None:
    number = int(Path(file).stem.removeprefix("candidate_"))
    shown = ascii(str(message))[1:-1][:160]
    findings.setdefault(number, []).append(
        Finding(tool=tool, rule=rule[:60], severity=severity, line=max(0, line), message=shown)
    )
