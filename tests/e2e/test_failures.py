"""The logs of a Grace with which a test failed outlive it."""

from dataclasses import dataclass
from pathlib import Path

import pytest
from grace_cli.stack.home import Home

from tests.e2e.failures import keep_logs_of


@dataclass
class Grace:
    home: Home


def test_the_logs_of_a_failed_test_are_kept_and_its_report_says_where(tmp_path: Path) -> None:
    home = Home(tmp_path / "home", tmp_path / "cache")
    home.make()
    (home.logs / "audit-log.log").write_text("what happened")
    fixtures = {"grace": Grace(home), "stack": Grace(home), "tmp_path": tmp_path}
    report = pytest.TestReport("test_it", ("test.py", 1, "test_it"), {}, "failed", None, "call")

    keep_logs_of("test_it[kafka-]", fixtures, report, tmp_path / "tree")

    kept = tmp_path / "tree" / ".grace" / "failed-tests" / "test_it-kafka"
    assert report.sections == [("The logs of Grace are kept in", str(kept))]
    assert (kept / "audit-log.log").read_text() == "what happened"
