"""Whether delivered code is right, by a check that Grace never saw: in a sandbox of its own, for the table alone."""

import json
import resource
import secrets
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

CPU_S: Final = 10
WALL_S: Final = 60
MEMORY_BYTES: Final = 1024 * 1024 * 1024

# The word is printed only after the check came to its end: code that ends the process early has not passed.
_HARNESS: Final = """
import json, sys
given = json.loads(sys.stdin.read())
say = sys.stdout.write
try:
    room = {"__name__": "delivered"}
    exec(compile(given["code"], "delivered", "exec"), room)
    exec(compile(given["check"], "check", "exec"), room)
    room["check"](room[given["entry_point"]])
except BaseException as error:
    import linecache, traceback
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == "check"]
    lines = given["check"].splitlines()
    at = lines[frames[-1].lineno - 1].strip() if frames else ""
    say("\\n" + json.dumps({"error": type(error).__name__, "said": str(error)[:200], "at": at[:200]}))
else:
    say("\\n" + given["word"])
"""


@dataclass(frozen=True, slots=True)
class CheckResult:
    """`passed` is None when the check could not be run; `reason` says why it did not pass."""

    passed: bool | None
    reason: str = ""


def run_check(
    code: str, check: str, entry_point: str, bubblewrap: str | None = None, cpu_s: int = CPU_S
) -> CheckResult:
    """Run the check on the code. Without a sandbox nothing is run.

    bubblewrap  the program; None looks for it
    cpu_s       seconds of CPU time that it may take
    """
    program = bubblewrap or shutil.which("bwrap")
    if program is None:
        return CheckResult(None, "not checked: bubblewrap is missing, and code runs only in a sandbox")
    word = secrets.token_hex(16)
    given = json.dumps({"code": code, "check": check, "entry_point": entry_point, "word": word})
    try:
        done = subprocess.run(
            [*_sandbox(program), "-I", "-S", "-c", _HARNESS],
            input=given,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=WALL_S,
            env={"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"},
            preexec_fn=lambda: _limit(cpu_s),
            check=False,
        )
    except subprocess.TimeoutExpired:
        return CheckResult(False, f"the check did not end within {WALL_S} s")
    last = done.stdout.rpartition("\n")[2]
    if last == word:
        return CheckResult(True)
    try:
        failure = json.loads(last)
        return CheckResult(False, " ".join(filter(None, (failure["error"], failure["said"], failure["at"]))))
    except (ValueError, KeyError, TypeError):
        pass
    if done.stderr.startswith("bwrap:"):
        return CheckResult(None, f"not checked: {done.stderr.strip().splitlines()[-1]}")
    return CheckResult(False, f"the check ended with code {done.returncode} before its end")


def _sandbox(bubblewrap: str) -> Sequence[str]:
    """Return the command before Python's arguments: the interpreter and its libraries, and nothing else of the host."""
    interpreter = Path(sys.executable).resolve()
    seen = ["/usr", "/lib", "/lib64", "/bin", "/etc/ld.so.cache", sys.base_prefix]
    binds = [word for path in seen for word in ("--ro-bind-try", path, path)]
    isolation = ["--unshare-all", "--die-with-parent", "--new-session", "--cap-drop", "ALL"]
    return [bubblewrap, *isolation, *binds, "--dev", "/dev", "--proc", "/proc", "--tmpfs", "/tmp", str(interpreter)]


def _limit(cpu_s: int) -> None:
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_s, cpu_s))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
