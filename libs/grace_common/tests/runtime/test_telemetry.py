"""Logs are JSON, one object a line, foreign libraries' too; traces go on where a record left them."""

import json
import subprocess
import sys
from typing import Any

from grace_common.runtime.telemetry import continued, traceparent

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
LOGGING = """
import logging, structlog
from grace_common.runtime import telemetry
telemetry.configure("consensus", "INFO", ["hunter2-hunter2", "hunter2-hunter2-and-more", "short"])
structlog.get_logger("ours").warning("waiting", missing="Kafka")
structlog.get_logger("ours").debug("unheard")
logging.getLogger("theirs").error("as %s", "formatted")
logging.getLogger("aiokafka.cluster").warning("unheard")
try:
    raise ValueError("broken")
except ValueError:
    structlog.get_logger("ours").error("stopped", exc_info=True)
try:
    raise ValueError("cannot connect to postgresql://me:hunter2-hunter2@db")
except ValueError:
    structlog.get_logger("ours").error("a short shout", tried=["hunter2-hunter2-and-more"], times=3, exc_info=True)
logging.getLogger("theirs").error("password=%s", "hunter2-hunter2")
"""


def logged() -> list[dict[str, Any]]:
    done = subprocess.run([sys.executable, "-c", LOGGING], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_every_line_is_a_json_object_that_says_which_service_when_and_how_grave() -> None:
    ours, theirs, stopped, *_ = logged()

    assert (ours["service"], ours["level"], ours["logger"]) == ("consensus", "warning", "ours")
    assert (ours["event"], ours["missing"]) == ("waiting", "Kafka")
    assert ours["timestamp"].endswith("Z")
    assert (theirs["event"], theirs["logger"], theirs["level"]) == ("as formatted", "theirs", "error")
    assert "ValueError: broken" in stopped["exception"]


def test_no_line_holds_a_secret_that_the_process_was_told() -> None:
    *_, quoted, foreign = logged()

    assert (quoted["event"], quoted["tried"], quoted["times"]) == ("a short shout", "['[secret]']", 3)
    assert "postgresql://me:[secret]@db" in quoted["exception"]
    assert "hunter2" not in quoted["exception"]
    assert foreign["event"] == "password=[secret]"


def test_a_trace_goes_on_inside_and_ends_outside() -> None:
    assert traceparent() is None
    with continued(PARENT):
        assert traceparent() == PARENT
    assert traceparent() is None


def test_without_a_trace_nothing_is_traced() -> None:
    with continued(None):
        assert traceparent() is None
    with continued("no trace context"):
        assert traceparent() is None
