"""A process dies exactly where it is told to, leaves a note of it, and is never told so by mistake."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from grace_common.contract.errors import Refused
from grace_common.runtime import failpoint
from grace_common.testing.failpoints import LATER, ask, deaths, killing

PASSES = """
import sys
from pathlib import Path
from grace_common.runtime import failpoint

failpoint.arm(sys.argv[1], Path(sys.argv[2]))
for number in range(1, 4):
    print(number, flush=True)
    failpoint.reached("relay", "read")
    failpoint.reached("relay", "sent")
"""


@pytest.mark.parametrize(("wanted", "seen"), [("relay.sent", "1\n"), ("relay.sent:3", "1\n2\n3\n")])
def test_a_process_is_killed_at_the_pass_of_the_stage_it_was_told(wanted: str, seen: str, tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", PASSES, wanted, str(tmp_path)], capture_output=True, text=True)

    assert (done.returncode, done.stdout) == (-signal.SIGKILL, seen), done.stderr
    assert [death.stage for death in deaths(tmp_path)] == ["relay.sent"]


def test_a_stage_that_is_passed_less_often_kills_nobody(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PASSES, "relay.sent:4", str(tmp_path)], capture_output=True, text=True, check=True
    )

    assert done.stdout == "1\n2\n3\n"
    assert deaths(tmp_path) == []


def test_a_process_that_waits_to_be_told_dies_once_at_the_stage_that_is_asked_for(tmp_path: Path) -> None:
    arguments = [sys.executable, "-c", PASSES, LATER, str(tmp_path)]
    spared = subprocess.run(arguments, capture_output=True, text=True)
    ask(tmp_path, "relay.read:2")
    killed = subprocess.run(arguments, capture_output=True, text=True)
    successor = subprocess.run(arguments, capture_output=True, text=True)

    assert [done.returncode for done in (spared, killed, successor)] == [0, -signal.SIGKILL, 0]
    assert killed.stdout == "1\n2\n"
    assert [death.stage for death in deaths(tmp_path)] == ["relay.read"]


@pytest.mark.parametrize("wanted", ["", "relay", "relay.nowhere", "relay.sent:0", "relay.sent:-1", "relay.sent:x", "*"])
def test_what_names_no_stage_or_no_pass_is_refused_with_the_stages_there_are(wanted: str, tmp_path: Path) -> None:
    with pytest.raises(Refused, match=r"expected a stage, STAGE:N .*; stages: .*relay\.sent"):
        killing(wanted, tmp_path)


def test_a_process_that_is_told_nothing_passes_every_stage(tmp_path: Path) -> None:
    failpoint.arm(None, tmp_path)
    for stage in (*failpoint.STAGES, *failpoint.KEY_STAGES):
        failpoint.reached(*stage.split("."))

    assert deaths(tmp_path) == []
