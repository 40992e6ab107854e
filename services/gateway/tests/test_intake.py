"""Outside producers' events: checked as HTTP calls are, stated as facts, refused with one trace."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import orjson
import pytest
from grace_common.contract.events.dead_letter import RecordDeadLettered
from grace_common.contract.events.operation import OperationSucceeded, RecordRefused
from grace_common.contract.events.task import DecisionRequested, EvaluationRequested, TaskSubmitted
from grace_common.runtime.seal import SealedRecord, Signer
from grace_gateway.handlers.intake import Intake

ID = "019ac000-0000-7000-8000-0000000000dd"
GOOD = {"requirements": "Double a number"}
VOTE: dict[str, Any] = {"question": "Which?", "options": ["a", "b"], "ballots": [{"voter": "v", "choice": "a"}]}


def event(type_: str = "grace.task-submitted.v1", data: Any = GOOD, **changes: Any) -> dict[str, Any]:
    return {"specversion": "1.0", "id": ID, "source": "/build", "type": type_, "data": data, **changes}


def record(value: Any, offset: int = 7, roles: tuple[str, ...] = ("requester",)) -> SealedRecord:
    content = value if isinstance(value, bytes) else orjson.dumps(value)
    signer = Signer("producer/build-farm", "k1", roles)
    return SealedRecord("grace.intake.v1", 0, offset, b"", content, datetime(2026, 11, 22, tzinfo=UTC), signer)


async def ready() -> None:
    """The pipeline keeps up."""


async def take(gateway: Any, *records: SealedRecord) -> None:
    await Intake(gateway.ports, ready).handle(records)


async def test_an_event_becomes_a_task_of_the_producer_with_the_events_id(gateway: Any) -> None:
    await take(gateway, record(event()))

    [stated] = gateway.journal.events(TaskSubmitted)
    assert (str(stated.task_id), stated.requester, stated.via) == (ID, "build-farm", "kafka")
    [operation] = gateway.journal.events(OperationSucceeded)
    assert (operation.name, operation.actor, operation.wrote) == ("gateway.intake", "build-farm", (UUID(ID),))


async def test_the_whole_event_as_its_schema_has_it_is_taken_too(gateway: Any) -> None:
    whole = {**orjson.loads(TaskSubmitted.example().model_dump_json()), "task_id": ID, "requester": "build-farm"}
    await take(gateway, record(event(data={**whole, "via": "kafka"})))

    assert gateway.journal.events(TaskSubmitted)[0].specification == TaskSubmitted.example().specification


async def test_evaluations_and_decisions_are_taken_in(gateway: Any) -> None:
    evaluation = {"specification": GOOD, "code": "def double(n): return 2 * n"}
    await take(
        gateway,
        record(event("grace.evaluation-requested.v1", evaluation, id=ID[:-1] + "1")),
        record(event("grace.decision-requested.v1", VOTE, id=ID[:-1] + "2")),
    )

    assert len(gateway.journal.events(EvaluationRequested) + gateway.journal.events(DecisionRequested)) == 2


async def test_a_replayed_event_has_no_second_effect(gateway: Any) -> None:
    await take(gateway, record(event()))
    await take(gateway, record(event(), offset=8))

    assert len(gateway.journal.events(TaskSubmitted)) == 1
    assert gateway.journal.events(RecordRefused) == []


async def test_an_id_used_again_for_something_else_is_refused(gateway: Any) -> None:
    await take(gateway, record(event()))
    await take(gateway, record(event(data={"requirements": "Triple"}), offset=8))

    assert len(gateway.journal.events(TaskSubmitted)) == 1
    assert "used before" in gateway.journal.events(RecordRefused)[0].reason


@pytest.mark.parametrize(
    ("value", "code", "says"),
    [
        (b"{", "malformed", "not JSON"),
        (b"[]", "malformed", "no JSON object"),
        ({"specversion": "1.0"}, "malformed", "lacks id, source, type, data"),
        (event(specversion="0.3"), "malformed", "specversion"),
        (event(id="7"), "malformed", "id must be a UUID"),
        (event(data=[1]), "malformed", "data an object"),
        (event("grace.task-completed.v1"), "refused", "cannot be asked for over Kafka"),
        (event(data={}), "refused", "requirements"),
        (event(data={**GOOD, "colour": "red"}), "refused", "colour"),
        (event(data={**GOOD, "requester": "ada"}), "refused", "requester must be 'build-farm'"),
        (event(data={**GOOD, "language": "cobol"}), "refused", "these can: python"),
        (event(data={**GOOD, "requirements": 7}), "refused", "requirements"),
        (event(data={**GOOD, "tests": "assert ("}), "refused", "the tests are no Python"),
        (
            event("grace.evaluation-requested.v1", {"specification": GOOD, "code": "x"}),
            "refused",
            "defines no function",
        ),
        (event("grace.decision-requested.v1", {**VOTE, "ballots": VOTE["ballots"] * 2}), "refused", "one ballot"),
        (event(data={"requirements": "nul\0l"}), "malformed", "NUL"),
        (event(data={"requirements": "x" * 50_000}), "malformed", "at most 49152"),
    ],
)
async def test_what_cannot_be_taken_in_leaves_one_trace_and_a_dead_letter(
    gateway: Any, value: Any, code: str, says: str
) -> None:
    await take(gateway, record(value))

    [refused], [kept] = gateway.journal.events(RecordRefused), gateway.journal.events(RecordDeadLettered)
    assert (refused.code, kept.offset, kept.consumer) == (code, 7, "gateway")
    assert says in refused.reason
    assert gateway.journal.events(TaskSubmitted) == []


async def test_data_nested_too_deep_is_refused(gateway: Any) -> None:
    deep: Any = 1
    for _ in range(40):
        deep = [deep]
    await take(gateway, record(event(data={**GOOD, "examples": [{"args": deep, "expected": 1}]})))

    assert "deeper than 32" in gateway.journal.events(RecordRefused)[0].reason


async def test_a_producer_without_the_role_is_refused(gateway: Any) -> None:
    await take(gateway, record(event(), roles=("auditor",)))

    assert "does not have the role requester" in gateway.journal.events(RecordRefused)[0].reason


async def test_records_at_one_place_of_a_broker_that_lost_its_data_are_refused_each_for_itself(gateway: Any) -> None:
    signer = Signer("producer/build-farm", "k1", ("requester",))
    for second in (1, 2):
        at = datetime(2026, 11, 22, 0, 0, second, tzinfo=UTC)
        await take(gateway, SealedRecord("grace.intake.v1", 0, 7, b"", b"no event", at, signer))

    assert len({refused.refusal_id for refused in gateway.journal.events(RecordRefused)}) == 2
