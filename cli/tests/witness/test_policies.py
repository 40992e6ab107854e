"""Receipts and logs are held to a witness policy where one is given."""

from dataclasses import replace
from pathlib import Path

import pytest
from grace_cli.errors import CliError, Exit
from grace_cli.main import build_app
from grace_common.testing.ledger import MemoryLedger, MemoryLog, SeededKey
from grace_common.transparency.note import SignatureType
from grace_common.transparency.witness import open_signed
from typer.testing import CliRunner

SIGNER = SeededKey("witness")
KEY = SIGNER.named("witness.example/w1", SignatureType.COSIGNATURE)


def cosigned(note: bytes, log: MemoryLog) -> bytes:
    return open_signed(note, [log.key]).cosigned(KEY, SIGNER.sign, 1_700_000_000)[1].encode()


def run(*words: str) -> str:
    """Run a command and return what it printed; raises the CliError that ended it."""
    result = CliRunner().invoke(build_app(), list(words))
    if result.exception is not None:
        raise result.exception
    return result.output


@pytest.fixture
def policy(tmp_path: Path) -> str:
    file = tmp_path / "policy"
    file.write_text(f"witness w1 {KEY}\nquorum w1\n")
    return str(file)


def test_a_receipt_must_carry_the_quorum_that_the_policy_demands(tmp_path: Path, policy: str) -> None:
    ledger = MemoryLedger()
    delivery = ledger.deliver()
    plain, seen, code = tmp_path / "plain.json", tmp_path / "seen.json", tmp_path / "double.py"
    code.write_bytes(delivery.artifact)
    plain.write_bytes(delivery.receipt.encode())
    witnessed = replace(delivery.receipt, checkpoint=cosigned(delivery.receipt.checkpoint, ledger.log))
    seen.write_bytes(witnessed.encode())
    demanding = [str(code), "--log-key", delivery.log_vkey, "--witness-policy", policy]

    said = run("receipt", "verify", str(seen), *demanding)
    assert "The witness witness.example/w1 saw that tree at 1700000000 s." in said
    assert "The quorum 'w1' of the witness policy" in said
    assert "The witness" not in run("receipt", "verify", str(seen), str(code), "--log-key", delivery.log_vkey)
    with pytest.raises(CliError, match="demands the quorum 'w1'; none of its witnesses cosigned"):
        run("receipt", "verify", str(plain), *demanding)


def test_a_policy_that_lists_another_log_accepts_no_receipt_of_this_one(tmp_path: Path) -> None:
    delivery = MemoryLedger().deliver()
    (tmp_path / "receipt.json").write_bytes(delivery.receipt.encode())
    (tmp_path / "double.py").write_bytes(delivery.artifact)
    (tmp_path / "policy").write_text(f"log {SeededKey('other').named('log.example/grace')}\nquorum none\n")

    with pytest.raises(CliError, match="not one of those that the policy lists"):
        run(
            *("receipt", "verify", str(tmp_path / "receipt.json"), str(tmp_path / "double.py")),
            *("--log-key", delivery.log_vkey, "--witness-policy", str(tmp_path / "policy")),
        )


def test_a_log_must_continue_a_checkpoint_that_satisfies_the_policy(tmp_path: Path, policy: str) -> None:
    log = MemoryLog("log.example")
    log.append(*(b"entry %d" % number for number in range(300)))
    seen = cosigned(log.publish(), log)
    log.append(b"one more")
    log.publish()
    folder = tmp_path / "log"
    written(log, folder)
    demanding = ["ledger", "verify", str(folder), "--log-key", str(log.key), "--witness-policy", policy]

    with pytest.raises(CliError, match="none of its witnesses cosigned"):
        run(*demanding)
    (folder / "checkpoint.cosigned").write_bytes(seen)
    assert "cosigned: 300 entries, seen by the quorum 'w1' of the policy" in run(*demanding)
    copy = str(tmp_path / "copy")
    run("ledger", "export", copy, "--from", str(folder), "--log-key", str(log.key))
    assert "seen by the quorum" in run("ledger", "verify", copy, "--log-key", str(log.key), "--witness-policy", policy)

    fork = MemoryLog("log.example")
    fork.append(*(b"other %d" % number for number in range(301)))
    fork.publish()
    written(fork, folder)
    with pytest.raises(CliError, match="is broken"):
        run(*demanding)


def test_what_is_no_policy_is_refused_before_anything_is_verified(tmp_path: Path) -> None:
    (tmp_path / "policy").write_text("quorum nobody\n")

    for file in ("policy", "absent"):
        with pytest.raises(CliError, match="is no witness policy") as error:
            run("ledger", "verify", str(tmp_path), "--witness-policy", str(tmp_path / file))
        assert error.value.code == Exit.USAGE


def written(log: MemoryLog, folder: Path) -> None:
    for path, data in log.files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
