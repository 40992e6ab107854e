"""The sandbox, seen from outside: untrusted Python goes in, and what it answered comes out.

Layers, each of which must be there or nothing runs: bubblewrap (own user, pid, network, mount, ipc and uts
namespaces, read-only root, private /tmp with a size), a uid of its own, rlimits, two seccomp programs
(`syscall_filters`), and Landlock. One session serves one task: a warm interpreter (`sandbox_runner`) that forks a
process per candidate. Results are bytes of the candidate's own making and are judged out here, by `domain.verdict`;
nothing that is expected ever goes in.
"""

import asyncio
import base64
import importlib.util
import io
import json
import os
import shutil
import signal
import tempfile
import zipfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final, Self

from grace_common.contract.errors import Unready

from grace_code_gen.adapters import sandbox_host as host
from grace_code_gen.adapters import sandbox_runner as runner
from grace_code_gen.adapters.syscall_filters import candidate_filter, sandbox_filter
from grace_code_gen.domain import requester_tests, values
from grace_code_gen.domain.verdict import Answer, Run, Step

START_S: Final = 30.0  # a busy machine may take seconds to start an interpreter; nothing is judged by this
BUNDLED: Final = ("grace_code_gen.domain.values", "grace_code_gen.adapters.sandbox_runner")
LANDLOCK: Final = ("landlock", "landlock.plumbing", "landlock.porcelain")
LANDLOCK_HELP: Final = "a Linux kernel of 5.13 or newer started with landlock in its lsm= list"


@dataclass(frozen=True, slots=True)
class SandboxSettings:
    """Bounds of one candidate and of the sandbox.

    cpu_s        CPU seconds of one of the requester's calls    total_cpu_s   of all of them; two timeouts spend it
    probe_cpu_s  CPU seconds of one generated call              probes_cpu_s  of all of them
    wall_s       generous bound on waiting                      memory_mib    address space of a candidate's process
    tmp_mib      size of the private /tmp                       slots         sessions at a time, each with its own uid
    uid_base     first of these uids, used when Grace runs as root; otherwise Grace's own uid serves
    """

    cpu_s: float = 1.0
    total_cpu_s: float = 3.0
    probe_cpu_s: float = 0.25
    probes_cpu_s: float = 1.0
    wall_s: float = 10.0
    memory_mib: int = 256
    tmp_mib: int = 16
    slots: int = 2
    uid_base: int = 61_000
    bubblewrap: str = "bwrap"


@dataclass(frozen=True, slots=True)
class Layers:
    """What stands between a candidate and the machine, as the sandbox itself reported."""

    bubblewrap: str
    landlock_abi: int
    seccomp_mode: int
    python: str


class Ended(Exception):
    """The sandbox went down with a job in it."""


@dataclass
class Sandbox:
    """Starts sessions; entering it proves every layer with an empty one."""

    settings: SandboxSettings = field(default_factory=SandboxSettings)

    async def __aenter__(self) -> Self:
        self._bubblewrap = host.find_bubblewrap(self.settings.bubblewrap)
        self._interpreter = await asyncio.to_thread(host.find_interpreter)
        self._bundle, self._outer, self._inner = _bundle(), sandbox_filter(), candidate_filter()
        self._slots: asyncio.LifoQueue[int] = asyncio.LifoQueue()
        for slot in range(self.settings.slots):
            self._slots.put_nowait(slot)
        self._folder = Path(tempfile.mkdtemp(prefix="grace-sandbox-"))
        self._folder.chmod(0o755)  # the sandbox's user passes through it to a mounted interpreter
        (self._folder / "python").mkdir(mode=0o755)
        try:
            async with self.session() as session:
                self.layers = session.layers
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)

    @asynccontextmanager
    async def session(self, suites: Sequence[str] = ()) -> AsyncIterator["Session"]:
        """Yield a running session once a slot is free; when the block ends, for whatever reason, no process is left.

        suites  instrumented tests (`requester_tests.Suite.source`) that `Session.run` puts to every candidate
        """
        slot = await self._slots.get()
        session = Session(self, slot, suites)
        try:
            await session.start()
            yield session
        finally:
            try:
                await session.close()
            finally:
                self._slots.put_nowait(slot)

    def uid(self, slot: int) -> int:
        """Return the uid of a slot's processes, as the host counts them."""
        return self.settings.uid_base + slot if os.geteuid() == 0 else os.getuid()

    async def spawn(
        self, slot: int, seccomp: int, bundle: int, info: int, suites: int, log: int
    ) -> asyncio.subprocess.Process:
        """Start bubblewrap with the runner in it; the numbers after the slot are descriptors."""
        mount_point = self._folder / "python" if self._interpreter.hidden else None
        tmp_bytes = self.settings.tmp_mib * 1024 * 1024
        line = host.command(self._bubblewrap, self._interpreter, mount_point, tmp_bytes, info, seccomp, bundle)
        if os.geteuid() == 0:
            line = host.as_user(line, self.uid(slot), self._interpreter, mount_point)
        try:
            return await asyncio.create_subprocess_exec(
                *line,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                pass_fds=(info, seccomp, bundle, suites),
                cwd="/",
                env={"PATH": os.defpath + ":/usr/sbin:/sbin"},
                start_new_session=True,
            )
        except FileNotFoundError as problem:  # it was there when the sandbox was opened
            raise Unready(f"the sandbox lacks {problem.filename}; type: {host.INSTALL_BUBBLEWRAP}") from problem

    def configuration(self, suites: int) -> dict[str, Any]:
        """Return the runner's first line."""
        settings = self.settings
        limits = runner.Limits(
            call_cpu_s=settings.cpu_s,
            total_cpu_s=settings.total_cpu_s,
            probe_cpu_s=settings.probe_cpu_s,
            probes_cpu_s=settings.probes_cpu_s,
            wall_s=settings.wall_s,
            memory_bytes=settings.memory_mib * 1024 * 1024,
        )
        return {
            "filter": base64.b64encode(self._inner).decode(),
            "readable": host.readable_paths(self._interpreter),
            "limits": asdict(limits),
            "suites": suites,
            "step": requester_tests.STEP,
        }

    def bundle(self) -> tuple[bytes, bytes]:
        """Return the runner's zip and the filter that bubblewrap loads."""
        return self._bundle, self._outer


class Session:
    """One running sandbox. Jobs go one at a time; a sandbox that a job brings down is started anew for the next."""

    def __init__(self, sandbox: Sandbox, slot: int, suites: Sequence[str]) -> None:
        self._sandbox, self._slot, self._suites = sandbox, slot, list(suites)
        self._process: asyncio.subprocess.Process | None = None
        self._init: int | None = None  # pidfd of the first process inside: when it ends, the kernel ends all others
        self._info: int | None = None
        self._log: int | None = None
        self.layers: Layers

    async def start(self) -> None:
        """Start the sandbox and hear its hello; Unready, naming the layer, when one is missing."""
        bundle, outer = self._sandbox.bundle()
        texts = json.dumps(self._suites).encode()
        files = [_memory_file("filter", outer), _memory_file("bundle", bundle), _memory_file("suites", texts)]
        self._info, info = os.pipe()
        os.set_blocking(self._info, False)
        self._log = os.memfd_create("log")
        try:
            self._process = await self._sandbox.spawn(self._slot, files[0], files[1], info, files[2], self._log)
        finally:
            for descriptor in (*files, info):
                os.close(descriptor)
        # Descriptors keep their numbers across bubblewrap, so the runner finds the suites where they were.
        await self._send(self._sandbox.configuration(files[2]))
        try:
            async with asyncio.timeout(START_S):
                hello, _ = await self._hear()
        except (Ended, TimeoutError) as problem:
            raise Unready(self._reason()) from problem
        self._watch_init()
        if hello["seccomp"] != runner.SECCOMP_MODE_FILTER:
            raise Unready("the sandbox lacks seccomp: the kernel did not load bubblewrap's filter")
        self.layers = Layers("bubblewrap", hello["landlock"], hello["seccomp"], hello["python"])

    async def run(
        self,
        code: str,
        entry_point: str,
        calls: Sequence[Sequence[Any]],
        given_calls: int | None = None,
        given_suites: int | None = None,
    ) -> Run:
        """Put every call and every suite of the session to one candidate and return what it answered.

        calls         the arguments of each call, as Python values
        given_calls   how many of them, from the first, are the requester's; the rest are generated. None: all
        given_suites  the same of the session's suites
        """
        if self._process is None:
            await self.start()
        answers: dict[int, Answer] = {}
        steps: list[list[Step]] = [[] for _ in self._suites]
        unreached = ["the tests ended before this step"] * len(self._suites)
        encoded = [values.encode((list(arguments), {})) for arguments in calls]
        job: dict[str, Any] = {"code": code, "entry_point": entry_point, "calls": encoded, "suites": len(self._suites)}
        job["given_calls"] = len(calls) if given_calls is None else given_calls
        job["given_suites"] = len(self._suites) if given_suites is None else given_suites
        settings = self._sandbox.settings
        wall_s = START_S + settings.wall_s * (2 + len(self._suites)) + 3 * settings.total_cpu_s
        done: dict[str, Any] = {"peak_kib": 0, "cpu_ms": 0.0}
        fault = None
        try:
            async with asyncio.timeout(wall_s):
                await self._send(job)
                while True:
                    line, payload = await self._hear()
                    if "done" in line:
                        done = line
                        break
                    if "call" in line:
                        answers[line["call"]] = _answer(line, payload)
                    elif "step" in line:
                        steps[line["suite"]].append(Step(int(line["step"]), str(line["verdict"]), str(line["note"])))
                    elif line["ended"] is not None:
                        unreached[line["suite"]] = str(line["ended"]["note"])
        except (Ended, TimeoutError):
            fault = "it brought the sandbox down"
            await self.close()
        missing = Answer("died", note=fault or "")
        return Run(
            answers=tuple(answers.get(number, missing) for number in range(len(calls))),
            suites=tuple(tuple(told) for told in steps),
            unreached=tuple(fault or note for note in unreached),
            peak_kib=int(done["peak_kib"]),
            cpu_ms=float(done["cpu_ms"]),
        )

    async def close(self) -> None:
        """Kill all that is inside and wait until the kernel says it is gone."""
        process, self._process = self._process, None
        if process is not None:
            self._watch_init()
            with suppress(ProcessLookupError):
                if self._init is not None:
                    signal.pidfd_send_signal(self._init, signal.SIGKILL)  # bubblewrap then ends by itself
                else:
                    process.kill()
            await asyncio.shield(self._gone(process))
        self._release()

    async def _gone(self, process: asyncio.subprocess.Process) -> None:
        if self._init is not None:
            loop, ended = asyncio.get_running_loop(), asyncio.Event()
            loop.add_reader(self._init, ended.set)
            try:
                await ended.wait()
            finally:
                loop.remove_reader(self._init)
        await process.wait()
        if process.stdin is not None:
            process.stdin.close()
            with suppress(ConnectionResetError, BrokenPipeError):
                await process.stdin.wait_closed()

    def _release(self) -> None:
        for descriptor in (self._init, self._info, self._log):
            if descriptor is not None:
                os.close(descriptor)
        self._init = self._info = self._log = None

    def _watch_init(self) -> None:
        """Take hold of the sandbox's first process by the pid that bubblewrap reported."""
        if self._init is not None or self._info is None:
            return
        with suppress(BlockingIOError, ValueError, ProcessLookupError):
            self._init = os.pidfd_open(json.loads(os.read(self._info, 4096))["child-pid"])

    async def _send(self, line: dict[str, Any]) -> None:
        _, stdin = self._pipes()
        stdin.write(json.dumps(line).encode() + b"\n")
        with suppress(ConnectionResetError, BrokenPipeError):  # what is wrong shows when it does not answer
            await stdin.drain()

    async def _hear(self) -> tuple[dict[str, Any], bytes]:
        stdout, _ = self._pipes()
        try:
            line = json.loads(await stdout.readuntil(b"\n"))
            return line, await stdout.readexactly(line.get("size", 0))
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError) as problem:
            raise Ended from problem

    def _pipes(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._process is None or self._process.stdout is None or self._process.stdin is None:
            raise Ended
        return self._process.stdout, self._process.stdin

    def _reason(self) -> str:
        said = os.pread(self._log, 4096, 0).decode(errors="replace").strip() if self._log is not None else ""
        last = said.splitlines()[-1] if said else "it gave no reason"
        if "landlock" in said.lower():
            return f"the sandbox lacks Landlock ({last}); it needs {LANDLOCK_HELP}"
        if "namespace" in said or "uid map" in said:
            return (
                f"the sandbox may not make namespaces ({last}); type: sysctl -w kernel.unprivileged_userns_clone=1 "
                "kernel.apparmor_restrict_unprivileged_userns=0 user.max_user_namespaces=10000; "
                "a container needs the options that deploy/README.md names"
            )
        if "seccomp" in said.lower():
            return f"the sandbox lacks seccomp ({last}); it needs a kernel with CONFIG_SECCOMP_FILTER"
        return f"the sandbox did not start: {last}"


def _answer(line: dict[str, Any], payload: bytes) -> Answer:
    """Return one answer, trusting nothing in the candidate's own bytes."""
    status, note, cpu_ms = str(line["status"]), str(line["note"]), float(line["cpu_ms"])
    if status != "answered":
        return Answer(status, note=note, cpu_ms=cpu_ms)
    try:
        said = json.loads(payload)
        if "error" in said:
            return Answer("raised", note=f"{said['error']}: {said['message']}", line=said["line"], cpu_ms=cpu_ms)
        values.require_tagged(said["value"])
        return Answer("answered", value=said["value"], cpu_ms=cpu_ms)
    except (ValueError, TypeError, KeyError, RecursionError):
        return Answer("died", note="the process answered with something that is no value", cpu_ms=cpu_ms)


def _bundle() -> bytes:
    """Return a zip of the modules the runner needs, with empty packages around them."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as bundle:
        for package in ("grace_code_gen", "grace_code_gen/domain", "grace_code_gen/adapters"):
            bundle.writestr(f"{package}/__init__.py", "")
        for name in BUNDLED:
            bundle.writestr(name.replace(".", "/") + ".py", _source(name))
        for name in LANDLOCK:
            path = "landlock/__init__.py" if name == "landlock" else name.replace(".", "/") + ".py"
            bundle.writestr(path, _source(name))
    return buffer.getvalue()


def _source(name: str) -> bytes:
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None:
        raise Unready(
            f"the sandbox lacks the Python package {name.partition('.')[0]}; type: pip install grace-code-gen"
        )
    return Path(spec.origin).read_bytes()


def _memory_file(name: str, content: bytes) -> int:
    descriptor = os.memfd_create(name)
    with open(descriptor, "wb", closefd=False) as file:
        file.write(content)
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor
