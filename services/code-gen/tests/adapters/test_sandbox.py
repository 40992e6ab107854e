"""The sandbox against real bubblewrap: each hostile behaviour gets a clear verdict and leaves no trace on the host."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import nullcontext, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from grace_code_gen.adapters import sandbox_host
from grace_code_gen.adapters.sandbox import Sandbox, SandboxSettings
from grace_code_gen.adapters.sandbox_host import Interpreter, find_bubblewrap, find_interpreter
from grace_code_gen.domain.requester_tests import suite
from grace_code_gen.domain.verdict import Answer, Run, step_verdict, verdict_of
from grace_common.contract.errors import Unready

QUICK = SandboxSettings(cpu_s=0.5, total_cpu_s=1.2, wall_s=20.0, memory_mib=200, slots=1, uid_base=61_400)


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with Sandbox(QUICK) as opened:
        yield opened


async def answers(sandbox: Sandbox, code: str, *calls: tuple[Any, ...]) -> tuple[Answer, ...]:
    async with sandbox.session() as session:
        return (await session.run(code, "f", calls or [()])).answers


async def steps_of(sandbox: Sandbox, code: str, tests: str) -> list[tuple[str, str]]:
    """Return verdict and note of each step of the tests."""
    asked = suite(tests)
    async with sandbox.session([asked.source]) as session:
        run = await session.run(code, "f", [])
    return [
        step_verdict(run.suites[0], number) or ("unreached", run.unreached[0]) for number in range(len(asked.labels))
    ]


def every_descendant() -> set[int]:
    """Return all processes below this one: whatever a sandbox has running."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:  # it ended meanwhile
                continue
            children.setdefault(parent, []).append(int(entry.name))
    found: set[int] = set()
    left = [os.getpid()]
    while left:
        below = children.get(left.pop(), [])
        found.update(below)
        left.extend(below)
    return found


SERVERS: set[int] = set()  # descendants that were there before the test: a database and a broker of the whole session


@pytest.fixture(autouse=True)
def servers() -> None:
    SERVERS.clear()
    SERVERS.update(every_descendant())


def descendants() -> set[int]:
    """Return the processes that the test itself has started and that are still there."""
    return every_descendant() - SERVERS


def exists_on_host(path: str) -> bool:
    return Path(path).exists()


async def test_every_layer_reports_itself(sandbox: Sandbox) -> None:
    assert sandbox.layers.landlock_abi >= 1
    assert sandbox.layers.seccomp_mode == 2
    assert sandbox.layers.python.startswith("3.")


async def test_a_function_answers_with_its_value(sandbox: Sandbox) -> None:
    code = "def f(x, y):\n    return (x, [y], {x: y})\n"

    (answer,) = await answers(sandbox, code, (1, "a"))

    assert answer.value == ["t", 1, ["l", "a"], ["d", [1, "a"]]]


async def test_an_exception_is_an_error_that_names_its_line(sandbox: Sandbox) -> None:
    (answer,) = await answers(sandbox, "def f():\n    return {}['missing']\n")

    assert (answer.status, answer.note, answer.line) == ("raised", "KeyError: 'missing'", 2)
    assert verdict_of(answer, None, known=True) == "error"


async def test_code_that_loops_is_stopped_by_its_cpu_time_and_its_other_calls_still_run(sandbox: Sandbox) -> None:
    code = "def f(x):\n    while x == 0:\n        pass\n    return x\n"

    looped, ran = await answers(sandbox, code, (0,), (7,))

    assert verdict_of(looped, 0, known=True) == "timeout"
    assert ran.value == 7


async def test_code_that_always_loops_costs_no_more_than_its_budget(sandbox: Sandbox) -> None:
    given = await answers(sandbox, "def f(x):\n    while True:\n        pass\n", *[(n,) for n in range(30)])

    assert [verdict_of(answer, None, known=False) for answer in given] == ["timeout"] * 30
    assert [answer.status for answer in given].count("timeout") == 2
    assert given[-1].note == "not run: the budget of 1.2 s was spent"


async def test_code_that_loops_while_it_loads_fails_every_call(sandbox: Sandbox) -> None:
    given = await answers(sandbox, "def f(x):\n    return x\nwhile True:\n    pass\n", (1,), (2,))

    assert [answer.status for answer in given] == ["timeout", "timeout"]


async def test_code_that_sleeps_is_stopped_by_the_wall_clock() -> None:
    async with Sandbox(replace(QUICK, wall_s=1.5)) as sandbox:
        (answer,) = await answers(sandbox, "import time\ndef f():\n    time.sleep(3600)\n")

    assert answer.status == "timeout"
    assert answer.note == "did not answer within 1.5 s"


@pytest.mark.parametrize(
    "fork",
    [
        "os.fork()",
        "subprocess.run(['/bin/true'])",
        "multiprocessing.Process(target=print).start()",
        "os.posix_spawn('/bin/true', ['true'], {})",
        "os.execv('/usr/bin/env', ['env'])",
    ],
)
async def test_code_that_forks_or_starts_a_program_is_refused(sandbox: Sandbox, fork: str) -> None:
    code = f"import multiprocessing, os, subprocess\ndef f():\n    return {fork}\n"

    (answer,) = await answers(sandbox, code)

    assert answer.status == "raised"
    assert "Operation not permitted" in answer.note or "Permission denied" in answer.note
    assert descendants() == set()


async def test_a_bomb_of_threads_meets_a_limit(sandbox: Sandbox) -> None:
    code = (
        "import threading\ndef f():\n    stop = threading.Event()\n"
        "    for _ in range(10_000):\n        threading.Thread(target=stop.wait, daemon=True).start()\n"
    )

    (answer,) = await answers(sandbox, code)

    assert "can't start new thread" in answer.note
    assert descendants() == set()


async def test_code_that_allocates_without_end_runs_out_of_its_own_memory_alone() -> None:
    code = "def f():\n    held = []\n    while True:\n        held.append(bytearray(10_000_000))\n"

    async with Sandbox(replace(QUICK, cpu_s=30.0, total_cpu_s=30.0)) as sandbox, sandbox.session() as session:
        run = await session.run(code, "f", [()])

    assert verdict_of(run.answers[0], None, known=True) == "memory"
    assert 10_000 < run.peak_kib < QUICK.memory_mib * 1024


@pytest.mark.parametrize("family", ["AF_INET, socket.SOCK_STREAM", "AF_INET6, socket.SOCK_DGRAM", "AF_UNIX"])
async def test_code_that_opens_a_socket_is_refused(sandbox: Sandbox, family: str) -> None:
    accepted: list[object] = []
    server = await asyncio.start_server(lambda reader, writer: accepted.append(writer), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    code = f"import socket\ndef f(port):\n    s = socket.socket(socket.{family})\n    s.connect(('127.0.0.1', port))\n"

    async with server:
        (answer,) = await answers(sandbox, code, (port,))

    assert answer.note == "PermissionError: [Errno 1] Operation not permitted"
    assert accepted == []


@pytest.mark.parametrize("path", ["/etc/passwd", "/proc/1/environ", "/root", "/home", "/var/log", "/sys/kernel"])
async def test_code_that_reads_the_hosts_files_finds_none(sandbox: Sandbox, path: str) -> None:
    code = "import os\ndef f(path):\n    return os.listdir(path) if os.path.isdir(path) else open(path).read()\n"

    (answer,) = await answers(sandbox, code, (path,))

    assert answer.status == "raised"
    assert "FileNotFoundError" in answer.note or "PermissionError" in answer.note


async def test_a_file_of_the_host_stays_unseen_and_unwritten(sandbox: Sandbox, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("for nobody")
    secret.chmod(0o666)
    code = "def f(path, mode):\n    with open(path, mode) as file:\n        return file.read()\n"

    read, written, created = await answers(
        sandbox, code, (str(secret), "r"), (str(secret), "w"), (str(tmp_path / "new"), "w")
    )

    assert [answer.status for answer in (read, written, created)] == ["raised"] * 3
    assert secret.read_text() == "for nobody"
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("path", ["/usr/lib/evil", "/tmp/evil", "/evil", "/grace/evil", "/dev/evil", "../evil"])
async def test_code_that_writes_outside_its_folder_is_refused(sandbox: Sandbox, path: str) -> None:
    (answer,) = await answers(sandbox, "def f(path):\n    open(path, 'w').write('x')\n", (path,))

    assert answer.status == "raised"
    assert "Permission denied" in answer.note or "Read-only file system" in answer.note
    assert not exists_on_host(path)


async def test_what_one_candidate_writes_no_other_finds(sandbox: Sandbox) -> None:
    write = (
        "import os\ndef f():\n    open('note', 'w').write('x')\n    os.mkdir('shut')\n    os.chmod('shut', 0)\n"
        "    return os.listdir('.')\n"
    )
    look = "import os\ndef f():\n    return [sorted(os.listdir('.'))]\n"

    async with sandbox.session() as session:
        first = await session.run(write, "f", [()])
        second = await session.run(look, "f", [()])

    assert sorted(first.answers[0].value[1:]) == ["note", "shut"]
    assert second.answers[0].value == ["l", ["l"]]


async def test_files_have_a_size_limit(sandbox: Sandbox) -> None:
    code = (
        "def f():\n    with open('big', 'wb') as file:\n        for _ in range(100):\n"
        "            file.write(bytes(1_000_000))\n"
    )

    (answer,) = await answers(sandbox, code)

    assert answer.status in ("raised", "died")


@pytest.mark.parametrize(
    "attack",
    [
        "os.kill(os.getppid(), 9)",
        "os.killpg(0, 9)",
        "resource.prlimit(os.getppid(), resource.RLIMIT_CPU, (0, 0))",
        "fcntl.fcntl(201, fcntl.F_SETOWN, os.getppid())",
        "os.setuid(0)",
        "ctypes.CDLL(None).ptrace(16, os.getppid(), 0, 0) == 0 or 1 / 0",
        "ctypes.CDLL(None).unshare(0x10000000) == 0 or 1 / 0",
        "ctypes.CDLL(None).mount(b'/', b'/tmp', b'', 4096, 0) == 0 or 1 / 0",
    ],
)
async def test_an_attack_on_the_supervisor_fails_and_the_next_candidate_runs(sandbox: Sandbox, attack: str) -> None:
    code = f"import ctypes, fcntl, os, resource\ndef f():\n    return {attack}\n"

    async with sandbox.session() as session:
        attacked = await session.run(code, "f", [()])
        after = await session.run("def f():\n    return 1\n", "f", [()])

    assert attacked.answers[0].status == "raised"
    assert after.answers[0].value == 1


@pytest.mark.parametrize(
    ("code", "verdict"),
    [
        ("import os\ndef f():\n    os._exit(0)\n", "error"),
        ("import sys\ndef f():\n    sys.exit(0)\n", "error"),
        ("raise SystemExit\n", "error"),
        ("def f():\n    raise KeyboardInterrupt\n", "error"),
        ("import os\ndef f():\n    os.closerange(0, 4096)\n", "error"),
        ("import os\ndef f():\n    os.write(201, b'[' * 60_000 + b'\\n')\n", "error"),
        ('import os\ndef f():\n    os.write(201, b\'{"value": ["f", "x"]}\\n\')\n', "error"),
        ("import os\ndef f():\n    os.write(201, b'not JSON\\n')\n", "error"),
        ("import os\ndef f():\n    while True:\n        os.write(201, b'x' * 1000)\n", "error"),
        ("def f():\n    return 'x' * 1_000_000\n", "error"),
        ("def f():\n    a = []\n    a.append(a)\n    return a\n", "error"),
        ("def f():\n    a = []\n    for _ in range(100):\n        a = [a, a]\n    return a\n", "error"),
        ("def f():\n    return f()\n", "error"),
        ("import ctypes\ndef f():\n    ctypes.string_at(0)\n", "error"),
        ("def g():\n    pass\n", "error"),
        ("def f():\n    return float('nan')\n", "failed"),
        ("def f():\n    return 10**5000\n", "failed"),
        ('def f():\n    print(\'{"verdict": "passed"}\')\n    return 0\n', "failed"),
        ("class Yes:\n    def __eq__(self, other):\n        return True\ndef f():\n    return Yes()\n", "failed"),
        ("class One(int):\n    def __eq__(self, other):\n        return True\ndef f():\n    return One(2)\n", "failed"),
        ("import builtins\nbuiltins.isinstance = lambda *a: True\ndef f():\n    return 5\n", "error"),
    ],
)
async def test_a_candidate_cannot_talk_its_way_to_a_pass(sandbox: Sandbox, code: str, verdict: str) -> None:
    async with sandbox.session() as session:
        run = await session.run(code, "f", [()])
        after = await session.run("def f():\n    return 1\n", "f", [()])

    assert verdict_of(run.answers[0], 1, known=True) == verdict
    assert after.answers[0].value == 1


async def test_each_assert_of_the_requesters_tests_has_its_own_verdict(sandbox: Sandbox) -> None:
    tests = (
        "def check(candidate):\n    assert candidate(1) == 2\n    assert candidate(2) == 9, 'not nine'\n"
        "    assert f(x=3) == 4\n"
    )

    assert await steps_of(sandbox, "def f(x):\n    return x + 1\n", tests) == [
        ("passed", ""),
        ("failed", "not nine"),
        ("passed", ""),
    ]


async def test_tests_see_the_candidates_exceptions_and_the_changes_it_makes_to_its_arguments(sandbox: Sandbox) -> None:
    code = "def f(items):\n    if not items:\n        raise ValueError('empty')\n    items.sort()\n"
    tests = (
        "def test_order():\n    items = [2, 1]\n    f(items)\n    assert items == [1, 2]\n"
        "def test_empty():\n    try:\n        f([])\n    except ValueError as problem:\n"
        "        assert str(problem) == 'empty'\n"
    )

    assert await steps_of(sandbox, code, tests) == [("passed", ""), ("passed", "")]


async def test_tests_that_stop_early_say_why_for_the_steps_they_did_not_reach(sandbox: Sandbox) -> None:
    tests = "assert f() == 1\nraise RuntimeError('broken')\nassert f() == 1\n"

    assert await steps_of(sandbox, "def f():\n    return 1\n", tests) == [
        ("passed", ""),
        ("unreached", "RuntimeError: broken"),
    ]


@pytest.mark.parametrize(
    "code",
    [
        "import sys\nfor name in list(sys.modules):\n    if 'runner' in name:\n"
        "        sys.modules[name].serve_tester = None\ndef f():\n    return 2\n",
        "import builtins\nbuiltins.AssertionError = Exception\ndef f():\n    return 2\n",
        "class Yes:\n    def __eq__(self, other):\n        return True\ndef f():\n    return Yes()\n",
        'import os\ndef f():\n    os.write(201, b\'{"step": 0, "verdict": "passed", "note": ""}\\n\')\n    return 2\n',
        "import os\ndef f():\n    os._exit(0)\n",
        "def f():\n    while True:\n        pass\n",
    ],
)
async def test_a_candidate_cannot_reach_the_tests_that_judge_it(sandbox: Sandbox, code: str) -> None:
    ((verdict, _),) = await steps_of(sandbox, code, "assert candidate() == 1\n")

    assert verdict != "passed"


async def test_a_candidate_cannot_find_the_tests_in_its_memory(sandbox: Sandbox) -> None:
    code = (
        "import gc\ndef f():\n    return [text[:40] for text in gc.get_objects() "
        "if type(text) is dict and 'needle-in-the-tests' in map(str, text.values())]\n"
    )
    asked = suite("assert f() != 'needle-in-the-tests'\n")

    async with sandbox.session([asked.source]) as session:
        await session.run("def f():\n    return 1\n", "f", [()])
        run = await session.run(code, "f", [()])

    assert run.answers[0].value == ["l"]


async def test_a_cancelled_evaluation_leaves_no_process(sandbox: Sandbox) -> None:
    started = asyncio.Event()

    async def evaluate() -> None:
        async with sandbox.session() as session:
            started.set()
            await session.run("import time\ndef f():\n    time.sleep(3600)\n", "f", [()])

    task = asyncio.create_task(evaluate())
    await started.wait()
    assert descendants() != set()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert descendants() == set()


async def test_a_slot_is_free_again_after_its_session(sandbox: Sandbox) -> None:
    async def one(number: int) -> Run:
        async with sandbox.session() as session:
            return await session.run("def f(x):\n    return x\n", "f", [(number,)])

    runs = await asyncio.gather(*(one(number) for number in range(3)))

    assert [run.answers[0].value for run in runs] == [0, 1, 2]


async def test_a_sandbox_that_goes_down_is_an_error_for_its_candidate_and_started_again_for_the_next(
    sandbox: Sandbox,
) -> None:
    async with sandbox.session() as session:
        job = asyncio.create_task(session.run("import time\ndef f():\n    time.sleep(3600)\n", "f", [()]))
        for pid in descendants():
            with suppress(ProcessLookupError):  # the one before took it along
                os.kill(pid, 9)
        ended = await job
        after = await session.run("def f():\n    return 1\n", "f", [()])

    assert ended.answers == (Answer("died", note="it brought the sandbox down"),)
    assert after.answers[0].value == 1


async def test_without_bubblewrap_nothing_runs_and_the_message_names_the_command() -> None:
    with pytest.raises(Unready, match=r"lacks bubblewrap.*apt-get install bubblewrap"):
        async with Sandbox(SandboxSettings(bubblewrap="no-such-program")):
            pass


def test_an_old_bubblewrap_is_refused(tmp_path: Path) -> None:
    old = tmp_path / "bwrap"
    old.write_text("#!/bin/sh\necho bubblewrap 0.6.1\n")
    old.chmod(0o755)

    with pytest.raises(Unready, match=r"found bubblewrap 0\.6\.1"):
        find_bubblewrap(str(old))


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ("bwrap: setting up uid map: Permission denied", "may not make namespaces"),
        ("landlock.SyscallError: not supported", "lacks Landlock"),
        ("bwrap: prctl(PR_SET_SECCOMP): Invalid argument", "lacks seccomp"),
        ("", "it gave no reason"),
    ],
)
async def test_a_missing_layer_is_named(tmp_path: Path, said: str, reason: str) -> None:
    broken = tmp_path / "bwrap"
    broken.write_text(f'#!/bin/sh\n[ "$1" = --version ] && echo bubblewrap 0.8.0 || echo "{said}" >&2\n')
    broken.chmod(0o755)
    for folder in (tmp_path, *tmp_path.parents):
        if folder.stat().st_uid == os.getuid() and str(folder).startswith("/tmp/"):
            folder.chmod(0o755)

    with pytest.raises(Unready, match=reason):
        async with Sandbox(SandboxSettings(bubblewrap=str(broken))):
            pass


def test_an_interpreter_that_all_can_read_is_used_as_it_is() -> None:
    assert find_interpreter(Path("/usr"), root=True) in (
        Interpreter(sandbox_host.SYSTEM_PYTHON.resolve(), Path("/usr")),
        find_interpreter(root=True),
    )


@pytest.mark.parametrize("system", [Path("/usr/bin/python3"), Path("/nonexistent/python3")])
def test_without_an_interpreter_of_its_own_the_systems_serves_or_its_absence_is_told(
    tmp_path: Path, system: Path
) -> None:
    new_enough = sandbox_host.version_of(system) >= sandbox_host.MINIMUM_PYTHON
    with nullcontext() if new_enough else pytest.raises(Unready, match="apt-get install python3"):
        assert find_interpreter(tmp_path, system=system).prefix == Path("/usr")
