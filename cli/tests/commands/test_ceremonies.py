"""`grace keys split`, `backup`, `restore`, `drill`, … on a state folder, with the signer's own commands."""

import json
import os
import re
import socket
import tempfile
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from grace_audit_log.adapters.log_key import FileLogKeys
from grace_cli.errors import Exit
from grace_cli.stack.credentials import write_env_file
from grace_cli.stack.home import Home
from grace_cli.stack.signer import back_up_log_keys
from grace_common.runtime.root_seal import SealedLogKeys
from grace_common.testing.clock import FixedClock
from grace_common.transparency.note import VerifierKey
from grace_common.transparency.tile import TileEdge
from grace_crypto_signer.adapters import backup_file, key_files
from grace_crypto_signer.ports import SealedEpoch

from .conftest import Run

PEOPLE = ("ada", "grace", "olga", "anton", "emmy")


@pytest.fixture
def state(home: Home) -> Path:
    """The signer's state folder as the first `grace up` leaves it."""
    folder = home.state("crypto-signer")
    key_files.create(folder, folder / "kek-passphrase", "grace.local", FixedClock())
    return folder


@pytest.fixture
def words(tmp_path: Path) -> Path:
    """A file with everybody's passphrase."""
    file = tmp_path / "passphrases.json"
    file.write_text(json.dumps({name: f"the words of {name}" for name in (*PEOPLE, "kek")}))
    file.chmod(0o600)
    return file


def split(run: Run, tmp_path: Path, words: Path) -> list[str]:
    """Hand out five shares; return the options that bring three of them."""
    holders = [option for name in PEOPLE for option in ("--holder", name)]
    outcome = run("keys", "split", "--out", str(tmp_path / "shares"), *holders, "--passphrases", str(words), "--json")
    assert outcome.code == 0, outcome.error
    files = outcome.json["shares"]
    assert len(files) == 5
    return [option for name in files[1:4] for option in ("--share", str(tmp_path / "shares" / name))]


def write_backup(state: Path, file: Path, log: SealedLogKeys | None = None) -> None:
    """Write a backup as the signer does, of one epoch that no database has to hold."""
    kek = key_files.open_kek(state, state / "kek-passphrase")
    begin = datetime(1970, 1, 1, tzinfo=UTC)
    epoch = SealedEpoch(1, begin, kek.id, *kek.seal(bytes(range(32)), "grace/epoch-seed/v1|1"))
    file.write_bytes(backup_file.make(state, kek, [epoch], [], datetime.now(UTC), log).encode())


def test_keys_are_handed_out_backed_up_drilled_and_restored(
    run: Run, home: Home, state: Path, words: Path, tmp_path: Path
) -> None:
    shares = split(run, tmp_path, words)
    backup, passphrases = str(tmp_path / "backup.json"), ("--passphrases", str(words))
    write_backup(state, Path(backup))

    drilled = run("keys", "drill", backup, *shares, *passphrases)
    assert "1 epochs make the same keys, 2 entries signed and verified, two shares refused" in drilled.out

    few = run("keys", "drill", backup, *shares[:4], *passphrases)
    assert (few.code, few.error and few.error.message) == (
        Exit.REFUSED,
        "2 shares do not suffice: 3 are needed, 1 more",
    )

    there = run("keys", "restore", backup, *shares, *passphrases)
    assert there.code == Exit.REFUSED
    assert "holds keys already" in str(there.error)
    before = {file.name: file.read_bytes() for file in state.iterdir()}
    for file in state.iterdir():
        file.unlink()
    restored = run("keys", "restore", backup, *shares, *passphrases)
    assert "The keys are back in" in restored.out
    assert (state / "notary.sealed.json").read_bytes() == before["notary.sealed.json"]
    assert (state / "kek-passphrase").read_bytes() != before["kek-passphrase"]
    key_files.load(state, state / "kek-passphrase", "grace.local")


def test_the_logs_key_comes_into_the_backup_and_back_into_the_audit_logs_folder(
    run: Run, home: Home, state: Path, words: Path, tmp_path: Path
) -> None:
    folder = home.state("audit-log")
    log = FileLogKeys(folder, "grace.local/log", tuple, home.publication).identity()
    early = run("keys", "backup", str(tmp_path / "early.json"))
    assert "start the audit-log first" in str(early.error)
    (home.publication / "checkpoint").write_bytes(log.checkpoint(TileEdge(), None)[1])
    shares, passphrases = split(run, tmp_path, words), ("--passphrases", str(words))
    told = run("keys", "status", "--json").json
    handed = back_up_log_keys(home, os.environ, told["root"], told["root_opening_key"])
    assert handed is not None
    file, old = tmp_path / "backup.json", tmp_path / "old.json"
    write_backup(state, file, SealedLogKeys.parse(handed))
    write_backup(state, old)
    pem = (folder / "log-key.pem").read_bytes()
    assert pem.splitlines()[1] not in file.read_bytes()

    drilled = run("keys", "drill", str(file), *shares, *passphrases)
    assert f"The log's key: {log.key}, signed" in drilled.out
    assert "not in this backup" in run("keys", "drill", str(old), *shares, *passphrases).out

    there = run("keys", "restore", str(file), *shares, *passphrases, "--log-only", "--json")
    assert there.json["log"] == "restored", "the same keys are there, and the restoration goes on"
    for one in folder.iterdir():
        one.unlink()
    none = run("keys", "restore", str(old), *shares, *passphrases, "--log-only")
    assert "holds no key of the log" in str(none.error)
    restored = run("keys", "restore", str(file), *shares, *passphrases, "--log-only")
    assert f"The log's key is back in {folder}" in restored.out
    assert (folder / "log-key.pem").read_bytes() == pem
    assert (folder / "log-key.pem").stat().st_mode & 0o777 == 0o600

    for one in state.iterdir():
        one.unlink()
    whole = run("keys", "restore", str(file), *shares, *passphrases)
    assert "The log's key: there is one here already, which stays." in whole.out


def test_a_wrong_share_is_named(run: Run, state: Path, words: Path, tmp_path: Path) -> None:
    shares = split(run, tmp_path, words)
    write_backup(state, tmp_path / "backup.json")
    words.write_text(json.dumps({name: "wrong" if name == "olga" else f"the words of {name}" for name in PEOPLE}))

    outcome = run("keys", "drill", str(tmp_path / "backup.json"), *shares, "--passphrases", str(words))

    assert outcome.code == Exit.REFUSED
    assert "share-3-olga.json, the share of olga, does not open" in str(outcome.error)
    assert "the words of" not in outcome.out + str(outcome.error)


def test_the_status_says_who_holds_the_root(run: Run, state: Path, words: Path, tmp_path: Path) -> None:
    first = run("keys", "status")
    assert "still kept by the signer; shares: handed out to nobody" in first.out
    assert "its passphrase is kept beside it" in first.out
    assert re.search(r"kek          made .*, \d+ days ago; used \d+ times\n", first.out)

    split(run, tmp_path, words)

    told = run("keys", "status", "--json").json
    assert (told["root_kept_by_the_signer"], told["holders"]) == (False, list(PEOPLE))


def test_the_status_says_what_is_due_why_and_by_which_command(
    run: Run, home: Home, state: Path, words: Path, tmp_path: Path
) -> None:
    split(run, tmp_path, words)
    limits = {"GRACE_KEK_DAYS": "0.0000001", "GRACE_WITNESS_KEY_DAYS": "0.0000001"}
    write_env_file(home.credentials / "crypto-signer.env", limits)

    told = run("keys", "status").out

    assert re.search(r"kek .*; due by age: the running signer replaces it by itself\n", told)
    assert re.search(r"witness .*; due by age: grace keys rotate witness --share …\n", told)


def test_the_passphrase_can_be_taken_away_from_the_keys(run: Run, state: Path, words: Path) -> None:
    taken = run("keys", "passphrase", "--passphrases", str(words))
    assert "no longer beside the keys" in taken.out
    assert not (state / "kek-passphrase").exists()
    assert key_files.kek_by_passphrase(state, b"the words of kek").id

    back = run("keys", "passphrase", "--kept", "--passphrases", str(words), "--json")
    assert back.json["kept_in"] == str(state / "kek-passphrase")


def test_passphrases_are_asked_for_and_not_shown(run: Run, state: Path) -> None:
    outcome = run("keys", "passphrase", stdin="typed words\ntyped words\n")

    assert outcome.code == 0, outcome.error
    assert "typed words" not in outcome.out
    assert key_files.kek_by_passphrase(state, b"typed words").id


def test_a_key_is_replaced_and_the_directory_says_so(run: Run, home: Home, state: Path, words: Path) -> None:
    (home.publication / "vkey").write_text(f"{VerifierKey('grace.local/log', bytes(range(32)))}\n")
    first = run("keys", "directory", "--json").json
    assert [key["purpose"] for key in first["keys"]] == ["ca", "notary", "attestation", "witness", "log"]

    rotated = run("keys", "rotate", "notary")
    assert "in version 2 of the key directory" in rotated.out

    told = run("keys", "directory").out
    assert "version 2, signed by the root" in told
    assert told.count("notary") == 2
    unknown = run("keys", "rotate", "everything")
    assert (unknown.code, "no level 'everything'" in str(unknown.error)) == (Exit.REFUSED, True)


def test_the_logs_next_key_is_made_by_the_audit_log_and_listed_by_the_signer(
    run: Run, home: Home, state: Path, words: Path
) -> None:
    early = run("keys", "rotate", "log")
    assert (early.code, "start the audit-log first" in str(early.error)) == (Exit.REFUSED, True)
    folder = home.state("audit-log")
    log = FileLogKeys(folder, "grace.local/log", tuple, home.publication).identity().key
    (home.publication / "vkey").write_text(f"{log}\n")
    unlisted = run("keys", "rotate", "log")
    assert (unlisted.code, "`grace keys directory` first" in str(unlisted.error)) == (Exit.REFUSED, True)
    run("keys", "directory")
    (home.publication / "keys").mkdir()
    (home.publication / "keys/0001.json").write_bytes((state / "directory-0001.json").read_bytes())

    rotated = run("keys", "rotate", "log")
    again = run("keys", "rotate", "log", "--json").json
    told = run("keys", "status")
    refused = run("keys", "retire", "log")

    assert f"The log's next key is {again['log_key']}, in version 2 of the key directory." in rotated.out
    assert "end the one before: grace keys retire log" in rotated.out
    assert again["directory"] == 2
    assert (folder / "log-key-next.pem").stat().st_mode & 0o777 == 0o600
    assert f"log          {log}, from " in told.out
    assert f"log          {again['log_key']}, from " in told.out
    assert (refused.code, "the database does not answer" in str(refused.error)) == (Exit.NOT_READY, True)
    wrong = run("keys", "retire", "notary")
    assert (wrong.code, "only `log` and `ca` are retired" in str(wrong.error)) == (Exit.REFUSED, True)


def test_once_the_root_is_split_only_shares_change_what_the_directory_lists(
    run: Run, state: Path, words: Path, tmp_path: Path
) -> None:
    shares = split(run, tmp_path, words)
    before = (state / "notary.sealed.json").read_bytes()

    alone = run("keys", "rotate", "notary")
    assert alone.code == Exit.REFUSED
    assert "exists as shares alone: bring three of them" in str(alone.error)
    assert (state / "notary.sealed.json").read_bytes() == before

    done = run("keys", "rotate", "notary", *shares, "--passphrases", str(words), "--json")
    assert done.json["directory"] == 1
    assert (state / "notary.sealed.json").read_bytes() != before


def test_the_ca_is_replaced_with_the_database_alone_and_the_status_says_where_that_stands(
    run: Run, state: Path
) -> None:
    kek = key_files.open_kek(state, state / "kek-passphrase")
    assert run("keys", "status").out.endswith(f"CA           {key_files.ca_id(state)} certifies\n")

    away = run("keys", "rotate", "ca")
    assert (away.code, "the database does not answer" in str(away.error)) == (Exit.NOT_READY, True)
    none = run("keys", "retire", "ca")
    assert (none.code, "none before it" in str(none.error)) == (Exit.REFUSED, True)
    assert "only `log` and `ca`" in str(run("keys", "retire", "notary").error)

    key_files.prepare_ca(state, kek, "grace.local", FixedClock())
    assert "is made and certifies nothing yet: grace keys rotate ca goes on" in run("keys", "status").out
    key_files.enter_ca(state, kek, datetime.now(UTC))
    assert "was replaced and counts still: grace keys retire ca ends it" in run("keys", "status").out
    key_files.end_other_cas(state, kek)
    assert [one["state"] for one in run("keys", "status", "--json").json["authorities"]] == ["certifies", "ended"]


def test_a_backup_needs_the_database_and_says_so(run: Run, state: Path, words: Path, tmp_path: Path) -> None:
    outcome = run("keys", "backup", str(tmp_path / "backup.json"))

    assert outcome.code == Exit.NOT_READY
    assert "the database does not answer" in str(outcome.error)
    assert outcome.error
    assert "grace status" in outcome.error.advice


def test_before_the_first_start_there_are_no_keys(run: Run, home: Home) -> None:
    outcome = run("keys", "status")

    assert outcome.code == Exit.REFUSED
    assert "root.json is missing" in str(outcome.error)


@pytest.mark.parametrize(
    ("content", "mode", "why"),
    [
        ("{}", 0o644, "can be read by others"),
        ("not json", 0o600, "no JSON object of passphrases"),
        ("[]", 0o600, "no JSON object of passphrases"),
        ("{}", 0o600, "has no passphrase of kek"),
    ],
)
def test_a_bad_file_of_passphrases_is_refused(
    run: Run, state: Path, tmp_path: Path, content: str, mode: int, why: str
) -> None:
    file = tmp_path / "words.json"
    file.write_text(content)
    file.chmod(mode)

    outcome = run("keys", "passphrase", "--passphrases", str(file))

    assert outcome.code == Exit.USAGE
    assert why in str(outcome.error)


def test_files_that_are_no_shares_are_named(run: Run, state: Path, words: Path, tmp_path: Path) -> None:
    (tmp_path / "letter").write_text("dear ada")

    for file in ("letter", "absent"):
        outcome = run("keys", "drill", "backup.json", "--share", str(tmp_path / file), "--passphrases", str(words))
        assert outcome.code == Exit.USAGE
        assert f"{file} is no share of a root" in str(outcome.error)
    assert "cannot be read" in str(run("keys", "passphrase", "--passphrases", str(tmp_path / "none")).error)


@pytest.fixture
def short_home() -> Iterator[Path]:
    """A state folder whose path is short enough for a Unix socket."""
    with tempfile.TemporaryDirectory(prefix="grace-") as place:
        state = Path(place) / "state/crypto-signer"
        state.mkdir(parents=True)
        yield Path(place)


def test_the_passphrase_goes_over_the_socket_of_the_signer_that_waits(run: Run, short_home: Path, words: Path) -> None:
    heard: list[bytes] = []
    with socket.socket(socket.AF_UNIX) as door:
        door.bind(str(short_home / "state/crypto-signer/unseal.sock"))
        door.listen()

        def answer(said: bytes) -> None:
            connection, _ = door.accept()
            with connection, connection.makefile("rb") as file:
                heard.append(file.readline())
                connection.sendall(said)

        outcomes = []
        for said in (b'{"unsealed":true,"kek":"3f2a"}\n', b'{"error":"the passphrase does not open it"}\n', b""):
            thread = threading.Thread(target=answer, args=(said,))
            thread.start()
            words_of = ("--passphrases", str(words))
            outcomes.append(run("keys", "unseal", *words_of, environ={"GRACE_HOME": str(short_home)}))
            thread.join()

    assert json.loads(heard[0]) == {"passphrase": "the words of kek"}
    assert "starts to sign (key-encryption key 3f2a)" in outcomes[0].out
    assert [outcome.code for outcome in outcomes] == [Exit.OK, Exit.REFUSED, Exit.FAILED]
    assert "closed the connection" in str(outcomes[2].error)


def test_where_no_signer_waits_it_says_so(run: Run, short_home: Path, words: Path) -> None:
    outcome = run("keys", "unseal", "--passphrases", str(words), environ={"GRACE_HOME": str(short_home)})

    assert outcome.code == Exit.NOT_RUNNING
    assert "no crypto-signer waits to be unsealed" in str(outcome.error)
    assert outcome.error
    assert "GRACE_SEALED=true" in outcome.error.advice


def test_certificates_are_renewed_with_the_database_alone(run: Run, state: Path) -> None:
    outcome = run("keys", "renew")

    assert outcome.code == Exit.NOT_READY
    assert "the database does not answer" in str(outcome.error)
