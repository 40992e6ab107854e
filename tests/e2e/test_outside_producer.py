"""The example of an outside producer does what it says, as a program of its own."""

import subprocess
import sys
from pathlib import Path
from uuid import uuid4

from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tests.e2e.doors import Person
from tests.e2e.outsiders import enrol
from tests.e2e.patience import until
from tests.e2e.stack import Stack

EXAMPLE = Path(__file__).parents[2] / "examples" / "kafka_producer.py"


def test_the_example_asks_for_code_with_an_enrolled_key(grace: Stack, olga: Person, tmp_path: Path) -> None:
    outsider = enrol(olga, f"example-{uuid4().hex[:8]}")
    pem = outsider.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (tmp_path / "key.pem").write_bytes(pem)
    told = {name: value for name, value in grace.credentials("producer").items() if name.startswith("GRACE_KAFKA_")}

    done = subprocess.run(
        [sys.executable, str(EXAMPLE), str(tmp_path / "key.pem")],
        env=told,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    task_id = done.stdout.strip()
    until(f"task {task_id}", lambda: olga.patiently("GET", f"/api/tasks/{task_id}").status_code == 200)
    task = olga.waits_for(task_id, "approach-proposed")
    assert (task["requester"], task["via"]) == (outsider.name, "kafka")
    olga.post(f"/api/tasks/{task_id}/cancellation", {"reason": "the example has shown what it shows"})
