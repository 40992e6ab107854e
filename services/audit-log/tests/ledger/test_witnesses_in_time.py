"""Outside witnesses over minutes that take no time: slow ones, such as fail in turns, and crashes of the audit-log."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from itertools import chain, repeat
from pathlib import Path

import httpx
import pytest
from grace_audit_log.adapters.outside_witness import HttpWitness
from grace_audit_log.domain.tree import LogIdentity
from grace_audit_log.handlers.cosigned import COSIGNED, Cosigned, Shelf
from grace_audit_log.handlers.witnesses import ASKED, Witnesses
from grace_audit_log.ports import OutsideWitness
from grace_cli.witness.memory import WitnessFile
from grace_cli.witness.server import Witness
from grace_common.contract.errors import Refused, Unready
from grace_common.testing.ledger import MemoryLog, SeededKey
from grace_common.transparency.checkpoint import open_checkpoint
from grace_common.transparency.note import NoteSignature

from .fakes import MemoryFiles
from .test_cosigned import sealed_note
from .test_witnesses import KEYS, ORIGIN, SIGNERS, Scripted, demand, grown, silent
from .timeless import timeless

TWO_OF_TWO = "group both all a b\nquorum both\n"


class Line(httpx.AsyncBaseTransport):
    """The way to a real witness and back; an answer that takes long may find nobody waiting."""

    def __init__(self, witness: Witness, takes_s: Iterator[float]) -> None:
        self._witness = witness
        self._takes_s = takes_s

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        answer = self._witness.add_checkpoint(await request.aread())
        await asyncio.sleep(next(self._takes_s))
        body = httpx.ByteStream(answer.body)
        return httpx.Response(answer.status, headers={"Content-Type": answer.content_type}, stream=body)


class Log:
    """A log in files of its own, and witnesses around it whose memory outlives each audit-log that asks them."""

    def __init__(self, folder: Path, quorum: str) -> None:
        self.log = MemoryLog(ORIGIN)
        self.keys = LogIdentity(self.log.key, SeededKey(ORIGIN).sign)
        self.files = MemoryFiles()
        self.demand = demand(quorum)
        self._folder = folder

    def witness(self, name: str) -> Witness:
        memory = WitnessFile(self._folder / f"{name}.json")
        return Witness(KEYS[name], SIGNERS[name].sign, [self.log.key], memory, lambda: 1_700_000_000)

    def over(self, witness: Witness, takes_s: Iterator[float]) -> HttpWitness:
        return HttpWitness(f"http://{witness.key.name}", witness.key, self.log, 30.0, Line(witness, takes_s))

    def asking(self, outside: dict[str, OutsideWitness]) -> Witnesses:
        """Return the witnesses as a new audit-log asks them, with two seconds of patience."""
        return Witnesses(Shelf(self.files, self.keys), self.demand, outside, patience_s=2.0)

    def grown(self, size: int) -> bytes:
        return grown(self.log, size)

    async def hears(self, witnesses: Witnesses, *notes: bytes) -> None:
        """Let the audit-log hear the records in which the crypto-signer states these; their position is committed."""
        handler = Cosigned(Shelf(self.files, self.keys), self.keys, self.demand, witnesses)
        await handler.handle([sealed_note(number, note, KEYS["own"]) for number, note in enumerate(notes)])

    @property
    def shown(self) -> int:
        """The size of the published checkpoint, whatever cosignatures it has."""
        note = Shelf(self.files, self.keys).newest()
        return 0 if note is None else open_checkpoint(note, self.log.key).checkpoint.size

    @property
    def met(self) -> int:
        """The size of the published checkpoint; 0 while it lacks the quorum."""
        try:
            return self.demand.policy.open(self.files.read(COSIGNED), self.log.key).checkpoint.size
        except (Refused, Unready):
            return 0


@asynccontextmanager
async def running(witnesses: Witnesses) -> AsyncIterator[None]:
    task = asyncio.create_task(witnesses.run())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def growing(log: Log, witnesses: Witnesses, seconds: int, each: Callable[[], object] = lambda: None) -> None:
    """Let Grace's own witness cosign a new checkpoint every second."""
    for _ in range(seconds):
        witnesses.offer(log.grown(len(log.log.entries) + 1))
        await asyncio.sleep(1)
        each()


def test_a_witness_whose_one_answer_came_too_late_is_heard_again(tmp_path: Path) -> None:
    """Its memory is ahead of what is known of it, and an exchange that begins with a 409 takes twice as long."""
    log = Log(tmp_path, TWO_OF_TWO)
    slow = chain([1.2, 5.0], repeat(1.2))  # each answer comes in time but one
    witnesses = log.asking({"a": log.over(log.witness("a"), repeat(0.01)), "b": log.over(log.witness("b"), slow)})

    async def minutes() -> None:
        async with running(witnesses):
            await growing(log, witnesses, 120)

    timeless(minutes())

    assert log.met > 60


def test_a_witness_that_answers_slower_than_one_waits_counts_all_the_same(tmp_path: Path) -> None:
    log = Log(tmp_path, TWO_OF_TWO)
    witnesses = log.asking(
        {"a": log.over(log.witness("a"), repeat(0.01)), "b": log.over(log.witness("b"), repeat(4.0))}
    )
    behind: list[int] = []

    async def minutes() -> None:
        async with running(witnesses):
            await growing(log, witnesses, 120, lambda: behind.append(len(log.log.entries) - log.met))

    timeless(minutes())

    assert max(behind[10:]) < 15


class InTurns:
    """Implements `OutsideWitness`: cosigns on one call and fails on the next ones, again and again."""

    def __init__(self, name: str, *pattern: bool) -> None:
        self._one = Scripted(name)
        self._pattern = pattern
        self._calls = 0

    async def cosign(self, note: bytes) -> NoteSignature:
        self._calls += 1
        if not self._pattern[(self._calls - 1) % len(self._pattern)]:
            raise Unready("does not answer")
        return await self._one.cosign(note)


def test_witnesses_that_fail_in_turns_meet_on_one_checkpoint(tmp_path: Path) -> None:
    log = Log(tmp_path, TWO_OF_TWO)
    witnesses = log.asking({"a": InTurns("a", True, False), "b": InTurns("b", False, True)})
    behind: list[int] = []

    async def minutes() -> None:
        async with running(witnesses):
            await growing(log, witnesses, 150, lambda: behind.append(len(log.log.entries) - log.met))

    timeless(minutes())

    assert max(behind[10:]) < 15


def test_without_hope_for_the_quorum_the_newest_is_published_with_what_it_has(tmp_path: Path) -> None:
    log = Log(tmp_path, TWO_OF_TWO)
    witnesses = log.asking({"a": Scripted("a"), "b": InTurns("b", False)})
    behind: list[int] = []

    async def minutes() -> None:
        async with running(witnesses):
            await growing(log, witnesses, 300, lambda: behind.append(len(log.log.entries) - log.shown))

    timeless(minutes())

    assert max(behind) <= 31
    assert sum(one <= 2 for one in behind) > 200  # while the one that fails is left out, no checkpoint waits for it


def test_a_witness_that_takes_a_request_and_never_answers_holds_up_one_checkpoint_for_half_a_minute(
    tmp_path: Path,
) -> None:
    log = Log(tmp_path, TWO_OF_TWO)
    witnesses = log.asking({"a": Scripted("a"), "b": Scripted("b", silent)})
    met: list[int] = []

    async def minutes() -> None:
        async with running(witnesses):
            await growing(log, witnesses, 60, lambda: met.append(log.met))

    timeless(minutes())

    assert met[28] == 0
    assert met[35] > 30


def test_what_was_heard_just_before_a_crash_is_shown_to_the_witnesses_after_it(tmp_path: Path) -> None:
    """Nothing new need be sealed for that: the record's position was committed, and it does not come again."""
    log = Log(tmp_path, TWO_OF_TWO)

    async def life() -> None:
        witnesses = log.asking({"a": Scripted("a"), "b": Scripted("b")})
        async with running(witnesses):
            await log.hears(witnesses, log.grown(300))
            await asyncio.sleep(1)
        assert log.met == 300
        await log.hears(log.asking({}), log.grown(400))  # and the process is killed
        async with running(log.asking({"a": Scripted("a"), "b": Scripted("b")})):
            await asyncio.sleep(1)

    timeless(life())

    assert log.met == 400


def test_a_crash_while_witnesses_are_asked_sets_the_log_not_back_in_their_eyes(tmp_path: Path) -> None:
    log = Log(tmp_path, TWO_OF_TWO)
    a, b = log.witness("a"), log.witness("b")
    disputed = [ASKED.labels(witness.key.name, "disputed") for witness in (a, b)]
    before = [count._value.get() for count in disputed]

    async def life() -> None:
        witnesses = log.asking({"a": log.over(a, repeat(0.1)), "b": log.over(b, chain([0.1], repeat(9.0)))})
        async with running(witnesses):
            await log.hears(witnesses, log.grown(300))
            await asyncio.sleep(1)
            await log.hears(witnesses, log.grown(400))
            await asyncio.sleep(1)  # both have cosigned it, one answer is on its way
        assert log.met == 300
        async with running(log.asking({"a": log.over(a, repeat(0.1)), "b": log.over(b, repeat(0.1))})):
            await asyncio.sleep(1)

    timeless(life())

    assert log.met == 400
    assert [count._value.get() for count in disputed] == before


def test_a_record_that_comes_again_after_a_start_is_not_shown_to_witnesses_who_know_a_later_one(tmp_path: Path) -> None:
    log = Log(tmp_path, TWO_OF_TWO)
    older, newer = log.grown(300), log.grown(400)
    a, b = Scripted("a"), Scripted("b")

    async def life() -> None:
        await log.hears(log.asking({}), older, newer)
        witnesses = log.asking({"a": a, "b": b})
        async with running(witnesses):
            await log.hears(witnesses, older)
            await asyncio.sleep(1)

    timeless(life())

    assert (a.asked, b.asked) == (["400"], ["400"])


async def late_bug() -> None:
    await asyncio.sleep(5)
    raise RuntimeError("a bug")


def test_a_bug_in_an_exchange_that_nobody_waits_for_any_more_stops_the_service(tmp_path: Path) -> None:
    log = Log(tmp_path, TWO_OF_TWO)
    witnesses = log.asking({"a": Scripted("a"), "b": Scripted("b", late_bug)})
    witnesses.offer(log.grown(300))

    with pytest.raises(RuntimeError, match="a bug"):
        timeless(witnesses.run())
