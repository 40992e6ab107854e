"""Outside witnesses are asked for their cosignatures: real ones over HTTP, and such as fail in every way."""

import asyncio
import json
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from socket import socket
from typing import Any

import pytest
from grace_audit_log.adapters.outside_witness import HttpWitness
from grace_audit_log.adapters.publication import FolderPublication
from grace_audit_log.domain.tree import LogIdentity
from grace_audit_log.handlers.cosigned import COSIGNED, Demand, Shelf
from grace_audit_log.handlers.witnesses import Witnesses
from grace_audit_log.ports import OutsideWitness
from grace_cli.witness import key_file
from grace_common.contract.errors import Refused, Unready
from grace_common.testing.ledger import MemoryLog, SeededKey
from grace_common.transparency.note import Note, NoteSignature, SignatureType, VerifierKey, cosign
from grace_common.transparency.witness import LogDisputed, WitnessDeclined, open_signed

from .fakes import MemoryFiles

ORIGIN = "log.example"
SIGNERS = {name: SeededKey(name) for name in ("own", "a", "b", "c")}
KEYS = {name: signer.named(f"{name}.example", SignatureType.COSIGNATURE) for name, signer in SIGNERS.items()}


def grown(log: MemoryLog, size: int, word: bytes = b"entry") -> bytes:
    """Append up to a size, and return the checkpoint as Grace's own witness cosigned it."""
    log.append(*(word + b" %d" % number for number in range(len(log.entries), size)))
    return open_signed(log.publish(), [log.key]).cosigned(KEYS["own"], SIGNERS["own"].sign, 1)[1].encode()


def demand(quorum: str, keys: Mapping[str, VerifierKey] = KEYS) -> Demand:
    return Demand.of("".join(f"witness {name} {key}\n" for name, key in keys.items()).encode() + quorum.encode())


TWO_OF_THREE = "group two 2 a b c\ngroup both all own two\nquorum both\n"


async def eventually(look: Callable[[], object], timeout_s: float = 60) -> None:
    async with asyncio.timeout(timeout_s):
        while not look():  # noqa: ASYNC110 — what it waits for is a file
            await asyncio.sleep(0.02)


@asynccontextmanager
async def running(witnesses: Witnesses) -> AsyncIterator[None]:
    task = asyncio.create_task(witnesses.run())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


class Scripted:
    """Implements `OutsideWitness`: cosigns, or does what its next step says."""

    def __init__(self, name: str, *steps: Callable[[], Awaitable[None]]) -> None:
        self._name = name
        self._steps = list(steps)
        self.asked: list[str] = []

    async def cosign(self, note: bytes) -> NoteSignature:
        text = Note.parse(note).text
        self.asked.append(text.split("\n")[1])
        if self._steps:
            await self._steps.pop(0)()
        return cosign(text, KEYS[self._name], SIGNERS[self._name].sign, len(self.asked))


async def silent() -> None:
    await asyncio.Event().wait()


async def away() -> None:
    raise Unready("does not answer")


async def disputing() -> None:
    raise LogDisputed("has seen another tree")


@dataclass
class Case:
    """A log of 300 entries, its shelf, and witnesses."""

    outside: Mapping[str, OutsideWitness]
    quorum: str = TWO_OF_THREE
    log: MemoryLog = field(default_factory=lambda: MemoryLog(ORIGIN))
    files: MemoryFiles = field(default_factory=MemoryFiles)

    def __post_init__(self) -> None:
        self.note = grown(self.log, 300)
        self.demand = demand(self.quorum)
        self.shelf = Shelf(self.files, LogIdentity(self.log.key, SeededKey(ORIGIN).sign))
        self.witnesses = Witnesses(self.shelf, self.demand, self.outside, patience_s=0.05)

    @property
    def cosigners(self) -> list[str]:
        note = self.shelf.newest()
        assert note is not None
        return [line.name for line in Note.parse(note).verified_by(list(KEYS.values()))]

    @property
    def size(self) -> int:
        return len(self.log.entries)

    def met(self) -> bool:
        """Whether what is published satisfies the policy for the newest tree."""
        try:
            opened = self.demand.policy.open(self.files.read(COSIGNED), self.log.key)
        except (Refused, Unready):
            return False
        return opened.checkpoint.size == self.size


@pytest.mark.parametrize("failing", [silent, away, disputing])
async def test_a_witness_that_fails_holds_nothing_up(failing: Callable[[], Awaitable[None]]) -> None:
    bad = Scripted("c", failing)
    case = Case({"a": Scripted("a"), "b": Scripted("b"), "c": bad})

    case.witnesses.offer(case.note)
    await case.witnesses.collect()
    assert case.met()
    assert case.cosigners == ["own.example", "a.example", "b.example"]

    case.witnesses.offer(grown(case.log, 301))
    await case.witnesses.collect()
    assert case.met()
    assert bad.asked == ["300"]  # it is left alone for a while


async def test_a_witness_that_was_away_is_asked_again_about_the_checkpoint_that_it_missed() -> None:
    case = Case({"a": Scripted("a"), "b": Scripted("b", away)})
    case.witnesses.offer(case.note)

    async with running(case.witnesses):
        await eventually(case.met)

    assert case.cosigners == ["own.example", "a.example", "b.example"]


async def test_after_a_start_the_published_checkpoint_is_shown_to_the_witnesses() -> None:
    case = Case({"a": Scripted("a"), "b": Scripted("b")})
    case.shelf.put(case.note, case.demand, 0.0)
    assert not case.met()

    async with running(case.witnesses):
        await eventually(case.met)


async def test_a_checkpoint_with_the_quorum_stands_while_newer_ones_lack_it_but_not_for_ever() -> None:
    case = Case({"a": Scripted("a"), "b": Scripted("b")})
    case.witnesses.offer(case.note)
    await case.witnesses.collect()
    good = case.shelf.newest()
    assert good is not None
    now_s = asyncio.get_running_loop().time()

    case.shelf.put(case.note, case.demand, now_s + 3600)  # the same tree with fewer cosignatures is never better
    assert case.shelf.newest() == good
    newer = grown(case.log, 400)
    case.shelf.put(newer, case.demand, now_s + 20)
    assert case.shelf.newest() == good
    case.shelf.put(newer, case.demand, now_s + 60)
    assert case.shelf.newest() == newer
    case.shelf.put(good, case.demand, now_s + 61)  # and the tree never shrinks
    assert case.shelf.newest() == newer


class FullDisk(MemoryFiles):
    """Fails once."""

    def write(self, files: Any) -> None:
        if not self.failures.calls:
            self.failures.calls = 1
            raise OSError(28, "No space left on device")
        super().write(files)


async def test_a_disk_that_is_full_is_waited_out() -> None:
    case = Case({"a": Scripted("a"), "b": Scripted("b")}, files=FullDisk())
    case.witnesses.offer(case.note)

    async with running(case.witnesses):
        await eventually(case.met)


def written(log: MemoryLog, folder: Path) -> FolderPublication:
    publication = FolderPublication(folder)
    publication.write(list(log.files.items()))
    return publication


@asynccontextmanager
async def serving(folder: Path, name: str, log: VerifierKey, port: int = 0) -> AsyncIterator[str]:
    """Run a witness with the key and the state of this name; yield its address."""
    key, state = folder / f"{name}.key", folder / f"{name}.json"
    words = ["--json", "--key", str(key), "--state", str(state), "--log", str(log), "--port", str(port)]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "grace_cli.main", "witness", "serve", *words, stdout=PIPE
    )
    try:
        assert process.stdout is not None
        yield json.loads(await process.stdout.readline())["url"]
    finally:
        process.kill()
        await process.communicate()


async def test_two_of_three_witnesses_that_are_processes_of_their_own_suffice(tmp_path: Path) -> None:
    log, folder = MemoryLog(ORIGIN), tmp_path / "log"
    note = grown(log, 300)
    keys = {name: key_file.make(tmp_path / f"{name}.key", f"{name}.example") for name in ("a", "b", "c")}
    asked = demand(TWO_OF_THREE, {"own": KEYS["own"], **keys})
    publication = written(log, folder)
    with socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # and does not listen
        away = f"http://127.0.0.1:{nobody.getsockname()[1]}"

    def met() -> bool:
        try:
            opened = asked.policy.open(publication.read(COSIGNED), log.key)
        except (Refused, Unready):
            return False
        return opened.checkpoint.size == len(log.entries)

    async with serving(tmp_path, "a", log.key) as a:
        async with serving(tmp_path, "b", log.key) as b:
            urls = {"a": a, "b": b, "c": away}
            outside = {name: HttpWitness(url, keys[name], publication, 5.0) for name, url in urls.items()}
            shelf = Shelf(publication, LogIdentity(log.key, SeededKey(ORIGIN).sign))
            asking = Witnesses(shelf, asked, outside, patience_s=5.0, longest_pause_s=0.2)
            asking.offer(note)
            await asking.collect()
            assert met()
        note = grown(log, 700)
        written(log, folder)
        asking.offer(note)
        await asking.collect()
        assert not met()
        async with running(asking), serving(tmp_path, "b", log.key, int(b.rpartition(":")[2])):
            await eventually(met)
        # An audit-log that starts anew does not know their sizes, and they tell it.
        again = HttpWitness(a, keys["a"], publication, 5.0)
        note = grown(log, 900)
        written(log, folder)
        assert (await again.cosign(note)).name == "a.example"
        older, fork = MemoryLog(ORIGIN), MemoryLog(ORIGIN)
        note = grown(older, 100)
        set_back = HttpWitness(a, keys["a"], written(older, tmp_path / "older"), 5.0)
        with pytest.raises(LogDisputed, match="a tree of 900 entries of this log, which now shows 100"):
            await set_back.cosign(note)
        note = grown(fork, 1000, b"other")
        forked = HttpWitness(a, keys["a"], written(fork, tmp_path / "fork"), 5.0)
        with pytest.raises(LogDisputed, match="answers 422"):
            await forked.cosign(note)
    for witness in (*outside.values(), again, set_back, forked):
        await witness.close()


def http(status: str, body: bytes, kind: str = "text/plain") -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (b"", Unready),
        (b"SSH-2.0-OpenSSH\r\n", Unready),
        (http("200 OK", b"x")[:-1], Unready),
        (http("200 OK", b""), Refused),
        (http("200 OK", b"\xff\xfe\n"), Refused),
        (http("200 OK", "— a.example AAAAAAA=\n".encode()), WitnessDeclined),
        (http("200 OK", b"a" * 100_000), WitnessDeclined),
        (http("302 Found", b"elsewhere"), WitnessDeclined),
        (http("500 Oh", b"\xff"), WitnessDeclined),
        (http("409 Conflict", b"12\n"), WitnessDeclined),
        (http("409 Conflict", b"-1\n", "text/x.tlog.size"), WitnessDeclined),
        (http("409 Conflict", b"12\n", "text/x.tlog.size"), WitnessDeclined),  # again and again
        (http("409 Conflict", b"301\n", "text/x.tlog.size"), LogDisputed),
        (http("422 No", b"another tree"), LogDisputed),
    ],
)
async def test_whatever_a_hostile_witness_answers_is_refused(
    answer: bytes, error: type[Exception], tmp_path: Path
) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        with suppress(ConnectionError):
            await writer.drain()
        writer.close()

    log = MemoryLog(ORIGIN)
    note = grown(log, 300)
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        witness = HttpWitness(f"http://127.0.0.1:{port}/", KEYS["a"], written(log, tmp_path), 5.0)
        with pytest.raises(error):
            await witness.cosign(note)
        await witness.close()


async def test_a_cosignature_of_another_key_or_over_another_text_counts_for_nothing(tmp_path: Path) -> None:
    log = MemoryLog(ORIGIN)
    note = grown(log, 300)
    text = Note.parse(note).text
    forged = [
        cosign(text, KEYS["a"], SIGNERS["b"].sign, 1),
        cosign(text.replace("300", "301"), KEYS["a"], SIGNERS["a"].sign, 1),
    ]
    for line in forged:

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, line: NoteSignature = line) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(http("200 OK", f"{line.line}\n".encode()))
            writer.close()

        async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            witness = HttpWitness(f"http://127.0.0.1:{port}", KEYS["a"], written(log, tmp_path), 5.0)
            with pytest.raises(Refused, match="signature"):
                await witness.cosign(note)
            await witness.close()


@pytest.mark.parametrize("url", ["ftp://w.example", "http://", "w.example", "http://w.example:port", "http://[::1"])
def test_what_is_no_address_is_refused_at_the_start(url: str, tmp_path: Path) -> None:
    with pytest.raises(Refused, match="address"):
        HttpWitness(url, KEYS["a"], FolderPublication(tmp_path), 1.0)
