"""A witness over HTTP as c2sp.org/tlog-witness describes it, and the commands that run and ask one."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from grace_cli.errors import CliError, Exit
from grace_cli.main import build_app
from grace_cli.witness import asking, key_file
from grace_cli.witness.memory import WitnessFile
from grace_cli.witness.server import LARGEST_BODY, Answer, Witness, listen
from grace_common.contract.errors import Refused
from grace_common.testing.ledger import MemoryLog, SeededKey
from grace_common.transparency.checkpoint import Checkpoint, open_checkpoint, sign_checkpoint
from grace_common.transparency.note import Note, SignatureType, VerifierKey
from grace_common.transparency.strict import Malformed
from grace_common.transparency.witness import Seen, Submission, origin_hash, submission_from_tiles
from typer.testing import CliRunner

NOW_S = 1_700_000_000
ORIGIN = "log.example/grace"
SIGNER = SeededKey("witness")
KEY = SIGNER.named("witness.example/w1", SignatureType.COSIGNATURE)


def grown(log: MemoryLog, size: int, word: bytes = b"entry") -> MemoryLog:
    log.append(*(word + b" %d" % number for number in range(len(log.entries), size)))
    log.publish()
    return log


@pytest.fixture
def log() -> MemoryLog:
    return grown(MemoryLog(ORIGIN), 300)


class Running:
    """A witness that serves in this process."""

    def __init__(self, folder: Path, *logs: VerifierKey) -> None:
        self.memory = WitnessFile(folder / "state.json")
        self.told: list[Answer] = []
        witness = Witness(KEY, SIGNER.sign, logs, self.memory, lambda: NOW_S + 0.5)
        self._server = listen("127.0.0.1", 0, witness, self.told.append)
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self.http = httpx.Client(base_url=self.url, trust_env=False)
        self._stopped = False

    def submit(self, submission: Submission) -> httpx.Response:
        return self.http.post("/add-checkpoint", content=submission.encode())

    def stop(self) -> None:
        if self._stopped:
            return
        self._stopped = True
        self.http.close()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
        self.memory.close()


Start = Callable[..., Running]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    started: list[Running] = []

    def start(*logs: VerifierKey) -> Running:
        started.append(Running(tmp_path, *logs))
        return started[-1]

    yield start
    for one in started:
        one.stop()


@pytest.fixture
def witness(start: Start, log: MemoryLog) -> Running:
    return start(log.key)


def now(log: MemoryLog, old_size: int) -> Submission:
    return submission_from_tiles(log, log.files["checkpoint"], old_size)


def test_a_first_checkpoint_is_cosigned_with_a_time_and_remembered(witness: Running, log: MemoryLog) -> None:
    answer = witness.submit(now(log, 0))

    assert (answer.status_code, answer.text[:2]) == (200, "— ")
    cosigned = Note.parse(log.files["checkpoint"]).text.encode() + b"\n"
    line = Note.parse(cosigned + answer.content).verified_by([KEY])[0]
    assert int.from_bytes(line.signature[:8], "big") == NOW_S
    assert witness.memory.seen(ORIGIN) == Seen(300, log.tree().root_at(300))
    assert [each.told for each in witness.told] == [f"cosigned {ORIGIN} at 300"]


def test_a_grown_log_is_cosigned_and_the_same_checkpoint_again(witness: Running, log: MemoryLog) -> None:
    witness.submit(now(log, 0))
    grown(log, 515)

    assert witness.submit(now(log, 300)).status_code == 200
    assert witness.submit(now(log, 515)).status_code == 200


def test_another_old_size_is_answered_with_the_witnesss(witness: Running, log: MemoryLog) -> None:
    witness.submit(now(log, 0))

    answer = witness.submit(now(log, 17))

    assert (answer.status_code, answer.text) == (409, "300\n")
    assert answer.headers["Content-Type"] == "text/x.tlog.size"


def test_a_fork_is_never_cosigned(witness: Running, log: MemoryLog) -> None:
    witness.submit(now(log, 0))
    fork = grown(grown(MemoryLog(ORIGIN), 299), 400, b"other")

    answer = witness.submit(now(fork, 300))

    assert answer.status_code == 422
    assert "another root of the 300 leaves" in answer.text
    assert witness.memory.seen(ORIGIN).size == 300


def test_two_trees_of_one_size_are_never_both_cosigned(witness: Running, log: MemoryLog) -> None:
    witness.submit(now(log, 0))
    fork = grown(MemoryLog(ORIGIN), 300, b"other")

    assert witness.submit(now(fork, 300)).status_code == 422


def test_each_refusal_has_the_specifications_code(witness: Running, log: MemoryLog) -> None:
    signed = log.files["checkpoint"]
    stranger, thief = MemoryLog("other.example"), SeededKey("thief")
    forged = sign_checkpoint(Checkpoint(ORIGIN, 3, b"r" * 32), thief.named(ORIGIN), thief.sign)
    spoiled = signed[:-10] + b"AAAAAAA==\n"

    for status, submission in (
        (404, now(grown(stranger, 3), 0)),
        (403, Submission(0, (), forged)),
        (403, Submission(0, (), spoiled)),
        (400, Submission(301, (), signed)),
        (400, Submission(0, (), b"no note")),
        (409, Submission(1, (), signed)),
        (422, Submission(0, (b"h" * 32,), signed)),
    ):
        assert witness.submit(submission).status_code == status, submission
    assert witness.memory.origins == []


def test_what_is_no_submission_is_refused(witness: Running) -> None:
    assert witness.http.post("/add-checkpoint", content=b"nonsense").status_code == 400
    assert witness.http.post("/add-checkpoint", content=b"x" * (LARGEST_BODY + 1)).status_code == 400
    assert witness.http.post("/add-checkpoint", content=iter([b"chunk"])).status_code == 411
    assert witness.http.post("/elsewhere", content=b"").status_code == 404


def test_monitors_can_read_the_newest_cosigned_checkpoint(witness: Running, log: MemoryLog) -> None:
    path = f"/{origin_hash(ORIGIN)}/checkpoint"
    assert witness.http.get(path).status_code == 404
    witness.submit(now(log, 0))

    answer = witness.http.get(path)

    assert answer.status_code == 200
    assert open_checkpoint(answer.content, log.key, [KEY], quorum=1).checkpoint.size == 300
    assert witness.http.get("/").status_code == 404


def test_nothing_is_cosigned_while_it_cannot_be_kept(witness: Running, log: MemoryLog, tmp_path: Path) -> None:
    (tmp_path / "state.json.new").mkdir()  # in the way of the next version of the file

    assert witness.submit(now(log, 0)).status_code == 503
    assert witness.memory.seen(ORIGIN) == Seen()

    (tmp_path / "state.json.new").rmdir()
    assert witness.submit(now(log, 0)).status_code == 200


def test_one_of_many_competing_submissions_wins_and_the_tree_never_shrinks(witness: Running, log: MemoryLog) -> None:
    submissions = []
    for size in range(301, 313):
        grown(log, size)
        submissions.append(now(log, 0))
    codes: list[int] = []

    def submit(one: Submission) -> None:
        codes.append(httpx.post(f"{witness.url}/add-checkpoint", content=one.encode(), trust_env=False).status_code)

    threads = [threading.Thread(target=submit, args=(one,)) for one in submissions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(codes) == [200] + [409] * 11


def test_two_witnesses_never_share_a_memory(tmp_path: Path) -> None:
    first = WitnessFile(tmp_path / "state.json")
    with pytest.raises(Refused, match="another witness runs"):
        WitnessFile(tmp_path / "state.json")

    first.close()
    WitnessFile(tmp_path / "state.json").close()


@pytest.mark.parametrize(
    "content",
    ["", "{}", '{"version":2,"logs":{}}', '{"version":1,"logs":{"a":"no note"}}', '{"version":1,"logs":[]}'],
)
def test_a_damaged_memory_is_refused_and_not_begun_anew(tmp_path: Path, content: str) -> None:
    (tmp_path / "state.json").write_text(content)

    for _ in range(2):  # the lock of the first attempt is gone
        with pytest.raises(Malformed):
            WitnessFile(tmp_path / "state.json")


def test_a_checkpoint_remembered_under_another_origin_is_refused(tmp_path: Path, log: MemoryLog) -> None:
    stored = {"version": 1, "logs": {"b.example": log.files["checkpoint"].decode()}}
    (tmp_path / "state.json").write_text(json.dumps(stored, ensure_ascii=False))

    with pytest.raises(Malformed, match="under b"):
        WitnessFile(tmp_path / "state.json")


def test_a_key_is_made_once_private_and_loaded_again(tmp_path: Path) -> None:
    file = tmp_path / "keys" / "witness.key"
    made = key_file.make(file, "witness.example/w1")

    loaded, sign = key_file.load(file)

    assert file.stat().st_mode & 0o777 == 0o600
    assert (loaded, loaded.type) == (made, SignatureType.COSIGNATURE)
    assert len(sign(b"message")) == 64
    with pytest.raises(Refused, match="exists"):
        key_file.make(file, "witness.example/w1")
    file.chmod(0o640)
    with pytest.raises(Refused, match="chmod 600"):
        key_file.load(file)


def test_a_damaged_key_is_refused_without_quoting_it(tmp_path: Path) -> None:
    file = tmp_path / "witness.key"
    key_file.make(file, "witness.example/w1")
    line = file.read_text()

    of_another_type = line.replace("+B", "+A")
    for changed in ("", "nonsense", line.replace("w1", "w2"), line[:-3] + "\n", of_another_type):
        file.write_text(changed)
        with pytest.raises(Malformed) as refusal:
            key_file.load(file)
        assert changed.rpartition("+")[2].strip() not in str(refusal.value) or len(changed) < 10


def written(log: MemoryLog, folder: Path) -> Path:
    for path, data in log.files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
    return folder


def run(*words: str) -> str:
    """Run a command and return what it printed; raises the CliError that ended it."""
    result = CliRunner().invoke(build_app(), list(words))
    if result.exception is not None:
        raise result.exception
    return result.output


def test_a_published_log_is_cosigned_by_two_witnesses_from_the_command_line(
    witness: Running, log: MemoryLog, tmp_path: Path
) -> None:
    folder, out = written(log, tmp_path / "log"), tmp_path / "cosigned"
    asked = ["witness", "add", str(folder), "--witness", witness.url, "--witness-key", str(KEY)]

    assert "cosigned by witness.example/w1" in run(*asked, "--out", str(out))
    assert open_checkpoint(out.read_bytes(), log.key, [KEY], quorum=1).checkpoint.size == 300

    written(grown(log, 700), folder)  # from here on the witness answers first with its size
    told = json.loads(run(*asked, "--json"))
    assert (told["entries"], told["cosigned"]) == (700, [{"witness": KEY.name, "time_s": NOW_S}])
    assert run(*asked).startswith(f"{ORIGIN}\n700\n")


def test_a_log_that_was_set_back_is_told_from_one_that_forked(witness: Running, log: MemoryLog, tmp_path: Path) -> None:
    older = written(grown(MemoryLog(ORIGIN), 100), tmp_path / "older")
    forked = written(grown(MemoryLog(ORIGIN), 400, b"other"), tmp_path / "forked")
    witness.submit(now(log, 0))
    asked = ["--witness", witness.url, "--witness-key", str(KEY)]

    with pytest.raises(CliError, match="a tree of 300 entries of this log, which now shows 100"):
        run("witness", "add", str(older), *asked)
    with pytest.raises(CliError, match="answers 422"):
        run("witness", "add", str(forked), *asked)


def test_a_cosignature_of_an_unknown_key_counts_for_nothing(witness: Running, log: MemoryLog, tmp_path: Path) -> None:
    other = SeededKey("other").named(KEY.name, SignatureType.COSIGNATURE)
    asked = ["witness", "add", str(written(log, tmp_path / "log")), "--witness", witness.url]

    with pytest.raises(CliError, match="none of the given keys"):
        run(*asked, "--witness-key", str(other))
    with pytest.raises(CliError, match="names no key"):
        run(*asked, "--witness-key", "nonsense")
    with pytest.raises(CliError, match="cannot be written"):
        run(*asked, "--witness-key", str(KEY), "--out", str(tmp_path / "no" / "folder"))


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(409, text="12\n"),
        httpx.Response(409, text="many\n", headers={"Content-Type": "text/x.tlog.size"}),
        httpx.Response(500, text="oh"),
    ],
)
def test_what_is_no_witness_is_told(log: MemoryLog, answer: httpx.Response) -> None:
    with pytest.raises(CliError):
        asking.cosignatures(
            "http://w", log, log.files["checkpoint"], [KEY], httpx.MockTransport(lambda request: answer)
        )


def test_a_witness_that_is_away_is_told(log: MemoryLog) -> None:
    def away(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused")

    with pytest.raises(CliError) as error:
        asking.cosignatures("http://w", log, log.files["checkpoint"], [KEY], httpx.MockTransport(away))
    assert error.value.code == Exit.NOT_RUNNING


def test_a_served_witness_killed_after_its_answer_remembers_what_it_cosigned(log: MemoryLog, tmp_path: Path) -> None:
    key, state = tmp_path / "witness.key", tmp_path / "state.json"
    vkey = VerifierKey.parse(json.loads(run("witness", "key", str(key), "--name", "w.example", "--json"))["vkey"])
    command = [sys.executable, "-m", "grace_cli.main", "witness", "serve", "--json", "--log", str(log.key)]
    command += ["--key", str(key), "--state", str(state)]

    sizes = (300, 310, 600)
    for before, size in zip((0, *sizes), sizes, strict=False):
        grown(log, size)
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            started = json.loads(process.stdout.readline())
            assert started["cosigned"] == ({ORIGIN: before} if before else {})
            lines = asking.cosignatures(started["url"], log, log.files["checkpoint"], [vkey])
            os.kill(process.pid, signal.SIGKILL)
        assert [line.name for line in lines] == ["w.example"]

    memory = WitnessFile(state)
    assert memory.seen(ORIGIN) == Seen(600, log.tree().root_at(600))
    memory.close()


def test_a_witness_without_a_private_key_or_with_a_taken_memory_does_not_start(log: MemoryLog, tmp_path: Path) -> None:
    key, state = tmp_path / "witness.key", tmp_path / "state.json"
    asked = ["witness", "serve", "--key", str(key), "--state", str(state), "--log", str(log.key)]

    with pytest.raises(CliError, match="cannot start"):
        run(*asked)
    assert VerifierKey.parse(run("witness", "key", str(key), "--name", "w.example").strip()).name == "w.example"
    with pytest.raises(CliError, match="no key was made"):
        run("witness", "key", str(key), "--name", "w.example")
    taken = WitnessFile(state)
    with pytest.raises(CliError, match="another witness runs"):
        run(*asked)
    taken.close()


def test_the_memory_of_a_log_survives_a_change_of_its_key_which_the_operator_added(
    start: Start, log: MemoryLog
) -> None:
    old, successor = log.key, SeededKey("successor")
    new = successor.named(ORIGIN)
    witness = start(old, new)
    assert witness.submit(now(log, 0)).status_code == 200
    before = log.files["checkpoint"]

    log.succeed(successor)
    grown(log, 400)
    assert witness.submit(now(log, 300)).status_code == 200
    log.retire()
    grown(log, 500)
    assert witness.submit(now(log, 400)).status_code == 200

    rolled_back = sign_checkpoint(Checkpoint(ORIGIN, 500, log.tree().root_at(500)), old, SeededKey(ORIGIN).sign)
    refused = witness.submit(Submission(500, (), rolled_back))
    assert (refused.status_code, "never by one that signs alone" in refused.text) == (403, True)
    assert witness.submit(Submission(500, (), before)).status_code in (400, 403)
    assert witness.memory.seen(ORIGIN).size == 500


def test_a_key_that_signs_alone_counts_only_once_the_operator_takes_the_older_away(
    start: Start, log: MemoryLog
) -> None:
    old, successor = log.key, SeededKey("successor")
    witness = start(old, successor.named(ORIGIN))
    witness.submit(now(log, 0))
    log.succeed(successor)
    log.retire()
    grown(log, 400)

    assert witness.submit(now(log, 300)).status_code == 403
    witness.stop()
    again = start(successor.named(ORIGIN))
    assert again.submit(now(log, 300)).status_code == 200


def test_a_key_that_the_operator_did_not_add_is_never_trusted_because_it_signs_beside(
    start: Start, log: MemoryLog
) -> None:
    old, thief = log.key, SeededKey("thief")
    witness = start(old)
    log.succeed(thief)
    grown(log, 400)
    answer = witness.submit(now(log, 0))
    assert answer.status_code == 200
    note = witness.memory.note(ORIGIN)
    assert note is not None
    assert [line.name for line in note.signatures] == [ORIGIN, KEY.name]

    log.retire()
    grown(log, 500)
    assert witness.submit(now(log, 400)).status_code == 403
