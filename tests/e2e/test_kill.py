"""Whatever dies in mid-task, the task completes; nothing acknowledged is missing from the ledger or there twice."""

import pytest
from grace_common.contract.topics import CANDIDATE, ROUND
from grace_common.transparency.receipt import verify_receipt

from tests.e2e.bus import Bus
from tests.e2e.doors import Acknowledged, Ledger, Person
from tests.e2e.patience import until
from tests.e2e.stack import KAFKA, POSTGRES, Stack
from tests.e2e.tasks import BALLOTS, FIBONACCI, approve, guide, receipt

SUBMITTED, GUIDED = "the 202 to the submission", "the 202 to the guidance"


@pytest.mark.parametrize(
    ("victim", "moment"),
    [
        ("gateway", SUBMITTED),
        ("mtl-orchestrator", GUIDED),
        ("code-gen", "grace.round-opened.v1"),
        ("consensus", "grace.candidate-evaluated.v1"),
        ("crypto-signer", "grace.candidate-generated.v1"),
        ("audit-log", "grace.candidate-generated.v1"),
        (KAFKA, "grace.round-opened.v1"),
        (POSTGRES, "grace.candidate-generated.v1"),
    ],
    ids=lambda value: value if "." not in value and " " not in value else "",
)
def test_a_task_survives_what_is_killed_in_its_midst(
    victim: str,
    moment: str,
    grace: Stack,
    ada: Person,
    reviewer: Person,
    bus: Bus,
    ledger: Ledger,
    acknowledged: list[Acknowledged],
) -> None:
    before = ledger.checkpoint()
    task_id = _reach(moment, ada, reviewer, bus)

    until_back = grace.kill(victim)
    if moment == SUBMITTED:
        guide(ada, reviewer, task_id)
    done = approve(ada, reviewer, task_id)
    until_back()

    assert len([line for line in done["timeline"] if line["type"] == "grace.task-completed.v1"]) == 1
    _nothing_is_lost(ledger, acknowledged)
    assert ledger.extends(before)
    verify_receipt(receipt(ada, task_id), done["artifact"]["code"].encode(), ledger.vkey)


def test_work_goes_on_where_it_stood_when_a_lost_broker_is_back(
    grace: Stack, ada: Person, reviewer: Person, ledger: Ledger, acknowledged: list[Acknowledged]
) -> None:
    task_id = ada.post("/api/tasks", FIBONACCI)["id"]
    with grace.lost(KAFKA):
        until("gateway that misses the broker", lambda: ada.ask("GET", "/api/ready").status_code == 503)
        meanwhile = [ada.post("/api/decisions", BALLOTS)["id"] for _ in range(10)]

    guide(ada, reviewer, task_id)
    approve(ada, reviewer, task_id)
    for id_ in meanwhile:
        ada.until_decided(id_)
    grace.until_ready()
    _nothing_is_lost(ledger, acknowledged)


def test_nothing_is_acknowledged_while_the_database_is_lost(
    grace: Stack, ada: Person, ledger: Ledger, acknowledged: list[Acknowledged]
) -> None:
    with grace.lost(POSTGRES):
        refusal = ada.ask("POST", "/api/decisions", BALLOTS)
        assert refusal.status_code == 503, refusal.text
        assert "database" in refusal.json()["detail"]
        assert int(refusal.headers["retry-after"]) > 0

    grace.until_ready()
    decision = ada.post("/api/decisions", BALLOTS)
    ada.until_decided(decision["id"])
    _nothing_is_lost(ledger, acknowledged)


def _reach(moment: str, ada: Person, reviewer: Person, bus: Bus) -> str:
    """Take a new task to a moment and not knowingly further; return its id."""
    with bus.observing("gateway", (ROUND, CANDIDATE)) as observer:
        task_id = str(ada.post("/api/tasks", FIBONACCI)["id"])
        if moment != SUBMITTED:
            guide(ada, reviewer, task_id)
            if moment != GUIDED:
                observer.until_type(task_id, moment)
    return task_id


def _nothing_is_lost(ledger: Ledger, acknowledged: list[Acknowledged]) -> None:
    """Hold the published log against every 202 of the session: each fact once, and the record of each request."""
    ledger.until_holds({one.event_id for one in acknowledged})
    ledger.until_succeeded({one.operation_id for one in acknowledged})
