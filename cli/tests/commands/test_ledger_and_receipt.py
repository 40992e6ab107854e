"""Checking and copying logs, fetching and verifying receipts."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from grace_cli.errors import CliError, Exit
from grace_cli.log_files import WebLog
from grace_cli.stack.home import Home
from grace_common.testing.ledger import MemoryLedger, MemoryLog, SeededKey
from grace_common.transparency.strict import encode_base64

from .conftest import Run
from .fake_gateway import FakeGateway

ENTRIES = 256 * 3 + 40


def grown(log: MemoryLog, *sizes: int) -> MemoryLog:
    """Publish a log several times, so that partial tiles of older trees lie beside the newest."""
    for size in sizes:
        log.append(*(b"entry %d" % number for number in range(len(log.entries), size)))
        log.publish()
    return log


@pytest.fixture
def log() -> MemoryLog:
    return grown(MemoryLog(), 100, 300, ENTRIES)


def written(log: MemoryLog, folder: Path) -> Path:
    for path, data in log.files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
    return folder


def test_a_whole_log_verifies_and_the_key_is_said_to_come_with_it(run: Run, log: MemoryLog, tmp_path: Path) -> None:
    outcome = run("ledger", "verify", str(written(log, tmp_path / "log")))

    assert outcome.code == Exit.OK, outcome.error
    assert f"signed a tree of {ENTRIES} entries" in outcome.out
    assert "not whose it is" in outcome.out


def test_the_local_log_is_the_one_checked_when_none_is_named(run: Run, log: MemoryLog, home: Home) -> None:
    written(log, home.publication)

    assert run("ledger", "verify", "--json").json["entries"] == ENTRIES
    assert run("ledger", "verify", "--local", "--json").json["files"] == 9  # 4 bundles, 4 leaf tiles, 1 above


def test_a_key_from_elsewhere_must_be_the_one_that_signed(run: Run, log: MemoryLog, tmp_path: Path) -> None:
    folder = str(written(log, tmp_path / "log"))
    (tmp_path / "key").write_text(f"{log.key}\n")

    assert "was given" in run("ledger", "verify", folder, "--log-key", str(log.key)).out
    assert run("ledger", "verify", folder, "--log-key", str(tmp_path / "key")).code == Exit.OK
    foreign = run("ledger", "verify", folder, "--log-key", str(SeededKey("other").named(log.key.name)))
    assert foreign.code == Exit.FAILED
    assert foreign.error is not None
    assert "has no signature by" in foreign.error.message
    assert run("ledger", "verify", folder, "--log-key", "no+vkey+at-all").code == Exit.USAGE


@pytest.mark.parametrize(
    ("path", "at", "message"),
    [
        ("tile/entries/001", 1000, "entry 346 is not the one in the tree: it was changed"),
        ("tile/entries/003.p/40", 4, "entry 768 is not the one in the tree: it was changed"),
        ("tile/0/002", 77, "tile/0/002 is not what"),
        ("tile/1/000.p/3", 5, "tile/1/000.p/3 is not what"),
        ("checkpoint", 30, "is broken"),
    ],
)
def test_one_changed_bit_anywhere_is_found(
    run: Run, log: MemoryLog, tmp_path: Path, path: str, at: int, message: str
) -> None:
    data = bytearray(log.files[path])
    data[at] ^= 1
    log.files[path] = bytes(data)

    outcome = run("ledger", "verify", str(written(log, tmp_path / "log")))

    assert outcome.code == Exit.FAILED
    assert outcome.error is not None
    assert message in outcome.error.message


def test_a_log_rewritten_with_matching_tiles_does_not_lead_to_the_signed_root(
    run: Run, log: MemoryLog, tmp_path: Path
) -> None:
    other = MemoryLog()
    other.append(b"another first entry")
    grown(other, ENTRIES)
    other.files["checkpoint"] = log.files["checkpoint"]

    outcome = run("ledger", "verify", str(written(other, tmp_path / "log")))

    assert outcome.error is not None
    assert "not the signed one" in outcome.error.message


def test_a_missing_file_is_named(run: Run, log: MemoryLog, tmp_path: Path) -> None:
    del log.files["tile/entries/002"]

    outcome = run("ledger", "verify", str(written(log, tmp_path / "log")))

    assert outcome.error is not None
    assert "tile/entries/002" in outcome.error.message


def test_an_export_holds_exactly_the_files_of_its_checkpoint(
    run: Run, log: MemoryLog, home: Home, tmp_path: Path
) -> None:
    written(log, home.publication)

    outcome = run("ledger", "export", str(tmp_path / "copy"))

    assert outcome.code == Exit.OK, outcome.error
    copied = {str(path.relative_to(tmp_path / "copy")) for path in (tmp_path / "copy").rglob("*") if path.is_file()}
    assert copied == {
        *("checkpoint", "vkey", "tile/entries/000", "tile/entries/001", "tile/entries/002", "tile/entries/003.p/40"),
        *("tile/0/000", "tile/0/001", "tile/0/002", "tile/0/003.p/40", "tile/1/000.p/3"),
    }
    assert all((tmp_path / "copy" / path).read_bytes() == log.files[path] for path in copied)
    assert run("ledger", "verify", str(tmp_path / "copy"), "--log-key", str(log.key)).code == Exit.OK


def test_an_export_holds_the_versions_of_the_key_directory(run: Run, home: Home, tmp_path: Path) -> None:
    ledger = MemoryLedger()
    ledger.publish_key(ledger.notary, "notary")
    _, first = ledger.publish_directory(ledger.directory())
    ledger.publish_directory(ledger.directory(2, first))
    ledger.log.publish()
    written(ledger.log, home.publication)

    outcome = run("ledger", "export", str(tmp_path / "copy"))

    assert outcome.code == Exit.OK, outcome.error
    assert (tmp_path / "copy/keys/0001.json").read_bytes() == first
    said = run("ledger", "verify", str(tmp_path / "copy")).out
    assert "Each of 2 versions of the key directory is the one that an entry names." in said


def test_an_export_is_brought_up_to_date_and_never_mixed_with_other_files(
    run: Run, log: MemoryLog, home: Home, tmp_path: Path
) -> None:
    written(log, home.publication)
    run("ledger", "export", str(tmp_path / "copy"))
    written(grown(log, ENTRIES + 300), home.publication)

    again = run("ledger", "export", str(tmp_path / "copy"), "--json")

    assert again.json["entries"] == ENTRIES + 300
    assert run("ledger", "verify", str(tmp_path / "copy")).code == Exit.OK
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter").touch()
    assert run("ledger", "export", str(tmp_path / "mine")).code == Exit.USAGE
    (tmp_path / "file").touch()
    assert run("ledger", "export", str(tmp_path / "file" / "below")).code != Exit.OK


def test_a_log_is_checked_over_its_address(run: Run, gateway: FakeGateway, log: MemoryLog) -> None:
    gateway.ledger.log.files = log.files

    assert run("ledger", "verify", f"{gateway.url}/log").code == Exit.OK
    remote = {"GRACE_URL": gateway.url, "GRACE_API_KEY": "key-of-anton"}
    assert run("ledger", "verify", "--json", environ=remote).json["entries"] == ENTRIES
    gone = run("ledger", "verify", f"{gateway.url}/elsewhere")
    assert gone.code != Exit.OK


def test_an_address_that_does_not_answer_is_named() -> None:
    def lost(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("no route")

    def failing(request: httpx.Request) -> httpx.Response:
        return httpx.Response(500)

    with pytest.raises(CliError, match="does not answer: no route"):
        WebLog("https://log.example", httpx.MockTransport(lost)).read("checkpoint")
    with pytest.raises(CliError, match="answers 500"):
        WebLog("https://log.example", httpx.MockTransport(failing)).read("checkpoint")


def test_a_log_must_be_named_well(run: Run, tmp_path: Path) -> None:
    assert run("ledger", "verify", str(tmp_path / "nowhere")).code == Exit.USAGE
    assert run("ledger", "verify", str(tmp_path), "--local").code == Exit.USAGE
    (tmp_path / "vkey").write_text(f"{MemoryLog().key}\n")
    assert "nothing was published yet" in str(run("ledger", "verify", str(tmp_path)).error)
    assert run("ledger", "verify").code == Exit.USAGE


def test_the_ledger_is_searched_as_the_auditor_page_by_page(run: Run, gateway: FakeGateway) -> None:
    entry = {"time": "t", "entry_type": "grace.task-submitted.v1", "actor": "ada", "service": "gateway"}
    gateway.lists["ledger"] = [
        entry | {"index": number, "operation_id": "op", "correlation": "task"} for number in range(500)
    ]

    found = run("ledger", "query", "--actor", "ada", "--limit", "450", "--json").json["items"]
    table = run("ledger", "query", "--task", "task", "--limit", "3")

    assert [item["index"] for item in found] == list(range(450))
    assert [line.split()[0] for line in table.out.splitlines()] == ["index", "0", "1", "2"]
    assert {user for *_, user, _ in gateway.asked} == {"anton"}


@pytest.fixture
def delivered(tmp_path: Path) -> tuple[str, str, str]:
    """A receipt's file, the file it is for, and the log's vkey."""
    delivery = MemoryLedger().deliver()
    (tmp_path / "receipt.json").write_bytes(delivery.receipt.encode())
    (tmp_path / "double.py").write_bytes(delivery.artifact)
    return str(tmp_path / "receipt.json"), str(tmp_path / "double.py"), delivery.log_vkey


def test_a_receipt_says_what_it_proves(run: Run, delivered: tuple[str, str, str]) -> None:
    receipt, code, vkey = delivered

    outcome = run("receipt", "verify", receipt, code, "--log-key", vkey)

    assert outcome.code == Exit.OK, outcome.error
    assert "grace approved it as reviewer under the policy four-eyes@1" in outcome.out
    assert "this machine's stack" not in outcome.out
    assert run("receipt", "verify", receipt, code, "--log-key", vkey, "--json").json["verified"] is True


def test_a_key_of_the_local_stack_is_said_to_be_that(run: Run, delivered: tuple[str, str, str], home: Home) -> None:
    receipt, code, vkey = delivered
    assert run("receipt", "verify", receipt, code).code == Exit.USAGE
    (home.publication / "vkey").write_text(vkey + "\n")

    outcome = run("receipt", "verify", receipt, code)

    assert outcome.code == Exit.OK
    assert "was taken from this machine's stack" in outcome.out


def test_a_receipt_for_another_file_does_not_hold(run: Run, delivered: tuple[str, str, str]) -> None:
    receipt, code, vkey = delivered
    Path(code).write_text("def double(n):\n    return 3 * n\n")

    outcome = run("receipt", "verify", receipt, code, "--log-key", vkey)

    assert outcome.code == Exit.FAILED
    assert outcome.error is not None
    assert "the receipt does not hold: the file has" in outcome.error.message
    assert run("receipt", "verify", "nowhere.json", code, "--log-key", vkey).code == Exit.USAGE


def test_a_root_that_is_named_must_stand_behind_the_keys(
    run: Run, delivered: tuple[str, str, str], tmp_path: Path
) -> None:
    plain, code, vkey = delivered
    listed = tmp_path / "listed.json"
    listed.write_bytes(MemoryLedger().deliver(listed=True).receipt.encode())
    root, other = (encode_base64(SeededKey(word).public_key) for word in ("root", "nobody's root"))
    (tmp_path / "root").write_text(f"{root}\n")

    for given in (root, str(tmp_path / "root")):
        said = run("receipt", "verify", str(listed), code, "--log-key", vkey, "--root-key", given)
        assert (said.code, "the one you named or follows from it" in said.out) == (Exit.OK, True)
    for receipt, given in ((str(listed), other), (plain, root)):
        refused = run("receipt", "verify", receipt, code, "--log-key", vkey, "--root-key", given, "--quorum", "0")
        assert refused.code == Exit.FAILED
    assert run("receipt", "verify", str(listed), code, "--log-key", vkey, "--root-key", "x").code == Exit.USAGE


def test_witnesses_that_policy_demands_must_have_signed(run: Run, delivered: tuple[str, str, str]) -> None:
    receipt, code, vkey = delivered

    outcome = run("receipt", "verify", receipt, code, "--log-key", vkey, "--quorum", "1")

    assert outcome.error is not None
    assert "witnesses" in outcome.error.message


def test_verifying_needs_neither_network_nor_any_service(delivered: tuple[str, str, str], tmp_path: Path) -> None:
    program = (
        "import sys; from grace_cli.main import run\n"
        "try: run(['receipt', 'verify', *sys.argv[1:3], '--log-key', sys.argv[3]])\n"
        "except SystemExit as end: assert not end.code\n"
        "heavy = {'faststream', 'aiokafka', 'sqlalchemy', 'fastapi', 'httpx', 'websockets'} & set(sys.modules)\n"
        "heavy |= {'pydantic', 'typer', 'rich'} & set(sys.modules)  # their import takes longer than the proof\n"
        "assert not heavy, heavy"
    )
    apart = [shutil.which("bwrap") or "bwrap", "--unshare-net", "--dev-bind", "/", "/"]

    done = subprocess.run(
        [*apart, sys.executable, "-c", program, *delivered], capture_output=True, text=True, cwd=tmp_path, check=False
    )

    assert done.returncode == 0, done.stderr
    assert "proves:" in done.stdout


def test_a_receipt_is_waited_for_and_comes_with_its_code(run: Run, gateway: FakeGateway, tmp_path: Path) -> None:
    run("submit", "Double it", "--wait")
    (task,) = gateway.facts
    run("guide", task)
    gateway.until(task, "awaiting-approval")
    run("approve", task, "--yes")
    run("watch", task)
    gateway.early_receipts = 2
    receipt, code = tmp_path / "r.json", tmp_path / "double.py"

    outcome = run("receipt", "get", task, "-o", str(receipt), "--code", str(code))

    assert outcome.code == Exit.OK, outcome.error
    assert run("receipt", "verify", str(receipt), str(code), "--log-key", str(gateway.ledger.log.key)).code == Exit.OK
    assert json.loads(run("receipt", "get", task).out)["format"] == "grace-receipt/v1"
    assert run("receipt", "get", task, "-o", str(receipt), "--json").json["receipt"] == str(receipt)
    assert run("receipt", "get", task, "-o", str(tmp_path / "no" / "folder")).code == Exit.FAILED
