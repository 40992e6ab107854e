"""The part of the sandbox that runs inside it: a warm interpreter which forks one process per candidate.

Three kinds of process, none of which trusts the next:

- the supervisor (this module's `main`) talks with Grace over stdin and stdout, starts the others, measures and ends
  them;
- a candidate's process holds the candidate's code, gets the arguments of one call at a time and answers with a value;
  what is expected never enters it, so that the only way to pass is to return the right value;
- a tester's process holds the requester's tests; the function it tests is a stand-in which asks the supervisor, which
  asks the candidate's process. So the candidate cannot touch the asserts that judge it.

Standard library and `landlock` only; Grace packs this module, `values` and `landlock` into a zip and hands it in.

Protocol, one JSON line each way. In: the configuration, then one job per candidate:
    {"code": …, "entry_point": …, "calls": [tagged (args, kwargs), …], "suites": 1,
     "given_calls": 2, "given_suites": 1}    the first so many are the requester's, the rest generated
Out: the layers in force once; then per call a header {"call": 0, "cpu_ms": …, "status": …, "size": n} with n raw bytes
of the candidate's own answer after it, {"suite": 0, "step": 3, "verdict": …, "note": …} per step, {"done": true, …}.
"""

import base64
import builtins
import ctypes
import importlib
import json
import os
import random
import resource
import select
import shutil
import signal
import sys
import time
import types
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, BinaryIO, Final

from grace_code_gen.domain import values

MAX_ANSWER: Final = 65_536  # bytes of one answer; a pipe's usual capacity, and far beyond any answer worth comparing
MAX_MESSAGE: Final = 200
POLL_MS: Final = 10  # how late a limit may be noticed
SOURCE: Final = "candidate.py"
# Imported before the fork: what candidates use most, so that each need not load it again.
MODULES: Final = """
    bisect collections copy dataclasses datetime decimal enum fractions functools hashlib heapq itertools math operator
    re statistics string typing
"""


PR_GET_SECCOMP: Final = 21  # linux/prctl.h
PR_SET_SECCOMP: Final = 22
SECCOMP_MODE_FILTER: Final = 2
READY: Final = b'{"ready": true}'

INHERITED: Final = 202  # where a tester finds the descriptor of its suites; the two before it are the pipes

Line = dict[str, Any]
Body = Callable[[Iterator[bytes], Callable[[Line], None]], None]


@dataclass(frozen=True)
class Limits:
    """Bounds per candidate. CPU seconds are the candidate's own; wall seconds only catch what waits without working.

    call_cpu_s, total_cpu_s    one of the requester's calls, and all of them together
    probe_cpu_s, probes_cpu_s  one generated call, and all of them: a budget apart, so that no probe costs an example
    """

    call_cpu_s: float
    total_cpu_s: float
    probe_cpu_s: float
    probes_cpu_s: float
    wall_s: float
    memory_bytes: int
    processes: int = 16  # threads: fork itself is refused by the filter
    file_bytes: int = 4 * 1024 * 1024
    respawns: int = 16  # fresh processes for a candidate whose process was ended or died


class _Program(ctypes.Structure):
    """struct sock_fprog of linux/filter.h"""

    _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_char_p)]


def install_filter(program: bytes) -> None:
    """Load a seccomp program for this process and for ever; OSError when the kernel refuses."""
    libc = ctypes.CDLL(None, use_errno=True)
    fprog = _Program(len(program) // 8, program)
    if libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(fprog), 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "seccomp")


def confine(folder: str, readable: Sequence[str]) -> int:
    """Restrict this process by Landlock to read `readable` and write below `folder`; return the Landlock ABI."""
    from landlock import FSAccess, Ruleset, landlock_abi_version

    ctypes.set_errno(0)  # the library takes a leftover errno for a failure
    abi = landlock_abi_version()
    look = FSAccess.READ_FILE | FSAccess.READ_DIR
    refused = FSAccess.EXECUTE | FSAccess.MAKE_CHAR | FSAccess.MAKE_BLOCK | FSAccess.MAKE_SOCK | FSAccess.MAKE_FIFO
    ruleset = Ruleset()
    for path in readable:
        if os.path.isdir(path):
            ruleset.allow(path, rules=look)
        elif os.path.exists(path):
            ruleset.allow(path, rules=FSAccess.READ_FILE)
    ruleset.allow("/dev/null", rules=FSAccess.READ_FILE | FSAccess.WRITE_FILE)
    ruleset.allow(folder, rules=FSAccess.all() & ~refused)
    ruleset.apply()
    return int(abi)


# The candidate's process ---------------------------------------------------------------------------------------------


def serve_candidate(code: str, entry_point: str, commands: Iterator[bytes], answer: Callable[[Line], None]) -> None:
    """Load the candidate, then answer one call per command line, until the commands end."""
    module = types.ModuleType("candidate")
    sys.modules["candidate"] = module  # dataclasses and pickle look a class's module up
    random.seed(0)
    try:
        exec(compile(code, SOURCE, "exec"), module.__dict__)
        function = module.__dict__[entry_point]
    except BaseException as problem:  # noqa: BLE001  SystemExit and KeyboardInterrupt are the candidate's answers too
        answer(_raised(problem))
        return
    answer({"ready": True})
    for command in commands:
        answer(_call(function, json.loads(command)))


def _call(function: Any, arguments: Any) -> Line:
    try:
        args, kwargs = values.decode(arguments)
        result = values.encode(function(*args, **kwargs))
        line = {"value": result, "args": values.encode(args)}
        if len(json.dumps(line)) >= MAX_ANSWER:
            raise values.Unencodable(f"the answer is larger than {MAX_ANSWER // 1024} KiB")
        return line
    except BaseException as problem:  # noqa: BLE001  whatever the candidate raises is its answer
        return _raised(problem)


def _raised(problem: BaseException) -> Line:
    try:
        message = str(problem)[:MAX_MESSAGE]
    except BaseException:  # noqa: BLE001  the exception is the candidate's class
        message = ""
    line = None
    trace = problem.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == SOURCE:
            line = trace.tb_lineno
        trace = trace.tb_next
    return {"error": type(problem).__name__[:80], "message": message, "line": line}


# The tester's process ------------------------------------------------------------------------------------------------


class CandidateStopped(Exception):
    """The candidate's process was ended or died in a call made by the tests; `verdict` says how."""

    def __init__(self, verdict: str, message: str) -> None:
        super().__init__(message)
        self.verdict = verdict


def serve_tester(
    source: str, entry_point: str, step_name: str, replies: Iterator[bytes], tell: Callable[[Line], None]
) -> None:
    """Run instrumented tests (see `domain.requester_tests`) and tell the verdict of every step that was reached."""

    def candidate(*args: Any, **kwargs: Any) -> Any:
        tell({"call": values.encode((list(args), kwargs))})
        return _replied(json.loads(next(replies)), args)

    class Step:
        def __init__(self, number: int) -> None:
            self.number = number

        def __enter__(self) -> None:
            return None

        def __exit__(self, kind: type[BaseException] | None, problem: BaseException | None, trace: object) -> bool:
            tell({"step": self.number, **_step_verdict(problem)})
            return True

    candidate.__name__ = entry_point
    namespace = {"__name__": "tests", "candidate": candidate, entry_point: candidate, step_name: Step}
    try:
        exec(compile(source, "tests.py", "exec"), namespace)
    except BaseException as problem:  # noqa: BLE001  the rest of the steps stays unreached, for this reason
        tell({"ended": _step_verdict(problem)})
    else:
        tell({"ended": None})


def _replied(reply: Line, args: Sequence[Any]) -> Any:
    """Return what the candidate returned, or raise what it raised; the caller's mutable arguments change as its did."""
    if "stopped" in reply:
        raise CandidateStopped(reply["stopped"], reply["message"])
    if "error" in reply:
        kind = getattr(builtins, str(reply["error"]), None)
        if isinstance(kind, type) and issubclass(kind, Exception):
            try:
                raise kind(str(reply["message"]))
            except TypeError as problem:  # UnicodeDecodeError and the like want more than a message
                raise RuntimeError(f"{reply['error']}: {reply['message']}") from problem
        raise RuntimeError(f"{reply['error']}: {reply['message']}")
    values.require_tagged(reply["args"])
    values.require_tagged(reply["value"])
    for mine, theirs in zip(args, values.decode(reply["args"]), strict=True):
        if isinstance(mine, list) and isinstance(theirs, list):
            mine[:] = theirs
        elif isinstance(mine, dict | set) and type(mine) is type(theirs):
            mine.clear()
            mine.update(theirs)
    return values.decode(reply["value"])


def _step_verdict(problem: BaseException | None) -> Line:
    if problem is None:
        return {"verdict": "passed", "note": ""}
    if isinstance(problem, CandidateStopped):
        return {"verdict": problem.verdict, "note": str(problem)}
    if isinstance(problem, MemoryError):
        return {"verdict": "memory", "note": "MemoryError"}
    if isinstance(problem, AssertionError):
        return {"verdict": "failed", "note": str(problem)[:MAX_MESSAGE]}
    return {"verdict": "error", "note": f"{type(problem).__name__}: {problem}"[:MAX_MESSAGE]}


# The supervisor ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Answer:
    """One exchange with a child, with a payload if its status is "answered"; `domain.verdict.Answer` lists the rest."""

    status: str
    payload: bytes = b""
    cpu_s: float = 0.0
    note: str = ""


class Child:
    """One forked process with a pipe each way, its CPU clock, and its end."""

    def __init__(self, body: Body, inherited: int | None = None) -> None:
        theirs_in, self._commands = os.pipe()
        self._answers, theirs_out = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            _become(theirs_in, theirs_out, inherited, body)
        os.close(theirs_in)
        os.close(theirs_out)
        os.set_blocking(self._commands, False)
        os.set_blocking(self._answers, False)
        self._buffer = b""
        self._clock = (~self.pid << 3) | 2  # the kernel's id of another process's CPU clock, see clock_getcpuclockid(3)
        self.peak_kib = 0
        self.ended = False

    def cpu_s(self) -> float:
        try:
            return time.clock_gettime(self._clock)
        except OSError:  # it is gone
            return 0.0

    def ask(self, command: bytes | None, cpu_s: float, wall_s: float) -> Answer:
        """Send one line (or nothing) and return the next line the child says, within the limits."""
        started, deadline = self.cpu_s(), time.monotonic() + wall_s
        unsent = b"" if command is None else command + b"\n"
        while b"\n" not in self._buffer:
            poll = select.poll()
            poll.register(self._answers, select.POLLIN)
            if unsent:
                poll.register(self._commands, select.POLLOUT)
            ready = poll.poll(POLL_MS)
            used = self.cpu_s() - started
            if used > cpu_s:
                return self._stop("timeout", used, f"used more than {cpu_s:g} s of CPU time")
            if time.monotonic() > deadline:
                return self._stop("timeout", used, f"did not answer within {wall_s:g} s")
            for descriptor, _ in ready:
                if descriptor == self._commands and unsent:
                    try:
                        unsent = unsent[os.write(self._commands, unsent) :]
                    except BrokenPipeError:
                        unsent = b""
                elif descriptor == self._answers:
                    received = os.read(self._answers, MAX_ANSWER)
                    if not received:
                        return self._died(used)
                    self._buffer += received
                    if len(self._buffer) > MAX_ANSWER + 1:
                        return self._stop("flooded", used, f"answered with more than {MAX_ANSWER // 1024} KiB")
        line, _, self._buffer = self._buffer.partition(b"\n")
        return Answer("answered", line, max(0.0, self.cpu_s() - started))

    def _stop(self, status: str, used: float, note: str) -> Answer:
        self.end()
        return Answer(status, cpu_s=used, note=note)

    def _died(self, used: float) -> Answer:
        status = self.end(kill=False)
        if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGXCPU:
            return Answer("timeout", cpu_s=used, note="used up its CPU time")
        how = f"signal {os.WTERMSIG(status)}" if os.WIFSIGNALED(status) else f"exit status {os.WEXITSTATUS(status)}"
        return Answer("died", cpu_s=used, note=f"the process ended ({how}) before it answered")

    def end(self, kill: bool = True) -> int:
        """End the process, wait for it, and return its wait status; its peak of memory is known from here on."""
        if self.ended:
            return 0
        self.ended = True
        os.close(self._commands)
        os.close(self._answers)
        status, usage = 0, None
        if not kill:  # it closed its pipe: either it is gone, or it hides
            deadline = time.monotonic() + 1.0
            while usage is None and time.monotonic() < deadline:
                pid, status, used = os.wait4(self.pid, os.WNOHANG)
                if pid:
                    usage = used
                else:
                    time.sleep(0.001)
        if usage is None:
            os.kill(self.pid, signal.SIGKILL)
            _, status, usage = os.wait4(self.pid, 0)
        self.peak_kib = usage.ru_maxrss
        return status


def _become(theirs_in: int, theirs_out: int, inherited: int | None, body: Body) -> None:
    """Turn the forked process into what `body` does, with two pipes and what is inherited alone; never returns."""
    status = 70  # EX_SOFTWARE
    try:
        null = os.open("/dev/null", os.O_RDWR)
        for descriptor in (0, 1, 2):
            os.dup2(null, descriptor)
        kept_in, kept_out = INHERITED - 2, INHERITED - 1
        os.dup2(theirs_in, kept_in)
        os.dup2(theirs_out, kept_out)
        if inherited is not None:
            os.dup2(inherited, INHERITED)
        os.closerange(3, kept_in)
        os.closerange(INHERITED + (inherited is not None), 4096)
        commands = os.fdopen(kept_in, "rb")

        def answer(line: Line) -> None:
            data = json.dumps(line).encode() + b"\n"
            while data:
                data = data[os.write(kept_out, data) :]

        body(iter(commands.readline, b""), answer)
        status = 0
    finally:
        os._exit(status)


class Trial:
    """One candidate under its budget: its process is started when needed, and again after it was ended or died."""

    def __init__(self, limits: Limits, start: Callable[[], Child]) -> None:
        self._limits, self._start = limits, start
        self._child: Child | None = None
        self._starts = 0
        self._broken: Answer | None = None
        self._spent_s = {True: 0.0, False: 0.0}  # by whether the requester gave the call
        self.peak_kib = 0

    @property
    def spent_s(self) -> float:
        return sum(self._spent_s.values())

    def ask(self, command: bytes, given: bool) -> Answer:
        """Put one call to the candidate; "overspent" or "abandoned" once its budget of time or processes is spent."""
        if self._broken is not None:
            return self._broken
        limits = self._limits
        call_s, budget_s = (
            (limits.call_cpu_s, limits.total_cpu_s) if given else (limits.probe_cpu_s, limits.probes_cpu_s)
        )
        # One that spent the requester's budget has failed; what else it would do interests nobody.
        if self._spent_s[given] >= budget_s or self._spent_s[True] >= limits.total_cpu_s:
            return Answer("overspent", note=f"not run: the budget of {budget_s:g} s was spent")
        if self._child is None or self._child.ended:
            self._broken = self._load()
            if self._broken is not None:
                return self._broken
        assert self._child is not None
        return self._charge(self._child.ask(command, call_s, limits.wall_s), given, call_s)

    def _load(self) -> Answer | None:
        """Start the process and let it load the code; return what stands in the way of every further call, if any."""
        if self._starts > self._limits.respawns:
            return Answer("abandoned", note=f"not run: the process had ended {self._starts} times")
        self._starts += 1
        self._child = self._start()
        call_s = self._limits.call_cpu_s
        loaded = self._charge(self._child.ask(None, call_s, self._limits.wall_s), True, call_s)
        return None if loaded.payload == READY else loaded

    def _charge(self, answer: Answer, given: bool, call_s: float) -> Answer:
        charge_s = answer.cpu_s
        if answer.status == "timeout":
            # One that waits instead of working is charged as well, or sleeping would be free. And two calls of the
            # requester's that meet their limit spend the budget: the candidate is lost, each further one only costs.
            charge_s = max(charge_s, call_s, self._limits.total_cpu_s / 2 if given else 0.0)
        self._spent_s[given] += charge_s
        if self._child is not None:
            self.peak_kib = max(self.peak_kib, self._child.peak_kib)
        return answer

    def end(self) -> None:
        if self._child is not None:
            self._child.end()
            self.peak_kib = max(self.peak_kib, self._child.peak_kib)


class Supervisor:
    """Runs one job after another.

    say       tells Grace one outcome: the line, and the candidate's own bytes after it
    restrict  takes from a child, for ever, all but reading the interpreter and writing below the folder named
    suites    descriptor of a file with the tests, a JSON list of texts: read by testers, never by this process, so that
              no candidate forked from it can find them in its memory
    scratch   folder in which each child gets one of its own
    """

    def __init__(
        self,
        limits: Limits,
        say: Callable[[Line, bytes], None],
        restrict: Callable[[str], None],
        suites: int,
        scratch: str,
        step_name: str,
    ) -> None:
        self._limits, self._say, self._restrict = limits, say, restrict
        self._suites, self._scratch, self._step_name = suites, scratch, step_name
        self._forks = 0
        self._base_kib = 0

    def measure_base(self) -> None:
        """Learn what an idle child weighs, so that a candidate's peak is its own."""
        idle = self._fork(lambda commands, answer: answer({"ready": True}))
        idle.ask(None, 1.0, self._limits.wall_s)
        idle.end(kill=False)
        self._base_kib = idle.peak_kib

    def run(self, job: Line) -> None:
        """Put every call and every suite to one candidate, saying each outcome as it comes."""
        code, entry_point = job["code"], job["entry_point"]
        trial = Trial(self._limits, lambda: self._fork(partial(serve_candidate, code, entry_point)))
        for number, arguments in enumerate(job["calls"]):
            outcome = trial.ask(json.dumps(arguments).encode(), number < job["given_calls"])
            line = {"call": number, "status": outcome.status, "note": outcome.note, "size": len(outcome.payload)}
            self._say({**line, "cpu_ms": round(outcome.cpu_s * 1000, 3)}, outcome.payload)
        for suite in range(job["suites"]):
            self._test(suite, entry_point, trial, suite < job["given_suites"])
        trial.end()
        self._sweep()
        peak_kib = max(0, trial.peak_kib - self._base_kib)
        self._say({"done": True, "peak_kib": peak_kib, "cpu_ms": round(trial.spent_s * 1000, 3)}, b"")

    def _fork(self, body: Body, inherited: int | None = None) -> Child:
        self._forks += 1
        folder = f"{self._scratch}/{self._forks}"
        os.mkdir(folder, 0o700)

        def confined(commands: Iterator[bytes], answer: Callable[[Line], None]) -> None:
            os.chdir(folder)
            os.environ["TMPDIR"] = os.environ["HOME"] = folder
            _limit(self._limits)
            self._restrict(folder)
            body(commands, answer)

        return Child(confined, inherited)

    def _sweep(self) -> None:
        """Empty the scratch folder: what one candidate wrote, no other finds."""
        for name in os.listdir(self._scratch):
            path = f"{self._scratch}/{name}"
            for folder, _, _ in os.walk(path):
                os.chmod(folder, 0o700)
            shutil.rmtree(path, ignore_errors=True)

    def _test(self, suite: int, entry_point: str, trial: Trial, given: bool) -> None:
        """Let a tester run one suite, passing its calls on to the candidate's process."""

        def body(replies: Iterator[bytes], tell: Callable[[Line], None]) -> None:
            texts = json.loads(os.pread(INHERITED, os.fstat(INHERITED).st_size, 0))
            serve_tester(texts[suite], entry_point, self._step_name, replies, tell)

        tester = self._fork(body, self._suites)
        budget_s = 3 * self._limits.total_cpu_s
        reply: bytes | None = None
        while True:
            said = tester.ask(reply, budget_s, self._limits.wall_s)
            budget_s -= said.cpu_s
            line = _parsed(said)
            if "call" in line:
                outcome = trial.ask(json.dumps(line["call"]).encode(), given)
                reply = outcome.payload if outcome.status == "answered" else _stopped(outcome)
            elif "step" in line:
                reply = None
                self._say({"suite": suite, **line}, b"")
            else:
                self._say({"suite": suite, "ended": line.get("ended", {"verdict": "error", "note": said.note})}, b"")
                break
        tester.end()


def _parsed(said: Answer) -> Line:
    try:
        line = json.loads(said.payload)
    except (ValueError, RecursionError):
        return {}
    return line if isinstance(line, dict) else {}


def _stopped(outcome: Answer) -> bytes:
    verdict = "timeout" if outcome.status in ("timeout", "overspent") else "error"
    return json.dumps({"stopped": verdict, "message": outcome.note}).encode()


def _limit(limits: Limits) -> None:
    cpu_s = int(3 * limits.total_cpu_s) + 2  # a backstop behind the supervisor's own clock
    for what, soft, hard in (
        (resource.RLIMIT_CPU, cpu_s, cpu_s + 1),
        (resource.RLIMIT_AS, limits.memory_bytes, limits.memory_bytes),
        (resource.RLIMIT_NPROC, limits.processes, limits.processes),
        (resource.RLIMIT_FSIZE, limits.file_bytes, limits.file_bytes),
        (resource.RLIMIT_CORE, 0, 0),
        (resource.RLIMIT_NOFILE, 256, 256),
    ):
        resource.setrlimit(what, (soft, hard))


def main(lines: BinaryIO, out: BinaryIO, scratch: str = "/tmp") -> None:
    """Confine this process, say hello, then run jobs until the lines end."""
    configuration = json.loads(lines.readline())
    readable = configuration["readable"]
    program = base64.b64decode(configuration["filter"])

    def say(line: Line, payload: bytes) -> None:
        out.write(json.dumps(line).encode() + b"\n" + payload)
        out.flush()

    def restrict(folder: str) -> None:
        confine(folder, readable)
        install_filter(program)

    for name in MODULES.split():
        importlib.import_module(name)
    abi = confine(scratch, readable)
    seccomp = ctypes.CDLL(None).prctl(PR_GET_SECCOMP, 0, 0, 0, 0)
    limits = Limits(**configuration["limits"])
    supervisor = Supervisor(limits, say, restrict, configuration["suites"], scratch, configuration["step"])
    supervisor.measure_base()
    say({"landlock": abi, "seccomp": seccomp, "python": sys.version.split()[0], "uid": os.getuid()}, b"")
    for line in lines:
        supervisor.run(json.loads(line))
