"""Root, witness's key and KEK changed by command, killed in its midst and given again, while records flow."""

import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from typing import Final

from grace_common.transparency.note import VerifierKey

from tests.e2e.doors import Acknowledged, Json, Ledger, Person
from tests.e2e.patience import until
from tests.e2e.stack import Stack
from tests.e2e.tasks import BALLOTS, FIBONACCI, deliver, receipt
from tools.chaos.cut import Cut, give
from tools.chaos.tally import Log

STAND_ALONE: Final = Path(__file__).parents[2] / "contrib" / "verify_receipt.py"
# What the answer calls the new key, and after how many changes of key files the command is killed: of the root when
# the key directory names the next one already, of the others when the next key is there and nothing has followed.
LEVELS: Final = {"root": ("root", 5), "witness": ("key_id", 2), "kek": ("kek", 4)}


def test_root_witness_and_kek_change_while_records_flow_and_none_is_lost_or_refused(
    ada: Person, reviewer: Person, olga: Person, ledger: Ledger, acknowledged: list[Acknowledged], tmp_path: Path
) -> None:
    stack, vkey, refused = ada.stack, ledger.vkey, olga.items("/api/governance/dead-letters")
    first_root, log = told(stack, "keys", "status")["root_key"], Log(stack.home.publication, VerifierKey.parse(vkey))
    first_witness = until("witness that the key directory lists", log.witness)
    before = delivered(ada, reviewer, tmp_path / "before")

    with asking(ada) as decisions:
        for level, (name, changes) in LEVELS.items():
            command, asked = ("keys", "rotate", level), len(decisions)
            cut_short(stack, command, changes)
            finished, once_more = told(stack, *command), told(stack, *command)
            assert finished[name] != once_more[name]
            until("decisions asked for meanwhile", lambda asked=asked: len(decisions) > asked)  # type: ignore[misc]
        told(stack, "keys", "rotate", "epoch")  # sealed under the newest KEK,
        stack.kill("crypto-signer")()  # which the next process opens
        after = delivered(ada, reviewer, tmp_path / "after")

    root = told(stack, "keys", "status")["root_key"]
    assert root != first_root
    verified(stack, before, vkey, first_root)
    verified(stack, after, vkey, first_root)
    verified(stack, after, vkey, root)
    for decision in decisions:
        ada.until_decided(decision)
    until("witness's newest key", lambda: log.witness() != first_witness)
    size = ledger.checkpoint().size
    until("checkpoint that it cosigned", lambda: log.cosigned() >= size)
    ledger.until_holds({one.event_id for one in acknowledged})
    ledger.until_succeeded({one.operation_id for one in acknowledged})
    assert olga.items("/api/governance/dead-letters") == refused
    for where in ([], ["--database"]):
        whole = stack.command("ledger", "verify", *where, "--log-key", vkey)
        assert whole.returncode == 0, whole.stderr


def told(stack: Stack, *words: str) -> Json:
    """Return what a command answers, which must not fail."""
    given = give(stack.home, stack.environ, words)
    assert given.code == 0, given
    return given.answer


def cut_short(stack: Stack, command: Sequence[str], changes: int) -> None:
    """Give a command and kill it in its midst; one that was faster is given once more."""
    cut = Cut(changes, 0.0)
    until(f"{command} that is killed in its midst", lambda: give(stack.home, stack.environ, command, cut).code is None)


@contextmanager
def asking(person: Person) -> Iterator[list[str]]:
    """Let somebody ask for decisions all the time; yield the ids of those acknowledged."""
    asked: list[str] = []
    enough = Event()

    def ask() -> None:
        other = Person(person.stack, person.user, person.acknowledged)
        while not enough.wait(0.5):
            asked.append(str(other.post("/api/decisions", BALLOTS)["id"]))

    with ThreadPoolExecutor(1) as beside:
        work = beside.submit(ask)
        try:
            yield asked
        finally:
            enough.set()
        work.result()


def delivered(ada: Person, reviewer: Person, folder: Path) -> list[str]:
    """Take a task to its end; return the files of its receipt, which shows the key directory, and of its artifact."""
    task_id = deliver(ada, reviewer, FIBONACCI)["id"]

    def made() -> bytes | None:
        found = receipt(ada, task_id)
        return found if b'"directory":' in found else None

    folder.mkdir()
    (folder / "receipt.json").write_bytes(until("receipt with a key directory", made))
    (folder / "code.py").write_bytes(ada.patiently("GET", f"/api/tasks/{task_id}/artifact").content)
    return [str(folder / "receipt.json"), str(folder / "code.py")]


def verified(stack: Stack, files: Sequence[str], vkey: str, root_key: str) -> None:
    """Let both verifiers accept a receipt for somebody who knows these two keys."""
    known = [*files, "--log-key", vkey, "--root-key", root_key]
    ours = stack.command("receipt", "verify", *known)
    assert ours.returncode == 0, ours.stderr
    alone = [sys.executable, "-I", str(STAND_ALONE), *known]
    other = subprocess.run(alone, capture_output=True, text=True, check=False)
    assert other.returncode == 0, other.stderr
