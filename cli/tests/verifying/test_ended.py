"""Nothing that a key signs after the entry that ends it is good; whatever it signed before stays so."""

import json
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from hashlib import sha256
from http.server import ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from grace_cli.errors import CliError
from grace_cli.log_files import FolderLog, LogKey, WebLog
from grace_cli.verifying.chunk import LogFiles
from grace_cli.verifying.command import Report, Wanted, verify_files
from grace_common.testing.ledger import EXPIRY, MemoryLedger, SeededKey
from grace_common.transparency.attestation import Provenance, Subject
from grace_common.transparency.directory import DirectoryKey
from grace_common.transparency.tile import WIDTH

from .logs import OPERATIONS, ledger_of, operation, write
from .test_command import Quiet

CHUNK = 16 * WIDTH  # entries that one process looks at together
Forge = Callable[["Grace"], int]
ROTATIONS = ("notary", "attestation", "ca", "root", "log")


@dataclass
class Grace:
    """A ledger whose keys are replaced one after the other, as the crypto-signer does it."""

    ledger: MemoryLedger = field(default_factory=lambda: ledger_of(40))
    versions: list[bytes] = field(default_factory=list)
    listed: tuple[DirectoryKey, ...] = ()
    ends: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.first_ca, self.first_notary, self.first_attester = self.ledger.ca, self.ledger.notary, self.ledger.attester
        self.publish()

    def publish(self, *, ended_cas: bool = False) -> None:
        """State the next version of the key directory: keys that are not in use any more end."""
        ledger = self.ledger
        current = ledger.directory().keys
        if not ended_cas:
            current += tuple(key for key in self.listed if key.purpose == "ca" and key not in current)
        known = {(key.purpose, key.key_id) for key in current}
        kept = [key if (key.purpose, key.key_id) in known else replace(key, not_after=EXPIRY) for key in self.listed]
        new = [key for key in current if (key.purpose, key.key_id) not in {(k.purpose, k.key_id) for k in kept}]
        self.listed = (*kept, *new)
        version = len(self.versions) + 1
        previous = self.versions[-1] if self.versions else None
        directory = replace(ledger.directory(version, previous), keys=self.listed)
        (_, index), signed = ledger.publish_directory(directory)
        self.versions.append(signed)
        for key in self.listed:
            if key.not_after is not None:
                self.ends.setdefault(key.key_id, index)

    def rotate(self, what: str) -> None:
        """Replace a key; the one before ends."""
        ledger, word = self.ledger, f"{what} {len(self.versions)}"
        match what:
            case "notary":
                ledger.notary = SeededKey(word)
                ledger.publish_key(ledger.notary, "notary")
            case "attestation":
                ledger.attester = SeededKey(word)
                ledger.publish_key(ledger.attester, "attestation")
            case "ca":
                ledger.replace_ca(word)
                self.publish()
                self.work()
                self.publish(ended_cas=True)
                return
            case "root":
                before, ledger.root = ledger.root, SeededKey(word)
                signed = ledger.sign_directory(
                    replace(ledger.directory(len(self.versions) + 1, self.versions[-1]), keys=self.listed),
                    before,
                    ledger.root,
                )
                self.versions.append(signed)
                ledger.state_directory(signed, str(len(self.versions)))
                return
            case "log":
                ledger.log.succeed(SeededKey(word))
                self.publish()
                ledger.log.retire()
        self.publish()

    def work(self) -> None:
        """Let the keys of now sign, and those of operations that any key before announced."""
        ledger = self.ledger
        ledger.state(f"late {len(ledger.log.entries)}", "grace.task-submitted.v1", "ada", operation(5), b"{}")
        self.grow(15)
        attest(ledger)

    def grow(self, count: int) -> None:
        """Let so many entries follow, one operation after the other."""
        for number in range(count):
            if number % OPERATIONS == 0:
                work = f"operation at {len(self.ledger.log.entries)}"
                self.ledger.announce(work)
            else:
                self.ledger.state(f"{work} {number}", "grace.task-submitted.v1", "ada", work, b"%d" % number)


def attest(ledger: MemoryLedger) -> int:
    provenance = Provenance("https://build", "https://builder", "task-1", "then", "then", {}, {})
    return ledger.attest(provenance.of(Subject("a.py", "ab" * 32)))


@pytest.fixture
def grace() -> Grace:
    return Grace()


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    """The address of a web server for the folder `log`."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path / "log"))) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def verified(ledger: MemoryLedger, log: LogFiles, **wanted: object) -> Report:
    return verify_files(log, replace(Wanted(LogKey(ledger.log.key, "the test", True)), **wanted), int, int)


def texts(grace: Grace, folder: Path, **wanted: object) -> list[str]:
    grace.ledger.log.publish()
    report = verified(grace.ledger, FolderLog(write(grace.ledger, folder)), **wanted)
    return [fault.text for fault in report.findings.faults]


@pytest.mark.parametrize("what", ROTATIONS)
def test_a_log_in_which_a_key_was_replaced_is_whole(grace: Grace, tmp_path: Path, what: str) -> None:
    grace.work()
    grace.rotate(what)
    grace.work()

    assert texts(grace, tmp_path) == []


def test_a_log_in_which_every_key_was_replaced_says_how_many_ended(grace: Grace, tmp_path: Path) -> None:
    for what in (*ROTATIONS, *ROTATIONS):
        grace.work()
        grace.rotate(what)
    grace.work()
    grace.ledger.log.publish()

    report = verified(grace.ledger, FolderLog(write(grace.ledger, tmp_path)))

    assert report.findings.faults == []
    # Each CA that is replaced takes a notary's and an attestation key with it.
    assert "None of 10 keys that have ended signed an entry after its end." in report.sentences()
    assert report.described()["ended"] == 10


def with_notary(grace: Grace) -> int:
    now, grace.ledger.notary = grace.ledger.notary, grace.first_notary
    index = grace.ledger.announce("of a thief")
    grace.ledger.notary = now
    return index


def with_attester(grace: Grace) -> int:
    now, grace.ledger.attester = grace.ledger.attester, grace.first_attester
    index = attest(grace.ledger)
    grace.ledger.attester = now
    return index


def with_ca(grace: Grace) -> int:
    now, grace.ledger.ca = grace.ledger.ca, grace.first_ca
    index = grace.ledger.publish_key(SeededKey("of a thief"), "notary")
    grace.ledger.ca = now
    return index


FORGED: dict[str, tuple[str, Forge, str]] = {
    "an operation's key by the notary": ("notary", with_notary, "notary"),
    "an attestation": ("attestation", with_attester, "attestation"),
    "a notary's key by the CA": ("ca", with_ca, "ca"),
    "an operation's key by the notary of a CA before": ("ca", with_notary, "notary"),
}


def sentence(grace: Grace, index: int, purpose: str) -> str:
    key = {"notary": grace.first_notary, "attestation": grace.first_attester, "ca": grace.first_ca}[purpose]
    return (
        f"entry {index} is signed with {key.key_id}, which had ended as a key for {purpose}: "
        f"entry {grace.ends[key.key_id]} names the key directory that says so"
    )


@pytest.mark.parametrize("what", FORGED)
def test_what_a_key_signs_after_its_end_is_named(grace: Grace, tmp_path: Path, what: str, address: str) -> None:
    rotated, forge, purpose = FORGED[what]
    grace.rotate(rotated)
    first = forge(grace)
    grace.work()
    second = forge(grace)
    grace.ledger.log.publish()
    folder = write(grace.ledger, tmp_path / "log")

    expected = [sentence(grace, index, purpose) for index in (first, second)]

    assert texts(grace, folder) == expected
    by_address = verified(grace.ledger, WebLog(address)).findings.faults
    assert [fault.text for fault in by_address] == expected


def test_what_a_key_signs_chunks_after_its_end_is_named_by_any_number_of_processes(
    grace: Grace, tmp_path: Path
) -> None:
    grace.grow(CHUNK)
    grace.rotate("notary")
    forged = []
    for _ in range(3):  # in the chunk of its end, in the next, which may be under way at the same time, and in a later
        forged.append(with_notary(grace))
        grace.grow(CHUNK)

    expected = [sentence(grace, index, "notary") for index in forged]

    for processes in (1, 2):
        assert texts(grace, tmp_path, processes=processes) == expected


@pytest.mark.parametrize("what", ["notary", "attestation", "ca"])
def test_a_verification_that_goes_on_knows_which_keys_had_ended(grace: Grace, tmp_path: Path, what: str) -> None:
    forge, state = {one: forge for _, (one, forge, purpose) in FORGED.items() if one == purpose}[what], tmp_path / "s"
    grace.grow(WIDTH)
    grace.work()
    grace.rotate(what)  # in the last bundle, which is read once more
    assert texts(grace, tmp_path / "log", resume=state) == []
    grace.grow(2 * WIDTH)
    grace.work()
    assert texts(grace, tmp_path / "log", resume=state) == []
    index = forge(grace)

    assert texts(grace, tmp_path / "log", resume=state) == [sentence(grace, index, what)]


def test_a_state_of_before_this_was_looked_for_is_refused(grace: Grace, tmp_path: Path) -> None:
    state = tmp_path / "state"
    assert texts(grace, tmp_path / "log", resume=state) == []
    with sqlite3.connect(state) as file:
        [(text,)] = file.execute("SELECT value FROM state")
        value = json.loads(text) | {"version": "2"}
        del value["sha256"]
        value["sha256"] = sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
        file.execute("UPDATE state SET value = ?", (json.dumps(value),))

    with pytest.raises(CliError, match="its version is 2, not 3"):
        texts(grace, tmp_path / "log", resume=state)


def test_a_directory_that_lies_beside_the_log_and_is_no_entry_ends_nothing(grace: Grace, tmp_path: Path) -> None:
    ended = tuple(replace(key, not_after=EXPIRY) for key in grace.listed)
    beside = replace(grace.ledger.directory(2, grace.versions[0]), keys=ended)
    grace.ledger.log.files["keys/0002.json"] = grace.ledger.sign_directory(beside, grace.ledger.root)
    grace.work()

    assert texts(grace, tmp_path) == []


@pytest.mark.parametrize("owner", ["ca", "notary", "attestation", "key directory"])
def test_no_operations_key_passes_for_the_signers_own(grace: Grace, tmp_path: Path, owner: str) -> None:
    index = grace.ledger.announce(owner)

    [fault] = texts(grace, tmp_path)

    assert (
        fault
        == f"entry {index} is no signed statement: its operation is called {owner!r}, which is no operation's name"
    )
