"""What no order of events can do to a task: hypothesis drives its life with whatever may happen."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from grace_common.contract.approval import approval_digest
from grace_common.contract.events.base import Event
from grace_common.contract.events.candidate import GenerationFailed
from grace_common.contract.events.round import ApprovalRequested, RoundOpened, TaskCompleted
from grace_common.contract.events.task import (
    ApprovalDenied,
    ApprovalGiven,
    CancellationRequested,
    ChangesRequested,
    GuidanceGiven,
)
from grace_common.testing.events import (
    NOON,
    RIGHT_CODE,
    TASK,
    WRONG_CODE,
    approach_proposed,
    round_facts,
    task_submitted,
)
from grace_mtl_orchestrator.adapters.policy_files import load, packaged
from grace_mtl_orchestrator.domain.task import Cause, DeadlinePassed, Heard, Submission, Task, replay, step
from grace_mtl_orchestrator.handlers import router
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

POLICIES = load(packaged())
REQUIRED = 2
PEOPLE = st.sampled_from(("ada", "grace", "joan", "katherine"))
ROLES = st.sampled_from(((), ("requester",), ("reviewer",), ("operator",), ("requester", "reviewer")))
ENDS = {"TaskCompleted", "TaskFailed", "TaskCancelled"}


def two_approvals() -> Any:
    return tuple(
        policy.model_copy(update={"expressions": policy.expressions | {"required_approvals": str(REQUIRED)}})
        if policy.name == "approval"
        else policy
        for policy in POLICIES
    )


class Life(RuleBasedStateMachine):
    """One task; every rule is something that the world may do, sensible or not."""

    def __init__(self) -> None:
        super().__init__()
        self.at = NOON
        self.task: Task | None = None
        self.history: list[Heard] = []
        self.facts: list[Event] = []
        self.rounds: list[UUID] = []
        self.digests: list[str] = ["00" * 32]

    def hear(self, cause: Cause) -> None:
        ended = self.task is not None and self.task.outcome is not None
        before = self.task
        self.at += timedelta(seconds=1)
        self.task, facts = step(self.task, cause, self.at)
        self.history.append(Heard(cause, self.at))
        self.facts.extend(facts)
        self.rounds.extend(fact.round_id for fact in facts if isinstance(fact, RoundOpened))
        self.digests.extend(fact.digest for fact in facts if isinstance(fact, ApprovalRequested))
        if not isinstance(cause, DeadlinePassed):
            event = cause.event if isinstance(cause, Submission) else cause
            assert all(isinstance(fact, router.routes[type(event)].emits) for fact in facts)
        if ended and before is not None:
            assert self.task == before.so(version=self.task.version)
            assert {type(fact).__name__ for fact in facts} <= {"RequestIgnored"}

    @initialize(
        mode=st.sampled_from(("collaborative", "collaborative", "autonomous")),
        begun=st.sampled_from(("submitted", "generating", "asked", "asked")),
    )
    def submit(self, mode: str, begun: str) -> None:
        """Most lives begin later than at the start, so that their ends are met often."""
        submitted = task_submitted(mode=mode, deadline_s=600)
        self.hear(Submission(event=submitted, policies=two_approvals(), lessons=()))
        if begun != "submitted":
            self.hear(approach_proposed())
            self.hear(GuidanceGiven(task_id=TASK, by="ada"))
        if begun == "asked":
            for fact in round_facts(self.rounds[-1], confidence=0.7):
                self.hear(fact)

    @rule()
    def propose(self) -> None:
        self.hear(approach_proposed())

    @rule(by=PEOPLE, guidance=st.sampled_from(("", "Do not recurse")))
    def guide(self, by: str, guidance: str) -> None:
        self.hear(GuidanceGiven(task_id=TASK, by=by, guidance=guidance))

    @rule(data=st.data(), confidence=st.sampled_from((0.2, 0.6, 0.9)), wrong=st.booleans(), repeat=st.booleans())
    def run_a_round(self, data: st.DataObject, confidence: float, wrong: bool, repeat: bool) -> None:
        """The facts of a round, all or some, in any order; the consensus may choose badly."""
        if not self.rounds:
            return
        code = "def fibonacci(n: int) -> int:\n    return 0\n" if repeat else WRONG_CODE
        codes = (code, RIGHT_CODE) if wrong else (RIGHT_CODE, code)
        verdict: dict[str, Any] = {} if confidence > 0.5 else {"verdict": "abstained", "winner_id": None}
        round_id = data.draw(st.sampled_from(self.rounds))
        facts = round_facts(round_id, codes, confidence=confidence, **verdict)
        heard = data.draw(st.permutations(facts))[: data.draw(st.sampled_from((len(facts), len(facts), 2)))]
        for fact in heard:
            self.hear(fact)

    @rule(by=PEOPLE, roles=ROLES, data=st.data())
    def approve(self, by: str, roles: tuple[str, ...], data: st.DataObject) -> None:
        digest = data.draw(st.sampled_from(self.digests))
        self.hear(ApprovalGiven(task_id=TASK, by=by, roles=roles, digest=digest))

    @rule(by=PEOPLE)
    def approve_what_is_asked(self, by: str) -> None:
        self.hear(ApprovalGiven(task_id=TASK, by=by, roles=("reviewer",), digest=self.digests[-1]))

    @rule(by=PEOPLE, roles=ROLES)
    def ask_for_changes(self, by: str, roles: tuple[str, ...]) -> None:
        self.hear(ChangesRequested(task_id=TASK, by=by, roles=roles, digest=self.digests[-1], feedback="Handle n < 0"))

    @rule(by=PEOPLE, roles=ROLES, data=st.data())
    def deny_or_cancel_now_and_then(self, by: str, roles: tuple[str, ...], data: st.DataObject) -> None:
        if data.draw(st.integers(0, 9)):
            return
        digest = self.digests[-1]
        denial: Cause = ApprovalDenied(task_id=TASK, by=by, roles=roles, digest=digest, reason="No")
        cancel: Cause = CancellationRequested(task_id=TASK, by=by, roles=roles)
        self.hear(data.draw(st.sampled_from((denial, cancel))))

    @rule(data=st.data())
    def fail_to_generate_now_and_then(self, data: st.DataObject) -> None:
        if data.draw(st.integers(0, 9)):
            return
        round_id = data.draw(st.sampled_from((None, *self.rounds)))
        self.hear(GenerationFailed(task_id=TASK, round_id=round_id, reason="nothing fits"))

    @rule(seconds=st.integers(0, 200))
    def let_time_pass(self, seconds: int) -> None:
        self.at += timedelta(seconds=seconds)
        self.hear(DeadlinePassed())

    @rule(data=st.data())
    def repeat_something(self, data: st.DataObject) -> None:
        """The same cause again, which the inbox would have dropped."""
        if self.history:
            self.hear(data.draw(st.sampled_from(self.history)).cause)

    @invariant()
    def delivers_only_what_enough_people_approved(self) -> None:
        for completed in (fact for fact in self.facts if isinstance(fact, TaskCompleted)):
            assert completed.code == RIGHT_CODE
            if completed.approved_by:
                digest = approval_digest(
                    artifact=completed.artifact_sha256,
                    report=completed.report_sha256,
                    decision=completed.decision_sha256,
                )
                approved = {
                    heard.cause.by
                    for heard in self.history
                    if isinstance(heard.cause, ApprovalGiven)
                    and heard.cause.digest == digest
                    and "reviewer" in heard.cause.roles
                }
                assert set(completed.approved_by) <= approved
                assert len(set(completed.approved_by)) == REQUIRED
                assert completed.requester not in completed.approved_by
            else:
                assert self.task is not None
                assert self.task.submitted.mode == "autonomous"
                assert completed.confidence >= 0.8

    @invariant()
    def ends_once(self) -> None:
        assert sum(type(fact).__name__ in ENDS for fact in self.facts) == int(
            self.task is not None and self.task.outcome is not None
        )

    @invariant()
    def replays_to_the_byte(self) -> None:
        task, facts = replay(_stored(self.history))
        assert _bytes(task, facts) == _bytes(self.task, self.facts)


def _bytes(task: Task | None, facts: Sequence[Event]) -> list[str]:
    return [task.model_dump_json() if task else "", *(fact.model_dump_json() for fact in facts)]


def _stored(history: Sequence[Heard]) -> list[Heard]:
    """The history as it comes back from where it is kept."""
    return [
        Heard(type(heard.cause).model_validate_json(heard.cause.model_dump_json()), _same(heard.at))
        for heard in history
    ]


def _same(at: datetime) -> datetime:
    return datetime.fromisoformat(at.isoformat())


TestLife = Life.TestCase
TestLife.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)


@given(order=st.permutations(range(6)), approach_first=st.booleans(), split=st.integers(0, 6))
@settings(max_examples=100, deadline=None)
def test_the_order_of_topics_never_matters(order: list[int], approach_first: bool, split: int) -> None:
    """Approach and guidance may cross; the facts of a round may come in any order, and some of them twice."""
    opening: list[Cause] = [approach_proposed(), GuidanceGiven(task_id=TASK, by="ada", guidance="Do not recurse")]
    first = Submission(event=task_submitted(), policies=POLICIES, lessons=())
    _, stated = replay([Heard(cause, NOON) for cause in (first, *opening)])
    facts = round_facts(next(fact.round_id for fact in stated if isinstance(fact, RoundOpened)))
    shuffled = [facts[at] for at in order]

    usual, _ = replay([Heard(cause, NOON) for cause in (first, *opening, *facts)])
    other, _ = replay(
        [
            Heard(cause, NOON)
            for cause in (first, *(opening if approach_first else opening[::-1]), *shuffled[:split], *shuffled)
        ]
    )

    assert usual is not None
    assert other == usual.so(version=usual.version + split)
