"""`grace ledger verify` as a person or a program calls it."""

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from click.testing import Result
from grace_cli.errors import CliError, Exit
from grace_cli.main import build_app
from grace_common.testing.ledger import EXPIRY, MemoryLedger, SeededKey
from grace_common.transparency.directory import digest_of
from grace_common.transparency.strict import encode_base64
from typer.testing import CliRunner

from .logs import extend, ledger_of, write

Run = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Run `grace ledger …` where no stack was ever started."""

    def run(*words: str, environ: dict[str, str] | None = None) -> Result:
        settings = {"GRACE_HOME": str(tmp_path / ".grace"), "COLUMNS": "200"} | (environ or {})
        return CliRunner().invoke(build_app(), ["ledger", *words], env=settings)

    return run


@pytest.fixture
def ledger() -> MemoryLedger:
    return ledger_of(600)


def failed(result: Result) -> CliError:
    assert isinstance(result.exception, CliError), result.output
    return result.exception


def test_what_was_verified_is_said_in_sentences(run: Run, ledger: MemoryLedger, tmp_path: Path) -> None:
    folder = write(ledger, tmp_path / "log")

    said = run("verify", str(folder), "--log-key", str(ledger.log.key)).output

    assert "signed a tree of 600 entries" in said
    assert "Every entry is signed with a key that an earlier one announced for it, up to the CA's." in said
    assert "signatures were not checked (--tree-only)" in run("verify", str(folder), "--tree-only").output


def test_a_verification_is_resumed_and_compared_with_a_kept_checkpoint(
    run: Run, ledger: MemoryLedger, tmp_path: Path
) -> None:
    folder, state, kept = write(ledger, tmp_path / "log"), tmp_path / "state", tmp_path / "kept"
    kept.write_bytes(ledger.log.files["checkpoint"])
    assert run("verify", str(folder), "--resume", str(state)).exit_code == Exit.OK
    extend(ledger, 900)
    write(ledger, folder)

    again = run("verify", str(folder), "--resume", str(state), "--since", str(kept))
    described = json.loads(run("verify", str(folder), "--since", str(kept), "--json").output)

    assert "The first 512 entries were verified before" in again.output
    assert f"It continues the tree of {kept}." in again.output
    assert (described["signatures"], described["began"], described["continues"]) == (900, 0, [str(kept)])


def test_a_rollback_is_found_by_the_checkpoint_and_by_the_state(run: Run, ledger: MemoryLedger, tmp_path: Path) -> None:
    folder, state, kept = write(ledger, tmp_path / "log"), tmp_path / "state", tmp_path / "kept"
    kept.write_bytes(ledger.log.files["checkpoint"])
    run("verify", str(folder), "--resume", str(state))
    older = str(write(ledger_of(300), tmp_path / "older"))

    assert "entries 300 to 599 are gone" in failed(run("verify", older, "--since", str(kept))).message
    assert "rolled back" in failed(run("verify", older, "--resume", str(state))).message


def test_faults_are_named_in_one_message(run: Run, ledger: MemoryLedger, tmp_path: Path) -> None:
    folder = write(ledger, tmp_path / "log")
    for path in ("tile/entries/001", "tile/0/000"):
        data = bytearray((folder / path).read_bytes())
        data[700] ^= 1
        (folder / path).write_bytes(data)

    message = failed(run("verify", str(folder))).message

    assert "entry 256 is not the one in the tree" in message
    assert "tile/0/000 is not what its entries hash to" in message


def test_the_ca_must_be_one_that_the_checkpoint_names(run: Run, ledger: MemoryLedger, tmp_path: Path) -> None:
    folder, own = write(ledger, tmp_path / "log"), tmp_path / "own"
    own.write_bytes((folder / "ca").read_bytes())
    (folder / "ca").unlink()

    lacking = failed(run("verify", str(folder)))
    assert (lacking.code, "--tree-only" in lacking.advice) == (Exit.USAGE, True)
    assert run("verify", str(folder), "--ca", str(own)).exit_code == Exit.OK
    own.write_text(encode_base64(SeededKey("another CA").public_key))
    assert "not one that the signed checkpoint names" in failed(run("verify", str(folder), "--ca", str(own))).message


def test_a_log_of_two_cas_verifies_with_the_keys_of_both(run: Run, ledger: MemoryLedger, tmp_path: Path) -> None:
    first = ledger.ca.public_key
    ledger.replace_ca("next")
    extend(ledger, 640)
    folder, own = write(ledger, tmp_path / "log"), tmp_path / "own"

    assert run("verify", str(folder)).exit_code == Exit.OK
    own.write_text(encode_base64(first))
    lacking = failed(run("verify", str(folder), "--ca", str(own)))
    assert lacking.code == Exit.FAILED
    assert f"names 2 keys of CAs, one after the other, and {own} holds 1 of them" in lacking.message


def test_a_ca_that_is_published_before_the_checkpoint_that_names_it_is_passed_over(
    run: Run, ledger: MemoryLedger, tmp_path: Path
) -> None:
    folder = write(ledger, tmp_path / "log")
    with (folder / "ca").open("a") as file:
        file.write(f"{encode_base64(SeededKey('next ca').public_key)}\n")

    assert run("verify", str(folder)).exit_code == Exit.OK


def test_a_file_that_is_no_checkpoint_of_this_log_is_wrong_usage(
    run: Run, ledger: MemoryLedger, tmp_path: Path
) -> None:
    folder, kept = write(ledger, tmp_path / "log"), tmp_path / "kept"
    kept.write_text("no checkpoint")

    assert failed(run("verify", str(folder), "--since", str(kept))).code == Exit.USAGE
    assert failed(run("verify", str(folder), "--database")).code == Exit.USAGE


def test_tables_that_nobody_knows_of_are_asked_for(run: Run, ledger: MemoryLedger, tmp_path: Path) -> None:
    nowhere = {"GRACE_DATABASE_URL": "postgresql://nobody@127.0.0.1:1/postgres"}
    key = ("--log-key", str(ledger.log.key))

    assert "name a PostgreSQL in GRACE_DATABASE_URL" in failed(run("verify", "--database", *key)).advice
    unreachable = failed(run("verify", "--database", *key, environ=nowhere))
    assert (unreachable.code, "127.0.0.1:1" in unreachable.message) == (Exit.NOT_RUNNING, True)
    assert "nobody" not in unreachable.message


def succeeded(ledger: MemoryLedger) -> bytes:
    """Let another key sign the ledger beside the first, as two versions of its key directory say; return the second."""
    _, first = ledger.publish_directory(ledger.directory())
    ledger.log.succeed(SeededKey("successor"))
    _, second = ledger.publish_directory(replace(ledger.directory(), version=2, previous=digest_of(first)))
    return second


def test_what_was_kept_before_the_logs_key_was_replaced_is_gone_on_with_by_the_newer_key_alone(
    run: Run, ledger: MemoryLedger, tmp_path: Path
) -> None:
    folder, state, kept = write(ledger, tmp_path / "log"), tmp_path / "state", tmp_path / "kept"
    kept.write_bytes(ledger.log.files["checkpoint"])
    old = ledger.log.key
    assert run("verify", str(folder), "--resume", str(state), "--log-key", str(old)).exit_code == Exit.OK
    second = succeeded(ledger)
    ended = (
        replace(key, not_after=EXPIRY) if key.public_key == old.public_key else key for key in ledger.directory().keys
    )
    third = replace(ledger.directory(), version=3, previous=digest_of(second), keys=tuple(ended))
    ledger.log.retire()
    ledger.publish_directory(third)
    ledger.log.publish()
    write(ledger, folder)
    new = ("--log-key", str(ledger.log.key))

    for resumed in (("--resume", str(state)), (), ("--processes", "2")):
        said = run("verify", str(folder), *new, "--since", str(kept), *resumed)
        assert f"It continues the tree of {kept}." in said.output, said.exception
        assert f"The log's key succeeds {old}, as its key directory says." in said.output
    plain = run("verify", str(folder), *new)
    assert (plain.exit_code, "succeeds" in plain.output) == (Exit.OK, False)
    refused = failed(run("verify", str(folder), *new, "--since", str(kept), "--tree-only"))
    assert (refused.code, "second --log-key" in refused.advice) == (Exit.USAGE, True)
    both = (*new, "--log-key", str(old))
    assert run("verify", str(folder), *both, "--since", str(kept), "--tree-only").exit_code == Exit.OK
    outdated = failed(run("verify", str(folder), "--log-key", str(old)))
    assert "by the log's key directory that key has ended, and another succeeds it" in outdated.message
    assert "get the log's present key" in outdated.advice


def test_a_directory_that_lies_beside_the_log_and_is_no_entry_vouches_for_no_earlier_key(
    run: Run, tmp_path: Path
) -> None:
    ledger, thief = ledger_of(300), SeededKey("thief")
    old = ledger.log.key
    ledger.log.succeed(thief)
    kept = tmp_path / "kept"
    ledger.log.publish()
    kept.write_bytes(ledger.log.files["checkpoint"])
    beside = ledger.sign_directory(ledger.directory(), ledger.root)
    log = ledger_of(300)
    folder = write(log, tmp_path / "log")
    (folder / "keys").mkdir()
    (folder / "keys/0001.json").write_bytes(beside)
    ledger.log.retire()
    kept.write_bytes(ledger.log.publish())

    message = failed(run("verify", str(folder), "--log-key", str(old), "--since", str(kept))).message

    assert "which nobody vouches for: no entry names version 1 of the key directory" in message


def test_an_export_while_two_keys_sign_is_complete_and_verifies_with_either(
    run: Run, ledger: MemoryLedger, tmp_path: Path
) -> None:
    old = ledger.log.key
    cosigned = ledger.log.files["checkpoint"]
    succeeded(ledger)
    ledger.log.publish()
    ledger.log.files["checkpoint.cosigned"] = cosigned  # the witness is a second behind
    folder = write(ledger, tmp_path / "log")

    for number, key in enumerate((old, ledger.log.key)):
        copy = str(tmp_path / f"copy{number}")
        made = run("export", copy, "--from", str(folder), "--log-key", str(key))
        assert made.exit_code == Exit.OK, made.exception
        assert run("verify", copy).exit_code == Exit.OK
        assert (tmp_path / f"copy{number}/checkpoint.cosigned").read_bytes() == cosigned
        assert (tmp_path / f"copy{number}/keys/0002.json").exists()


class Quiet(SimpleHTTPRequestHandler):
    """Serves a folder and says nothing."""

    def log_message(self, format: str, *args: object) -> None:
        return None


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    """The address of a web server for the folder `log`."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path / "log"))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def test_a_log_at_an_address_is_verified_by_several_processes(run: Run, tmp_path: Path, address: str) -> None:
    ledger = ledger_of(256 * 40)
    folder = write(ledger, tmp_path / "log")
    assert json.loads(run("verify", address, "--processes", "2", "--json").output)["signatures"] == 256 * 40
    data = bytearray((folder / "tile/entries/039").read_bytes())
    data[700] ^= 1
    (folder / "tile/entries/039").write_bytes(data)

    message = failed(run("verify", address, "--processes", "2")).message

    assert "entry 9984 is not the one in the tree" in message


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (lambda one, two: {"keys/0001.json": one + b" "}, "keys/0001.json is not the key directory that entry"),
        (lambda one, two: {"keys/0001.json": None, "keys/0002.json": None}, "keys/0001.json, the key directory that"),
        (lambda one, two: {"keys/0002.json": None}, "keys/0002.json, the key directory that entry"),
        (lambda one, two: {"keys/0002.json": one}, "keys/0002.json is not the key directory"),
        (lambda one, two: {"keys/0001.json": two, "keys/0002.json": None}, "keys/0001.json is not the key directory"),
    ],
)
def test_a_key_directory_that_is_not_the_logs_is_named(
    run: Run, tmp_path: Path, spoil: Callable[[bytes, bytes], dict[str, bytes | None]], why: str
) -> None:
    ledger = ledger_of(300)
    _, one = ledger.publish_directory(ledger.directory())
    _, two = ledger.publish_directory(ledger.directory(2, one))
    ledger.log.publish()
    folder = write(ledger, tmp_path / "log")
    assert run("verify", str(folder)).exit_code == Exit.OK
    for path, data in spoil(one, two).items():
        (folder / path).unlink() if data is None else (folder / path).write_bytes(data)

    assert why in failed(run("verify", str(folder))).message


def test_versions_of_the_key_directory_that_do_not_follow_from_each_other_are_refused(run: Run, tmp_path: Path) -> None:
    ledger = ledger_of(300)
    ledger.publish_directory(ledger.directory())
    ledger.publish_directory(ledger.directory(2, b"another version 1"))
    ledger.log.publish()

    refused = failed(run("verify", str(write(ledger, tmp_path / "log")))).message

    assert "version 2 of the key directory does not follow version 1" in refused
