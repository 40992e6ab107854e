"""One round of generation, as its facts arrive.

Candidates and the decision come over different topics, so their order means nothing: a round keeps what it has heard
and is settled once the matrix, the decision, and every candidate's code and report are there.
"""

from collections.abc import Iterable
from typing import Final
from uuid import UUID, uuid5

from grace_common.contract.approval import artifact_sha256, decision_sha256, report_sha256
from grace_common.contract.errors import Refused
from grace_common.contract.events.base import Contract, Sha256, Share
from grace_common.contract.events.candidate import (
    Authorship,
    CandidateEvaluated,
    CandidateGenerated,
    CandidatesGenerated,
)
from grace_common.contract.events.decision import DecisionReached
from grace_common.contract.events.round import TaskState

RoundFact = CandidateGenerated | CandidateEvaluated | CandidatesGenerated | DecisionReached

_SHOWN_FAILURES: Final = 3
_PASSES: Final = 0  # the output class of a generated test that passes; what it expects, nobody vouches for


class Evaluation(Contract):
    """What the sandbox found, without the report itself."""

    report_sha256: Sha256
    quality_score: Share


class Contender(Contract):
    """One candidate as far as it is known; either part may come first.

    evaluations  usually one; a candidate that was examined again has more, in order of their digests
    """

    candidate_id: UUID
    generator: str
    code_sha256: Sha256
    code: str | None = None
    authorship: Authorship | None = None
    evaluations: tuple[Evaluation, ...] = ()

    def evaluation(self, report_sha256: Sha256) -> Evaluation | None:
        """Return the one that the matrix names; any other serves where that one was lost with a crash."""
        named = (each for each in self.evaluations if each.report_sha256 == report_sha256)
        return next(named, self.evaluations[0] if self.evaluations else None)


class Standing(Contract):
    """How a candidate stands against what the requester gave: examples and tests whose right answer is known.

    failures  the first few of the `failed`, in words
    missed    of the matrix's `names`, the places of those that the candidate did not pass, in order
    """

    candidate_id: UUID
    report_sha256: Sha256
    passed: int
    failed: int
    failures: tuple[str, ...]
    missed: tuple[int, ...] = ()


class Matrix(Contract):
    """What the round keeps of the execution matrix.

    names  of the probes whose right answer somebody stated; the first `given` are the requester's examples and tests
    """

    entry_point: str
    standings: tuple[Standing, ...]
    notes: tuple[str, ...]
    names: tuple[str, ...] = ()
    given: int = 0


class Winner(Contract):
    """The chosen candidate with all that an approval binds.

    passed, warned, failed  the names of all probes with a known answer, as `ProbeOutcomes` has them
    """

    candidate_id: UUID
    generator: str
    code: str
    artifact_sha256: Sha256
    report_sha256: Sha256
    decision_sha256: Sha256
    quality_score: Share
    given_passed: int
    given_failed: int
    failures: tuple[str, ...]
    passed: tuple[str, ...]
    warned: tuple[str, ...]
    failed: tuple[str, ...]
    authorship: Authorship | None


class Round(Contract):
    """The round's facts so far; `contenders` are in order of their ids, so any order of arrival gives one round."""

    round_id: UUID
    number: int
    contenders: tuple[Contender, ...] = ()
    matrix: Matrix | None = None
    decision: DecisionReached | None = None

    @property
    def phase(self) -> TaskState:
        if self.matrix is not None:
            return "deciding"
        if any(contender.evaluations for contender in self.contenders):
            return "evaluating"
        return "generating"

    @property
    def settled(self) -> bool:
        """Whether everything is there that the next step rests on."""
        if self.matrix is None or self.decision is None:
            return False
        whole = {each.candidate_id for each in self.contenders if each.code is not None and each.evaluations}
        return all(standing.candidate_id in whole for standing in self.matrix.standings)

    @property
    def codes(self) -> tuple[Sha256, ...]:
        """The digests of the round's candidates in order: equal when a round repeats another."""
        return tuple(sorted({contender.code_sha256 for contender in self.contenders}))

    def winner(self) -> Winner | None:
        """Return the chosen candidate; None when the decision abstained or names one that the matrix does not have."""
        if self.decision is None or self.decision.winner_id is None or self.matrix is None:
            return None
        standings = {standing.candidate_id: standing for standing in self.matrix.standings}
        standing = standings.get(self.decision.winner_id)
        contender = self._contender(self.decision.winner_id)
        if standing is None or contender is None or contender.code is None:
            return None
        evaluation = contender.evaluation(standing.report_sha256)
        if evaluation is None:
            return None
        names = list(enumerate(self.matrix.names))
        return Winner(
            candidate_id=contender.candidate_id,
            generator=contender.generator,
            code=contender.code,
            artifact_sha256=contender.code_sha256,
            report_sha256=evaluation.report_sha256,
            decision_sha256=decision_sha256(self.decision),
            quality_score=evaluation.quality_score,
            given_passed=standing.passed,
            given_failed=standing.failed,
            failures=standing.failures,
            passed=tuple(name for place, name in names if place not in standing.missed),
            warned=tuple(name for place, name in names if place in standing.missed and place >= self.matrix.given),
            failed=tuple(name for place, name in names if place in standing.missed and place < self.matrix.given),
            authorship=contender.authorship,
        )

    def failures(self) -> tuple[str, ...]:
        """What the candidates did wrong in words, most frequent first, each said once."""
        if self.matrix is None:
            return ()
        found = [label for standing in self.matrix.standings for label in standing.failures]
        ranked = sorted(set(found), key=lambda label: (-found.count(label), label))
        return (*(f"failed: {label}" for label in ranked[:_SHOWN_FAILURES]), *self.matrix.notes[:_SHOWN_FAILURES])

    def hear(self, fact: RoundFact) -> "Round":
        """Return the round with the fact in it; of two copies the first counts. Refused when a digest is untrue."""
        match fact:
            case CandidateGenerated():
                if artifact_sha256(fact.code) != fact.code_sha256:
                    raise Refused(f"candidate {fact.candidate_id}: code_sha256 is not the digest of the code")
                known = self._contender(fact.candidate_id) or _contender(fact)
                if known.code is not None:
                    return self
                return self._with(known.model_copy(update={"code": fact.code, "authorship": fact.authorship}))
            case CandidateEvaluated():
                if report_sha256(fact.report) != fact.report_sha256:
                    raise Refused(f"candidate {fact.candidate_id}: report_sha256 is not the digest of the report")
                known = self._contender(fact.candidate_id) or _contender(fact)
                found = Evaluation(report_sha256=fact.report_sha256, quality_score=fact.quality_score)
                by_digest = {each.report_sha256: each for each in (found, *known.evaluations)}
                ordered = tuple(by_digest[digest] for digest in sorted(by_digest))
                return self._with(known.model_copy(update={"evaluations": ordered}))
            case CandidatesGenerated():
                return self.model_copy(update={"matrix": self.matrix or _matrix(fact)})
            case DecisionReached():
                return self.model_copy(update={"decision": self.decision or fact})

    def _contender(self, candidate_id: UUID) -> Contender | None:
        return next((each for each in self.contenders if each.candidate_id == candidate_id), None)

    def _with(self, contender: Contender) -> "Round":
        others = (each for each in self.contenders if each.candidate_id != contender.candidate_id)
        return self.model_copy(update={"contenders": _in_order((*others, contender))})


def open_round(task_id: UUID, number: int) -> Round:
    """Return an empty round; its id derives from the task and its number."""
    return Round(round_id=uuid5(task_id, f"round#{number}"), number=number)


def _contender(fact: CandidateGenerated | CandidateEvaluated) -> Contender:
    return Contender(candidate_id=fact.candidate_id, generator=fact.generator, code_sha256=fact.code_sha256)


def _in_order(contenders: Iterable[Contender]) -> tuple[Contender, ...]:
    return tuple(sorted(contenders, key=lambda each: each.candidate_id))


def _matrix(fact: CandidatesGenerated) -> Matrix:
    given = [
        (index, probe)
        for index, probe in enumerate(fact.probes)
        if probe.kind in ("example", "test") and probe.expected is not None
    ]
    asserted = [(index, probe) for index, probe in enumerate(fact.probes) if probe.kind == "generated-test"]
    stated = [*given, *asserted]
    standings = []
    for row in fact.rows:
        if len(row.outputs) != len(fact.probes):
            raise Refused(
                f"candidate {row.candidate_id} answers {len(row.outputs)} probes and the matrix has {len(fact.probes)}"
            )
        failures = tuple(probe.label for index, probe in given if row.outputs[index] != probe.expected)
        standings.append(
            Standing(
                candidate_id=row.candidate_id,
                report_sha256=row.report_sha256,
                passed=len(given) - len(failures),
                failed=len(failures),
                failures=failures[:_SHOWN_FAILURES],
                missed=tuple(
                    place
                    for place, (index, probe) in enumerate(stated)
                    if row.outputs[index] != (probe.expected or _PASSES)
                ),
            )
        )
    return Matrix(
        entry_point=fact.entry_point,
        standings=tuple(standings),
        notes=fact.notes,
        names=tuple(probe.id for _, probe in stated),  # the ledger keeps them for ever: no content
        given=len(given),
    )
