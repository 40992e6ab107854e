"""What people and programs may ask for, whichever door they use: HTTP bodies, and the data of intake events."""

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal
from uuid import UUID

from grace_common.contract.events.base import Event, Share
from grace_common.contract.events.task import (
    Ballot,
    DecisionRequested,
    EvaluationRequested,
    Mode,
    PastItem,
    Prose,
    Specification,
    TaskSubmitted,
)
from pydantic import BaseModel, ConfigDict, Field, JsonValue

from grace_gateway.domain.refusals import Unprocessable
from grace_gateway.domain.task_rules import check_ballots, check_evaluation, check_specification

Via = Literal["http", "kafka"]
Option = Annotated[str, Field(min_length=1, max_length=200)]  # as long as a ballot's choice may be


class Body(BaseModel):
    """A request's content: closed, so that a misspelt field is an error and not a surprise."""

    model_config = ConfigDict(extra="forbid", frozen=True)


_TASK: Final[dict[str, JsonValue]] = {
    "requirements": "Create a function to calculate fibonacci",
    "signature": "def fibonacci(n: int) -> int:",
    "examples": [{"args": [0], "expected": 0}, {"args": [1], "expected": 1}, {"args": [10], "expected": 55}],
    "mode": "collaborative",
}
_EVALUATION: Final[dict[str, JsonValue]] = {
    "specification": {
        "requirements": "Double a number",
        "entry_point": "double",
        "examples": [{"args": [2], "expected": 4}],
    },
    "code": "def double(n):\n    return 2 * n\n",
}
_DECISION: Final[dict[str, JsonValue]] = {
    "question": "Which index type?",
    "options": ["btree", "hash"],
    "ballots": [
        {"voter": "model-a", "choice": "btree"},
        {"voter": "model-b", "choice": "btree"},
        {"voter": "model-c", "choice": "hash"},
    ],
}


class TaskRequest(Specification):
    """What is to be written, and how to go about it."""

    model_config = ConfigDict(json_schema_extra={"examples": [_TASK]})

    mode: Mode = "collaborative"
    candidates: Annotated[int, Field(ge=1, le=40, strict=True)] = 8
    deadline_s: Annotated[int, Field(ge=10, le=604_800, strict=True)] = 86_400

    def event(self, id: UUID, requester: str, via: Via) -> Event:
        check_specification(self)
        # Validated already, as a part of this very object.
        specification = Specification.model_construct(
            **{name: getattr(self, name) for name in Specification.model_fields}
        )
        return TaskSubmitted(
            task_id=id,
            requester=requester,
            specification=specification,
            mode=self.mode,
            candidates=self.candidates,
            deadline_s=self.deadline_s,
            via=via,
        )


class EvaluationRequest(Body):
    """Code, and what it is held against."""

    model_config = ConfigDict(json_schema_extra={"examples": [_EVALUATION]})

    specification: Specification
    code: Annotated[str, Field(min_length=1, max_length=16_000)]

    def event(self, id: UUID, requester: str, via: Via) -> Event:
        check_evaluation(self.specification, self.code)
        return EvaluationRequested(
            evaluation_id=id, requester=requester, specification=self.specification, code=self.code
        )


class DecisionRequest(Body):
    """A question with its options, and who voted for what."""

    model_config = ConfigDict(json_schema_extra={"examples": [_DECISION]})

    question: Prose
    options: Annotated[tuple[Option, ...], Field(min_length=2, max_length=50)]
    ballots: Annotated[tuple[Ballot, ...], Field(min_length=1, max_length=200)]
    history: Annotated[tuple[PastItem, ...], Field(max_length=200)] = ()
    minimum_confidence: Share = 0.5

    def event(self, id: UUID, requester: str, via: Via) -> Event:
        check_ballots(self.options, self.ballots)
        return DecisionRequested(
            decision_id=id,
            requester=requester,
            question=self.question,
            options=self.options,
            ballots=self.ballots,
            history=self.history,
            minimum_confidence=self.minimum_confidence,
        )


Request = TaskRequest | EvaluationRequest | DecisionRequest

INTAKE_TYPES: Final[Mapping[str, type[Request]]] = {
    TaskSubmitted.TYPE: TaskRequest,
    EvaluationRequested.TYPE: EvaluationRequest,
    DecisionRequested.TYPE: DecisionRequest,
}


def content_of(data: Mapping[str, Any], id: UUID, requester: str) -> dict[str, Any]:
    """Return an intake event's data as a request's content.

    A producer may send the whole event as its schema describes it, with what Grace itself decides (which must then be
    right) and a task's specification in a member of its own.
    """
    own = {"task_id": str(id), "evaluation_id": str(id), "decision_id": str(id), "requester": requester, "via": "kafka"}
    wrong = [name for name, value in own.items() if name in data and data[name] != value]
    if wrong:
        raise Unprocessable(f"{wrong[0]} must be {own[wrong[0]]!r}, or be left out")
    content = {name: value for name, value in data.items() if name not in own}
    specification = content.get("specification")
    if "code" not in content and isinstance(specification, dict):
        del content["specification"]
        return {**specification, **content}
    return content
