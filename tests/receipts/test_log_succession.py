"""Receipts across a change of the log's own key, as both verifiers judge them with the older and the newer vkey."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from grace_cli.errors import CliError, Exit
from grace_cli.main import build_app
from grace_common.testing.ledger import TIME, MemoryLedger, SeededKey
from grace_common.transparency.directory import KeyDirectory
from typer.testing import CliRunner

from .test_directories import judged, listing, signed
from .test_verifiers import STAND_ALONE, VECTORS, Case, stand_alone, vector

SUCCESSOR = SeededKey("successor")


def both(ledger: MemoryLedger) -> tuple[str, str]:
    """Let two keys sign the log; return the older vkey and the newer."""
    old = ledger.log.key
    ledger.log.succeed(SUCCESSOR)
    return str(old), str(ledger.log.key)


def ended(directory: KeyDirectory, vkey: str) -> KeyDirectory:
    """The directory when it says that this key of the log had ended by then."""
    keys = (
        replace(key, not_after=TIME) if key in directory.of("log") and str(named(key.public_key)) == vkey else key
        for key in directory.keys
    )
    return replace(directory, keys=tuple(keys))


def named(public_key: bytes) -> object:
    return replace(MemoryLedger().log.key, public_key=public_key)


def refusals(case: Case, *vkeys: str) -> list[str | None]:
    return [judged(replace(case, vkey=vkey, root=SeededKey("root").public_key)) for vkey in vkeys]


def test_a_receipt_made_before_the_change_verifies_for_ever_with_the_older_key() -> None:
    ledger = MemoryLedger()
    delivered = ledger.deliver(listed=True)
    case = Case("", "", delivered.receipt.encode(), delivered.artifact, "")
    old, new = both(ledger)

    assert refusals(case, old) == [None]
    [refusal] = refusals(case, new)
    assert "no signature by" in (refusal or "")


def test_a_receipt_made_while_both_sign_verifies_with_either() -> None:
    ledger = MemoryLedger()
    old, new = both(ledger)

    case = listing(ledger, signed(ledger.directory()))

    assert refusals(case, old, new) == [None, None]


def test_a_receipt_made_after_the_older_key_ended_verifies_with_the_newer_alone() -> None:
    ledger = MemoryLedger()
    old, new = both(ledger)
    directory = ended(ledger.directory(), old)
    ledger.log.retire()

    case = listing(ledger, signed(directory))

    assert refusals(case, new) == [None]
    [refusal] = refusals(case, old)
    assert "no signature by" in (refusal or "")


@pytest.mark.parametrize("which", ["older", "newer"])
def test_a_key_that_is_not_in_use_by_the_directory_stands_behind_nothing_though_it_signed(which: str) -> None:
    ledger = MemoryLedger()
    old, new = both(ledger)
    gone, stays = (old, new) if which == "older" else (new, old)

    case = listing(ledger, signed(ended(ledger.directory(), gone)))

    assert refusals(case, stays) == [None]
    [refusal] = refusals(case, gone)
    assert "in use at" in (refusal or "")


WHICH = ("newer", "older")


def overlapping() -> tuple[Case, dict[str, str]]:
    """The vector whose checkpoint two keys of the log signed, and the vkey of each."""
    receipt, artifact, newer = vector("overlapping")
    older = (VECTORS / "overlapping.vkey-before").read_text().strip()
    return Case("", "", receipt, artifact, newer), {"newer": newer, "older": older}


def asked(receipt: Path, artifact: Path, vkey: str) -> tuple[str | None, str | None]:
    """Why `grace receipt verify` refuses a receipt, and why the stand-alone program does; None when it accepts it."""
    words = [str(receipt), str(artifact), "--log-key", vkey]
    ours = CliRunner().invoke(build_app(), ["receipt", "verify", *words])
    assert ours.exit_code == Exit.OK or isinstance(ours.exception, CliError), ours.output
    theirs = subprocess.run(
        [sys.executable, "-I", str(STAND_ALONE), *words], capture_output=True, text=True, check=False
    )
    return (
        ours.exception.message if isinstance(ours.exception, CliError) else None,
        theirs.stderr if theirs.returncode else None,
    )


@pytest.mark.parametrize("which", WHICH)
def test_both_programs_accept_the_vector_of_two_signatures_with_the_key_of_either(which: str) -> None:
    _, vkeys = overlapping()

    assert asked(VECTORS / "overlapping.receipt.json", VECTORS / "overlapping.artifact", vkeys[which]) == (None, None)


@pytest.mark.parametrize("changed", WHICH)
def test_a_change_of_one_line_is_refused_with_its_key_and_passed_over_with_the_other(changed: str) -> None:
    case, vkeys = overlapping()
    whole = json.loads(case.receipt)
    text, _, lines = whole["checkpoint"].partition("\n\n")
    line = lines.splitlines()[WHICH.index(changed)]
    signature = line.split(" ")[2]
    cases = []
    for at, sign in enumerate(signature[:-4]):  # the last four may be another spelling of the same bytes, or of none
        other = line.replace(signature, signature[:at] + ("B" if sign == "A" else "A") + signature[at + 1 :])
        spoiled = json.dumps({**whole, "checkpoint": f"{text}\n\n{lines.replace(line, other)}"}).encode()
        cases.append(replace(case, receipt=spoiled))

    for which, vkey in vkeys.items():
        given = [replace(each, vkey=vkey) for each in cases]
        ours, theirs = [each.refusal() for each in given], stand_alone(given)
        assert len(given) == len(signature) - 4
        assert {refusal is None for refusal in (*ours, *theirs)} == {which != changed}


@pytest.mark.parametrize("which", WHICH)
def test_a_line_that_is_none_is_refused_with_the_key_of_either(which: str) -> None:
    case, vkeys = overlapping()
    for line in range(2):
        whole = json.loads(case.receipt)
        text, _, lines = whole["checkpoint"].partition("\n\n")
        listed = lines.splitlines()
        listed[line] = f"{listed[line][:-8]}*{listed[line][-7:]}"
        spoiled = json.dumps({**whole, "checkpoint": "\n".join([text, "", *listed, ""])}).encode()

        assert judged(replace(case, receipt=spoiled, vkey=vkeys[which])) is not None


def test_both_programs_refuse_the_older_key_where_it_had_ended_before_the_checkpoint(tmp_path: Path) -> None:
    ledger = MemoryLedger()
    old, new = both(ledger)
    case = listing(ledger, signed(ended(ledger.directory(), old)))  # two lines, and the directory lists one key in use
    receipt, artifact = tmp_path / "receipt.json", tmp_path / "double.py"
    receipt.write_bytes(case.receipt)
    artifact.write_bytes(case.artifact)

    assert asked(receipt, artifact, new) == (None, None)
    ours, theirs = asked(receipt, artifact, old)
    assert "the log's key is none that version 1 of the key directory lists as in use" in (ours or "")
    assert "in use" in (theirs or "")
