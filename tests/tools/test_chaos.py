"""What chaos watches with is not blind: a log that shrinks, forks or doubles is found."""

import os
from collections.abc import Mapping
from pathlib import Path

from grace_cli.errors import Exit
from grace_cli.stack.home import Home
from grace_common.contract.topics import AUDIT_LOG, CRYPTO_SIGNER
from grace_common.testing.ledger import MemoryLog, SeededKey

from tools.chaos.cut import Cut, Given, give
from tools.chaos.report import Change, Report, Row
from tools.chaos.tally import Follower, Log


def write(files: Mapping[str, bytes], folder: Path) -> None:
    for path, data in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)


def grown(*parts: bytes) -> MemoryLog:
    """A log with 300 entries for each part."""
    log = MemoryLog()
    for part in parts:
        log.append(*[part + b" %d" % number for number in range(300)])
    log.publish()
    return log


def follower(log: MemoryLog, folder: Path) -> Follower:
    write(log.files, folder)
    follower = Follower(Log(folder, log.key))
    follower.look()
    return follower


def test_checkpoints_that_continue_each_other_are_counted_once_each(tmp_path: Path) -> None:
    following = follower(grown(b"a"), tmp_path)
    write(grown(b"a", b"b").files, tmp_path)
    following.look()
    following.look()

    assert (following.checked, following.violations) == (2, [])


def test_a_log_that_shrinks_is_found(tmp_path: Path) -> None:
    following = follower(grown(b"a", b"b"), tmp_path)
    write(grown(b"a").files, tmp_path)
    following.look()

    assert following.violations == ["the log shrank from 600 to 300 entries"]


def test_a_log_that_forks_is_found(tmp_path: Path) -> None:
    following = follower(grown(b"a"), tmp_path)
    write(grown(b"x", b"b").files, tmp_path)
    following.look()

    assert following.violations == ["the tree of 600 entries does not begin with that of 300"]


def test_a_checkpoint_of_another_signer_is_found(tmp_path: Path) -> None:
    following = follower(grown(b"a"), tmp_path)
    stranger = MemoryLog("log.example/stranger")
    stranger.publish()
    write({"checkpoint": stranger.files["checkpoint"]}, tmp_path)
    following.look()

    assert "does not verify" in following.violations[0]


def test_whoever_was_told_of_the_next_key_goes_by_no_other(tmp_path: Path) -> None:
    log = grown(b"a")
    following, before = follower(log, tmp_path), log.publish()
    log.succeed(SeededKey("next"))
    log.append(b"b")
    log.publish()
    write(log.files, tmp_path)
    following.look()
    following.log.succeed(log.key)
    following.look()
    assert (following.checked, following.violations) == (3, [])

    write({"checkpoint": before}, tmp_path)
    following.look()
    assert "does not verify" in following.violations[0]


def test_what_is_not_published_is_no_violation(tmp_path: Path) -> None:
    following = Follower(Log(tmp_path, MemoryLog().key))
    following.look()

    assert (following.checked, following.violations) == (0, [])


def test_a_command_is_killed_at_its_moment_and_else_ends_by_itself(tmp_path: Path) -> None:
    home = Home(tmp_path, tmp_path)
    for service in (CRYPTO_SIGNER, AUDIT_LOG):
        home.state(service).mkdir(parents=True)
    environ = os.environ | {"GRACE_HOME": str(tmp_path)}

    def status(changes: int) -> Given:
        return give(home, environ, ("keys", "status"), Cut(changes, after_s=0.0))

    assert status(changes=0) == Given(None, {})
    ended = status(changes=1)  # it changes no file
    assert ended.code == Exit.REFUSED
    assert "root.json is missing" in ended.answer["error"]


def test_the_table_names_each_death_and_what_was_found() -> None:
    report = Report(7, [Row("relay.sent", 1, [2.0])], [Row("kafka", 3, [5.0, 6.0, 10.0])], [Change("kek", 3, 2, 1)])
    lines = report.text().splitlines()

    assert report.sound
    assert any(line.split() == ["kafka", "3", "6.0", "s", "10.0", "s"] for line in lines)
    assert any(line.split() == ["kek", "3", "2", "1"] for line in lines)
    assert "seed 7 · 1 stages reached · 3 random kills · 3 changes of keys · 0 s" in lines
    assert not Report(7, lost=1).sound
    assert not Report(7, doubled=1).sound
    assert not Report(7, violations=["forked"]).sound
