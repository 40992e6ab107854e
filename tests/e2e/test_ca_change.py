"""Grace's CA replaced by command while tasks are under way: nothing is lost, and all that was and comes verifies."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Final

from grace_common.transparency.checkpoint import CA_EXTENSION

from tests.e2e.doors import Ledger, Person
from tests.e2e.patience import until
from tests.e2e.tasks import FIBONACCI, approve, deliver, guide, receipt

DIRECTORY: Final = b'"directory":'
PUBLISHED: Final = "grace.notary-key-published.v1"
STAND_ALONE: Final = Path(__file__).parents[2] / "contrib" / "verify_receipt.py"


def test_the_ca_is_replaced_and_ended_while_tasks_are_under_way(
    ada: Person, reviewer: Person, olga: Person, ledger: Ledger, tmp_path: Path
) -> None:
    stack = ada.stack

    def told(*words: str) -> dict[str, object]:
        done = stack.command("keys", *words, "--json")
        assert done.returncode == 0, done.stderr
        answer: dict[str, object] = json.loads(done.stdout)
        return answer

    def verified(task_id: str) -> int:
        """How many CAs the receipt of a task names, once both verifiers accept it for who knows the root."""
        files = [str(tmp_path / f"{task_id}.json"), str(tmp_path / f"{task_id}.py")]
        made = until(
            "receipt with a key directory", lambda: listed if DIRECTORY in (listed := receipt(ada, task_id)) else None
        )
        Path(files[0]).write_bytes(made)
        Path(files[1]).write_bytes(ada.patiently("GET", f"/api/tasks/{task_id}/artifact").content)
        known = ["--log-key", ledger.vkey, "--root-key", str(told("status")["root_key"])]
        ours = stack.command("receipt", "verify", *files, *known)
        alone = [sys.executable, "-I", str(STAND_ALONE), *files, *known]
        other = subprocess.run(alone, capture_output=True, text=True, check=False)
        assert (ours.returncode, other.returncode) == (0, 0), f"{ours.stderr} {other.stderr}"
        return len(json.loads(made)["keys"]["ca"])

    before = deliver(ada, reviewer, FIBONACCI)
    assert verified(before["id"]) == 1
    first = {one.index for one in ledger.entries() if one.type == PUBLISHED}
    keys = {one["key_id"]: one for one in olga.items("/api/keys")}
    amidst = ada.post("/api/tasks", FIBONACCI)["id"]
    guide(ada, reviewer, amidst)

    rotated = told("rotate", "ca")
    approve(ada, reviewer, amidst)
    until(
        "keys that the next CA published",
        lambda: len([one for one in ledger.entries() if one.type == PUBLISHED and one.index not in first]) == 2,
    )
    meanwhile = deliver(ada, reviewer, FIBONACCI)
    retired = told("retire", "ca")
    stack.kill("consensus")()
    stack.kill("crypto-signer")()
    after = deliver(ada, reviewer, FIBONACCI)

    assert rotated["certificates"] == len(keys)
    assert [one["state"] for one in retired["authorities"]] == ["certifies", "ended"]  # type: ignore[attr-defined, index]
    now = {one["key_id"]: one for one in olga.items("/api/keys")}
    assert now.keys() == keys.keys()
    assert olga.get(f"/api/keys/{min(keys)}")["not_after"] == keys[min(keys)]["not_after"]
    until("checkpoint with both CAs", lambda: len(ledger.checkpoint().values(CA_EXTENSION)) == 2)
    assert len(ledger.read("ca").split()) == 2
    for task_id in (before["id"], amidst, meanwhile["id"], after["id"]):
        verified(task_id)
    whole = stack.command("ledger", "verify", "--database")
    assert whole.returncode == 0, whole.stderr
    assert stack.command("ledger", "verify").returncode == 0
