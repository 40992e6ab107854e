"""Records that must have no effect, produced by somebody with credentials.

Each: a dead letter with its reason at every service that read it, exactly one refusal in the ledger, and the good
record behind it in its partition is handled.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import orjson
import pytest
from grace_common.contract.envelope import MAX_ENVELOPE_BYTES, MAX_RECORD_BYTES, Context, encode, first
from grace_common.contract.events.task import DecisionRequested
from grace_common.contract.topics import INTAKE, OPERATION, ROUND, TASK
from uuid_utils import uuid7

from tests.e2e.bus import Bus, Headers, Place, sealed
from tests.e2e.doors import Json, Ledger, Person
from tests.e2e.outsiders import Outsider, enrol, revoke
from tests.e2e.patience import until
from tests.e2e.stack import Stack
from tests.e2e.tasks import BALLOTS, FIBONACCI

REFUSED, KEY_GENERATED = "grace.record-refused.v1", "grace.operation-key-generated.v1"
SUBMISSION, QUESTION = "grace.task-submitted.v1", "grace.decision-requested.v1"


@pytest.fixture(scope="module")
def outsider(stack: Stack) -> Outsider:
    """An enrolled producer that may ask for what a requester may."""
    return enrol(Person(stack, "olga", []), f"e2e-{uuid4().hex[:8]}")


@dataclass(frozen=True)
class Written:
    """What a hostile writer with a service's Kafka credentials, and its key, puts on a topic."""

    value: bytes
    headers: Headers


def question(requester: str = "ada") -> tuple[UUID, bytes]:
    """Return the id and the bytes of a good envelope for the task topic, as the gateway would state it."""
    id_ = new_id()
    event = DecisionRequested(decision_id=id_, requester=requester, **BALLOTS)
    context = Context(source="/grace/gateway", operation=new_id(), actor=requester, correlation=str(id_))
    return id_, encode(first(event, context, id=id_, time=datetime.now(UTC)))


def new_id() -> UUID:
    return UUID(bytes=uuid7().bytes)


def no_envelope(bus: Bus, key: bytes) -> Written:
    value = b"\x00\xff no envelope"
    return Written(value, sealed(bus.sealer("gateway"), TASK, key, value))


def no_seal(bus: Bus, key: bytes) -> Written:
    return Written(question()[1], [("content-type", b"application/cloudevents+json")])


def wrong_seal(bus: Bus, key: bytes) -> Written:
    value = question()[1]
    return Written(value, sealed(bus.sealer("gateway"), TASK, key, question()[1]))


def strangers_seal(bus: Bus, key: bytes) -> Written:
    """Sealed well, by a service that does not write this topic."""
    value = question()[1]
    return Written(value, sealed(bus.sealer("consensus"), TASK, key, value))


def moved_seal(bus: Bus, key: bytes) -> Written:
    """Sealed well, by who may write this topic, for another one."""
    value = question()[1]
    return Written(value, sealed(bus.sealer("gateway"), OPERATION, key, value))


def moved_key(bus: Bus, key: bytes) -> Written:
    """Sealed well, for another partition key: it would break the order of somebody else's task."""
    value = question()[1]
    return Written(value, sealed(bus.sealer("gateway"), TASK, b"another", value))


def newer_version(bus: Bus, key: bytes) -> Written:
    envelope = orjson.loads(question()[1]) | {"type": "grace.decision-requested.v99"}
    value = orjson.dumps(envelope)
    return Written(value, sealed(bus.sealer("gateway"), TASK, key, value))


def oversized(bus: Bus, key: bytes) -> Written:
    envelope = orjson.loads(question()[1])
    envelope["data"]["question"] = "x" * MAX_RECORD_BYTES
    value = orjson.dumps(envelope)
    return Written(value, sealed(bus.sealer("gateway"), TASK, key, value))


def unknown_field(bus: Bus, key: bytes) -> Written:
    envelope = orjson.loads(question()[1])
    value = orjson.dumps(envelope | {"data": envelope["data"] | {"surprise": 1}})
    return Written(value, sealed(bus.sealer("gateway"), TASK, key, value))


@pytest.mark.parametrize(
    ("write", "code", "reason", "readers"),
    [
        (no_envelope, "refused", "not JSON", set(TASK.readers)),
        (no_seal, "unsealed", "no seal", set(TASK.readers)),
        (wrong_seal, "bad-seal", "does not cover", set(TASK.readers)),
        (strangers_seal, "wrong-writer", "may not write", set(TASK.readers)),
        (moved_seal, "bad-seal", "does not cover", set(TASK.readers)),
        (moved_key, "bad-seal", "does not cover", set(TASK.readers)),
        (newer_version, "unsupported-version", "newer", set(TASK.readers)),
        (oversized, "oversized", "bytes", set(TASK.readers)),
        # Only who wants an event looks into its data.
        (unknown_field, "refused", "surprise", {"consensus", "gateway"}),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
def test_a_hostile_record_on_a_services_topic_is_refused_once_and_the_partition_moves_on(
    write: Callable[[Bus, bytes], Written],
    code: str,
    reason: str,
    readers: set[str],
    bus: Bus,
    ada: Person,
    olga: Person,
    ledger: Ledger,
) -> None:
    key = b"hostile"
    record = write(bus, key)
    place = bus.send("gateway", TASK, key, record.value, record.headers)
    id_, value = question()
    good_key = str(id_).encode()
    bus.send("gateway", TASK, good_key, value, sealed(bus.sealer("gateway"), TASK, good_key, value))

    letters = _dead_letters(olga, place, readers)
    assert {letter["code"] for letter in letters} == {code}
    assert all(reason in letter["reason"] for letter in letters), letters
    _refused_once(ledger, letters[0]["refusal_id"])
    assert ada.until_decided(str(id_))["result"]["option"] == "btree"


def test_a_seal_moved_to_another_topic_of_the_same_writer_is_refused(bus: Bus, olga: Person, ledger: Ledger) -> None:
    key = b"hostile"
    value = question()[1]
    headers = sealed(bus.sealer("mtl-orchestrator"), OPERATION, key, value)
    place = bus.send("mtl-orchestrator", ROUND, key, value, headers)

    letters = _dead_letters(olga, place, set(ROUND.readers))
    assert {letter["code"] for letter in letters} == {"bad-seal"}
    _refused_once(ledger, letters[0]["refusal_id"])


def test_a_copied_record_has_no_second_effect(bus: Bus, ada: Person, ledger: Ledger, acknowledged: list[Any]) -> None:
    task_id = ada.post("/api/tasks", FIBONACCI)["id"]
    ada.waits_for(task_id, "approach-proposed")
    copied = next(one for one in bus.read("gateway", [TASK]) if one.key.decode() == task_id)
    bus.send("gateway", TASK, copied.key, copied.value, copied.headers, copied.place.partition)
    id_, value = question()
    key = str(id_).encode()
    headers = sealed(bus.sealer("gateway"), TASK, key, value)
    bus.send("gateway", TASK, key, value, headers, copied.place.partition)

    ada.until_decided(str(id_))
    ada.post(f"/api/tasks/{task_id}/cancellation", {})
    ended = ada.waits_for(task_id, "cancelled")
    types = [line["type"] for line in ended["timeline"]]
    assert types.count(SUBMISSION) == types.count("grace.approach-requested.v1") == 1
    ledger.until_holds({line["id"] for line in ended["timeline"]})


def test_an_outside_record_asked_twice_is_one_task(bus: Bus, outsider: Outsider, olga: Person, ledger: Ledger) -> None:
    task_id, behind = new_id(), new_id()
    for _ in range(2):
        outsider.ask(bus, task_id, SUBMISSION, FIBONACCI)
    outsider.ask(bus, behind, QUESTION, BALLOTS)

    olga.until_decided(str(behind))
    until("task", lambda: olga.patiently("GET", f"/api/tasks/{task_id}").status_code == 200)
    task = olga.waits_for(str(task_id), "approach-proposed")
    assert (task["requester"], task["via"]) == (outsider.name, "kafka")
    olga.post(f"/api/tasks/{task_id}/cancellation", {})
    ended = olga.waits_for(str(task_id), "cancelled")
    assert [line["type"] for line in ended["timeline"]].count("grace.approach-requested.v1") == 1
    ledger.until_holds({line["id"] for line in ended["timeline"]})


@pytest.mark.parametrize(
    ("value", "code", "reason"),
    [
        (b"\x00\xff no event", "malformed", "not JSON"),
        (orjson.dumps({"specversion": "1.0", "id": "1", "source": "e2e"}), "malformed", "lacks type"),
        (b"x" * (MAX_ENVELOPE_BYTES + 1), "malformed", "at most"),
        (b"x" * (MAX_RECORD_BYTES + 1), "oversized", "limit"),
    ],
    ids=["no event", "incomplete", "too large", "oversized"],
)
def test_a_producers_bad_record_is_refused_once_and_the_partition_moves_on(
    value: bytes, code: str, reason: str, bus: Bus, outsider: Outsider, olga: Person, ledger: Ledger
) -> None:
    place = bus.send("producer", INTAKE, b"key", value, sealed(outsider.sealer, INTAKE, b"key", value))
    _refused_at_intake(bus, outsider, olga, ledger, place, code, reason)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (FIBONACCI | {"surprise": 1}, "surprise"),
        (FIBONACCI | {"requirements": 7}, "requirements"),
        (FIBONACCI | {"language": "cobol"}, "cobol"),
        (FIBONACCI | {"requester": "ada"}, "requester"),
    ],
    ids=["unknown field", "wrong type", "unknown language", "in another's name"],
)
def test_a_producers_bad_request_is_refused_once_and_the_partition_moves_on(
    data: Json, reason: str, bus: Bus, outsider: Outsider, olga: Person, ledger: Ledger
) -> None:
    place = outsider.ask(bus, new_id(), SUBMISSION, data)
    _refused_at_intake(bus, outsider, olga, ledger, place, "refused", reason)


def test_a_producer_without_the_role_is_refused(bus: Bus, outsider: Outsider, olga: Person, ledger: Ledger) -> None:
    reviewer = enrol(olga, f"e2e-{uuid4().hex[:8]}", "reviewer")
    place = reviewer.ask(bus, new_id(), SUBMISSION, FIBONACCI)
    _refused_at_intake(bus, outsider, olga, ledger, place, "refused", "does not have the role requester")


def test_what_a_revoked_key_seals_is_refused(bus: Bus, outsider: Outsider, olga: Person, ledger: Ledger) -> None:
    lost = enrol(olga, f"e2e-{uuid4().hex[:8]}")
    before = new_id()
    lost.ask(bus, before, QUESTION, BALLOTS)
    olga.until_decided(str(before))
    revoke(olga, lost)
    place = lost.ask(bus, new_id(), QUESTION, BALLOTS)
    _refused_at_intake(bus, outsider, olga, ledger, place, "revoked-key", "was revoked")


def _refused_at_intake(
    bus: Bus, outsider: Outsider, olga: Person, ledger: Ledger, place: Place, code: str, reason: str
) -> None:
    """A refused intake record: the dead letter, one entry, and the good record behind it is handled."""
    behind = new_id()
    outsider.ask(bus, behind, QUESTION, BALLOTS, place.partition)
    (letter,) = _dead_letters(olga, place, {"gateway"})
    assert letter["code"] == code
    assert reason in letter["reason"]
    _refused_once(ledger, letter["refusal_id"])
    assert olga.until_decided(str(behind))["requester"] == outsider.name


def _dead_letters(operator: Person, place: Place, consumers: set[str]) -> list[Json]:
    """Return the dead letters of one record once exactly these services have refused it."""

    def look() -> list[Json]:
        answer = operator.patiently("GET", f"/api/governance/dead-letters/{place.refusal_id}")
        found: list[Json] = answer.json()["items"] if answer.status_code == 200 else []
        return found if {letter["consumer"] for letter in found} >= consumers else []

    letters = until(f"dead letters of {place} at {', '.join(sorted(consumers))}", look)
    assert {letter["consumer"] for letter in letters} == consumers
    assert {Place(letter["topic"], letter["partition"], letter["offset"]) for letter in letters} == {place}
    assert len(letters) == len(consumers)
    return letters


def _refused_once(ledger: Ledger, refusal_id: str) -> None:
    """The refusal is an operation of its own: its key, and one entry that states it."""
    entries = ledger.until_holds({refusal_id})
    refusal = next(entry for entry in entries if entry.id == refusal_id)
    assert [entry.type for entry in entries if entry.correlation == refusal_id] == [KEY_GENERATED, REFUSED]
    assert [entry.type for entry in entries if entry.operation_id == refusal.operation_id] == [KEY_GENERATED, REFUSED]
