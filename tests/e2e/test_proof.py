"""What can be proven with files alone: under a policy of outside witnesses, and after content was removed."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Final
from uuid import uuid4

from grace_common.contract.errors import Refused, Unready
from grace_common.transparency.note import Note, VerifierKey
from grace_common.transparency.policy import Policy

from tests.e2e.doors import Ledger, Person
from tests.e2e.patience import until
from tests.e2e.tasks import FIBONACCI, deliver, receipt

STAND_ALONE: Final = Path(__file__).parents[2] / "contrib" / "verify_receipt.py"


def cosigned(ledger: Ledger, policy: Policy) -> int:
    """Return the size of the cosigned checkpoint, 0 while it lacks the policy's quorum."""
    try:
        note = ledger.read("checkpoint.cosigned")
        return policy.open(note, VerifierKey.parse(ledger.vkey)).checkpoint.size
    except (Unready, Refused):
        return 0


def test_a_receipt_meets_a_policy_of_outside_witnesses_of_whom_one_is_away(
    ada: Person, reviewer: Person, ledger: Ledger, tmp_path: Path
) -> None:
    watch = ada.stack.watch
    policy = Policy.parse(watch.policy.read_bytes())
    task = deliver(ada, reviewer, FIBONACCI)
    made = receipt(ada, task["id"])
    needed = max(entry["index"] for entry in json.loads(made)["entries"])
    until("checkpoint that two of three cosigned", lambda: cosigned(ledger, policy) > needed)
    (tmp_path / "receipt.json").write_bytes(receipt(ada, task["id"]))
    (tmp_path / "code.py").write_bytes(ada.patiently("GET", f"/api/tasks/{task['id']}/artifact").content)
    files = [str(tmp_path / "receipt.json"), str(tmp_path / "code.py")]
    demanding = ["--log-key", ledger.vkey, "--witness-policy", str(watch.policy)]

    verified = ada.stack.command("receipt", "verify", *files, *demanding)
    assert verified.returncode == 0, verified.stderr
    assert "The quorum 'two' of the witness policy" in verified.stdout
    assert "The witness friend.example/w saw that tree at" in verified.stdout
    alone = [sys.executable, "-I", str(STAND_ALONE), *files, *demanding]
    second = subprocess.run(alone, capture_output=True, text=True, check=False)
    assert (second.returncode, second.stderr) == (0, "")
    assert "The quorum 'two' of the witness policy is met." in second.stdout
    # Grace's own witness is there too; the one that is away is not, and with it demanded, nothing holds.
    shown = json.loads((tmp_path / "receipt.json").read_text())["checkpoint"]
    by = {line.name for line in Note.parse(shown.encode()).signatures}
    assert by == {"grace.local/log", "grace.local/witness", "friend.example/w", "other.example/w"}
    (tmp_path / "all").write_text(watch.policy.read_text().replace("two 2", "two all"))
    refused = ada.stack.command("receipt", "verify", *files, *demanding[:-1], str(tmp_path / "all"))
    assert refused.returncode == 1
    assert "'two'" in refused.stderr

    log = ["ledger", "verify", *demanding[2:]]
    assert "seen by the quorum 'two' of the policy" in ada.stack.command(*log).stdout


def test_content_is_removed_by_who_may_and_everything_still_verifies(
    ada: Person, reviewer: Person, olga: Person, ledger: Ledger, tmp_path: Path
) -> None:
    secret = f"nobody should have read this: {uuid4()}"
    task = deliver(ada, reviewer, FIBONACCI | {"requirements": f"{FIBONACCI['requirements']}. {secret}"})
    entry = next(one for one in ledger.entries() if one.correlation == task["id"] and "task-submitted" in one.type)
    leaf = olga.get(f"/api/ledger/entries/{entry.index}")["leaf"]
    for person in (ada, reviewer):
        person.refused(403, "POST", f"/api/ledger/entries/{entry.index}/redaction", {"reason": "mine"})
    redacted = ada.stack.command("ledger", "redact", str(entry.index), "--reason", "a person asked for it")
    assert redacted.returncode == 0, redacted.stderr
    asked = until(
        "redaction in the ledger",
        lambda: [
            one for one in ledger.entries() if one.type == "grace.redaction-requested.v1" and one.index > entry.index
        ],
    )

    # The leaf stays as it was, and what the gateway shows has the content no more.
    assert olga.get(f"/api/ledger/entries/{entry.index}")["leaf"] == leaf
    until("view without the content", lambda: "[redacted]" in json.dumps(ada.get(f"/api/tasks/{task['id']}")))
    verified = ada.stack.command("ledger", "verify", "--database")  # the content went when the redaction was sealed
    assert verified.returncode == 0, verified.stdout + verified.stderr
    assert f"The payload of entry {entry.index} was redacted by entry {asked[0].index}." in verified.stdout
    again = ada.stack.command("ledger", "redact", str(entry.index), "--reason", "once more")
    assert again.returncode in (0, 5), again.stderr  # what was removed before is stated, and removes nothing

    (tmp_path / "receipt.json").write_bytes(receipt(ada, task["id"]))
    (tmp_path / "code.py").write_bytes(ada.patiently("GET", f"/api/tasks/{task['id']}/artifact").content)
    files = [str(tmp_path / "receipt.json"), str(tmp_path / "code.py")]
    verified = ada.stack.command("receipt", "verify", *files, "--log-key", ledger.vkey)
    assert verified.returncode == 0, verified.stderr
    assert secret not in (tmp_path / "receipt.json").read_text() + verified.stdout
