"""Keeping a child alive, its log small and its waits growing."""

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding
from grace_cli.errors import CliError
from grace_cli.stack.backoff import FIRST_S, HEALTHY_AFTER_S, LONGEST_S, Backoff, longest_wait
from grace_cli.stack.command import Command, base_environment
from grace_cli.stack.keeper import Keeper, Unfit, dechunked, ending, http_check
from grace_cli.stack.logs import RotatingLog
from grace_cli.stack.ports import free_port
from grace_cli.stack.status import Board, ChildStatus, StackStatus, State, process_of, read_status
from grace_cli.stack.supervisor import certificate_is_fresh
from hypothesis import given
from hypothesis import strategies as st

SLEEPER = (sys.executable, "-c", "import time; print('up', flush=True); time.sleep(600)")
STUBBORN = (
    sys.executable,
    "-c",
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(600)",
)
NOT_READY = b"HTTP/1.0 503 No\r\n\r\nno broker"


@given(st.lists(st.floats(0, 59), max_size=30), st.floats(0, 1))
def test_waits_stay_within_their_bounds(lives: list[float], jitter: float) -> None:
    backoff = Backoff(lambda: jitter)
    assert all(FIRST_S / 2 <= backoff.after(life) <= LONGEST_S for life in lives)


def test_waits_double_up_to_the_longest_and_begin_anew_after_a_healthy_minute() -> None:
    backoff = Backoff(lambda: 1.0)
    assert [backoff.after(1) for _ in range(7)] == [1, 2, 4, 8, 16, 30, 30]
    assert backoff.after(HEALTHY_AFTER_S) == 1


def test_the_longest_wait_is_what_the_setting_says() -> None:
    backoff = Backoff(lambda: 1.0, longest_wait({"GRACE_RESTART_LONGEST_S": "1.5"}))
    assert [backoff.after(1) for _ in range(4)] == [1, 1.5, 1.5, 1.5]
    assert longest_wait({}) == LONGEST_S


@pytest.mark.parametrize("named", ["soon", "0", "-1", "inf", "nan"])
def test_a_longest_wait_that_is_no_time_is_refused(named: str) -> None:
    with pytest.raises(CliError, match="GRACE_RESTART_LONGEST_S is"):
        longest_wait({"GRACE_RESTART_LONGEST_S": named})


def test_a_log_is_rotated_and_the_oldest_part_goes(tmp_path: Path) -> None:
    log = RotatingLog(tmp_path / "child.log", largest=10, kept=2)
    for number in range(4):
        log.write(f"line {number} long enough\n".encode())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["child.log.1", "child.log.2"]
    assert "line 3" in (tmp_path / "child.log.1").read_text()
    assert "line 2" in (tmp_path / "child.log.2").read_text()


def test_a_log_that_cannot_be_written_stops_nobody(tmp_path: Path) -> None:
    RotatingLog(tmp_path / "absent" / "child.log").write(b"lost")


class Stage:
    """One keeper with everything around it."""

    def __init__(self, folder: Path, argv: tuple[str, ...], stop_s: float = 30) -> None:
        self.lines: list[str] = []
        self.board = Board(folder / "status.json", StackStatus(1, 1.0), self.lines.append)
        self.verdict: Unfit | None = None
        self.log = RotatingLog(folder / "child.log")
        self.failure: CliError | None = None

        async def command() -> Command:
            if self.failure is not None:
                raise self.failure
            return Command(argv, base_environment({}), folder)

        async def check(child: ChildStatus) -> None:
            if self.verdict is not None:
                raise self.verdict

        backoff = Backoff(lambda: 0.0)
        self.keeper = Keeper(self.board.child("child"), self.board, self.log, command, check, backoff, stop_s)

    @property
    def child(self) -> ChildStatus:
        return self.keeper.status

    @asynccontextmanager
    async def kept(self) -> AsyncIterator["Stage"]:
        task = asyncio.create_task(self.keeper.keep())
        try:
            yield self
        finally:
            self.keeper.stop()
            await task

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(60):
            while not condition():  # noqa: ASYNC110 (a log file's appearance sets no event)
                await asyncio.sleep(0.01)


async def test_a_ready_child_is_shown_with_its_process_and_stopped_on_request(tmp_path: Path) -> None:
    async with Stage(tmp_path, SLEEPER).kept() as stage:
        await stage.board.ready("child").wait()
        found = read_status(tmp_path / "status.json")
        assert found is not None
        assert process_of(found.children[0].pid, found.children[0].started) is not None
        pid, started = stage.child.pid, stage.child.started
    assert process_of(pid, started) is None
    assert stage.child.state is State.STOPPED


async def test_a_child_that_ignores_the_signal_is_killed(tmp_path: Path) -> None:
    async with Stage(tmp_path, STUBBORN, stop_s=0.1).kept() as stage:
        await stage.until(lambda: stage.log.path.exists())
        pid, started = stage.child.pid, stage.child.started
    assert process_of(pid, started) is None


async def test_a_child_that_ends_is_started_again_and_its_end_is_told(tmp_path: Path) -> None:
    stage = Stage(tmp_path, (sys.executable, "-c", "print('the reason'); raise SystemExit(3)"))
    stage.verdict = Unfit("not yet")
    async with stage.kept():
        await stage.until(lambda: stage.child.restarts >= 2)
    assert stage.child.last_exit == 3
    assert "it ended with code 3" in "".join(stage.lines)
    assert "the reason" in stage.log.path.read_text()


async def test_a_command_that_cannot_be_made_counts_as_a_failed_start(tmp_path: Path) -> None:
    stage = Stage(tmp_path, SLEEPER)
    stage.failure = CliError("the disk is full")
    async with stage.kept():
        await stage.until(lambda: stage.child.restarts >= 1)
        assert "the disk is full" in stage.child.detail
        stage.failure = None
        await stage.board.ready("child").wait()


async def test_a_program_that_is_absent_counts_as_a_failed_start(tmp_path: Path) -> None:
    async with Stage(tmp_path, ("/no/such/program",)).kept() as stage:
        stage.verdict = Unfit("not yet")
        await stage.until(lambda: stage.child.restarts >= 1)
        assert stage.child.last_exit == 1


async def test_work_before_the_first_start_is_given_up_when_the_stack_stops(tmp_path: Path) -> None:
    stage = Stage(tmp_path, SLEEPER)
    never = asyncio.Event()

    async def before() -> None:
        await never.wait()

    task = asyncio.create_task(stage.keeper.keep(before()))
    stage.keeper.stop()
    await task
    assert stage.child.state is State.STOPPED
    assert not stage.log.path.exists()


async def test_a_failed_command_is_told_by_its_last_line(tmp_path: Path) -> None:
    stage = Stage(tmp_path, SLEEPER)
    command = Command((sys.executable, "-c", "print('first'); print('last'); raise SystemExit(4)"), {}, tmp_path)
    with pytest.raises(CliError, match=r"^last \(exit code 4"):
        await stage.keeper.run_once(command)


async def test_a_service_that_is_neither_ready_nor_healthy_cannot_recover_by_itself() -> None:
    with pytest.raises(Unfit) as raised:
        await http_check(
            await answering({"/ready": b"HTTP/1.0 503 No\r\n\r\nno broker", "/health": b"HTTP/1.0 500 No\r\n\r\n"})
        )
    assert (str(raised.value), raised.value.alive) == ("no broker", False)


async def test_a_service_that_is_healthy_but_not_ready_is_left_alone() -> None:
    with pytest.raises(Unfit) as raised:
        await http_check(
            await answering({"/ready": b"HTTP/1.0 503 No\r\n\r\nno broker", "/health": b"HTTP/1.0 200 OK\r\n\r\n"})
        )
    assert raised.value.alive


async def test_of_an_answer_in_parts_only_what_is_missing_is_told() -> None:
    answer = (
        b"HTTP/1.1 503 No\r\n\r\n"
        b'{"service":"gateway","ready":false,"components":{"broker":"ready","database":"starting","relay":"idle"}}'
    )
    with pytest.raises(Unfit, match=r"^database: starting; relay: idle$"):
        await http_check(await answering({"/ready": answer, "/health": b"HTTP/1.0 200 OK\r\n\r\n"}))


async def test_a_port_where_nobody_listens_is_no_news_of_a_child_that_starts() -> None:
    with pytest.raises(Unfit) as raised:
        await http_check(free_port())
    assert raised.value.silent


async def test_a_chunked_answer_is_told_without_its_framing() -> None:
    chunked = b"HTTP/1.1 503 No\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nno \r\n6\r\nbroker\r\n0\r\n\r\n"
    with pytest.raises(Unfit, match=r"^no broker$"):
        await http_check(await answering({"/ready": chunked, "/health": b"HTTP/1.0 200 OK\r\n\r\n"}))
    assert dechunked(b"3\r\nno \r\nzz") == b"no "


async def test_an_answer_that_is_no_http_is_not_ready() -> None:
    with pytest.raises(Unfit):
        await http_check(await answering({"/ready": b"welcome", "/health": b""}))


async def answering(answers: dict[str, bytes]) -> int:
    """Serve fixed answers on a free port for the rest of the test; return the port."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await reader.readuntil(b"\r\n\r\n")
        writer.write(answers[request.split()[1].decode()])
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port: int = server.sockets[0].getsockname()[1]
    return port


def test_ends_are_told_in_words() -> None:
    assert ending(0) == "it ended with code 0"
    assert ending(-9) == "it was ended by SIGKILL"
    assert ending(-250) == "it was ended by signal 250"


def test_a_torn_status_file_counts_as_none(tmp_path: Path) -> None:
    (tmp_path / "status.json").write_text('{"pid": 1')
    assert read_status(tmp_path / "status.json") is None
    assert read_status(tmp_path / "absent.json") is None


def test_a_reused_process_id_is_not_taken_for_the_child() -> None:
    assert process_of(1, 12.5) is None
    assert process_of(None, None) is None


def test_a_note_and_a_full_disk_do_not_stop_the_board(tmp_path: Path) -> None:
    lines: list[str] = []
    board = Board(tmp_path / "absent" / "status.json", StackStatus(1, 1.0), lines.append)
    board.note("port 8420 is taken")
    assert board.status.notes == ["port 8420 is taken"]
    assert any("cannot be written" in line for line in lines)


def certificate(folder: Path, begin: datetime, end: datetime) -> Path:
    key = Ed25519PrivateKey.generate()
    name = x509.Name([])
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(end)
        .sign(key, None)
    )
    path = folder / "cert.pem"
    path.write_bytes(made.public_bytes(Encoding.PEM))
    return path


def test_a_certificate_is_renewed_in_the_last_third_of_its_life(tmp_path: Path) -> None:
    begin = datetime(2026, 11, 1, tzinfo=UTC)
    path = certificate(tmp_path, begin, begin + timedelta(days=30))
    assert certificate_is_fresh(path, begin + timedelta(days=19))
    assert not certificate_is_fresh(path, begin + timedelta(days=21))
    assert not certificate_is_fresh(path, begin - timedelta(days=1))
    assert not certificate_is_fresh(tmp_path / "absent.pem", begin)
