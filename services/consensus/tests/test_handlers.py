"""What the consensus states when it hears candidates or ballots."""

from uuid import UUID

import pytest
from grace_common.contract.envelope import MAX_ENVELOPE_BYTES, encode
from grace_common.contract.errors import Refused
from grace_common.contract.events.candidate import CandidatesGenerated, Probe, Row
from grace_common.contract.events.decision import DecisionReached, OptionsDecided
from grace_common.contract.events.task import Ballot, DecisionRequested, PastItem
from grace_common.testing.events import enveloped
from grace_consensus.handlers import count, decide, router

TASK = UUID("019ac000-0000-7000-8000-000000000001")
ROUND = UUID("019ac000-0000-7000-8000-000000000002")
GIVEN = Probe(id="e0", kind="example", label="f(0) == 0", expected=0)
INPUT = Probe(id="g0", kind="generated", label="f(7)")
MODEL_TEST = Probe(id="t0", kind="generated-test", label="test_negative")


def row(number: int, *outputs: int, generator: str = "openai", cost: float = 1.0) -> Row:
    return Row(
        candidate_id=UUID(int=number),
        generator=generator,
        code_sha256=f"{number:064x}",
        quality_score=0.9,
        report_sha256="02" * 32,
        cost=cost,
        outputs=outputs,
    )


def candidates(*rows: Row, probes: tuple[Probe, ...] = (GIVEN, INPUT), minimum: float = 0.0) -> CandidatesGenerated:
    return CandidatesGenerated(
        task_id=TASK, round_id=ROUND, entry_point="f", probes=probes, rows=rows, minimum_confidence=minimum
    )


async def decided(event: CandidatesGenerated) -> DecisionReached:
    (decision,) = await decide(event, None) or ()
    assert isinstance(decision, DecisionReached)
    return decision


async def counted(event: DecisionRequested) -> OptionsDecided:
    (decision,) = await count(event, None) or ()
    assert isinstance(decision, OptionsDecided)
    return decision


async def test_the_behaviour_most_candidates_share_wins_and_the_dissent_says_where_it_differs() -> None:
    decision = await decided(candidates(row(1, 0, 0), row(2, 0, 0), row(3, 0, 0), row(4, 0, 1)))

    assert decision.verdict == "chosen"
    assert decision.winner_id in {UUID(int=1), UUID(int=2), UUID(int=3)}
    assert [each.members for each in decision.dissent] == [(str(UUID(int=4)),)]
    assert decision.dissent[0].differs == "f(7): gives another result than the leading candidate"
    assert decision.candidates == 4


async def test_the_dissent_says_which_of_two_behaviours_raises() -> None:
    raises = await decided(candidates(row(1, 0, 0), row(2, 0, 0), row(3, 0, 0), row(4, 0, -1)))

    assert raises.dissent[0].differs == "f(7): raises an error, where the leading candidate gives a result"


async def test_a_candidate_that_fails_a_given_example_never_wins_and_is_named() -> None:
    decision = await decided(candidates(row(1, 1, 0), row(2, 1, 0), row(3, 0, -1)))

    assert decision.winner_id == UUID(int=3)
    assert f"candidate {UUID(int=1)} fails f(0) == 0" in decision.reasons


async def test_the_consensus_abstains_below_the_bar_that_comes_with_the_round() -> None:
    decision = await decided(candidates(row(1, 0, 0), row(2, 0, 1), row(3, 0, 2), minimum=0.99))

    assert (decision.verdict, decision.winner_id) == ("abstained", None)
    assert any("0.99" in reason for reason in decision.reasons)


async def test_when_every_candidate_fails_what_was_given_the_consensus_abstains_and_names_a_few() -> None:
    decision = await decided(candidates(*(row(number, 1, 0) for number in range(1, 6))))

    assert (decision.verdict, decision.confidence) == ("abstained", 0.0)
    assert decision.reasons[-1] == "2 more candidates fail what the requester gave"


async def test_a_round_without_candidates_is_an_abstention_with_the_generators_notes() -> None:
    event = candidates().model_copy(update={"notes": ("openai: no key",)})

    assert await decide(event, None) == [
        DecisionReached(
            task_id=TASK,
            round_id=ROUND,
            verdict="abstained",
            confidence=0.0,
            method="functional-agreement.v1",
            reasons=("the round brought no candidate", "openai: no key"),
            candidates=0,
        )
    ]


async def test_of_synthesised_programs_that_agree_on_what_was_given_the_simpler_one_is_believed_more() -> None:
    simple, odd = row(1, 0, 0, generator="synthesis", cost=8), row(2, 0, 1, generator="synthesis", cost=2_000)

    decision = await decided(candidates(simple, odd))

    weights = {cluster.members[0]: cluster.weight for cluster in decision.clusters}
    assert weights[str(UUID(int=1))] > weights[str(UUID(int=2))]


async def test_costs_of_different_generators_are_not_compared() -> None:
    dear = [row(number, 0, 0, generator="synthesis", cost=40.0) for number in (1,)]
    cheap = [row(number, 0, 0, generator="openai", cost=float(number)) for number in (2, 3)]

    decision = await decided(candidates(*dear, *cheap))

    assert decision.clusters[0].members == (str(UUID(int=1)), str(UUID(int=2)), str(UUID(int=3)))


async def test_a_generated_test_is_evidence_even_though_nobody_vouches_for_it() -> None:
    without = await decided(candidates(row(1, 0, 0), row(2, 0, 1)))
    passes_one = await decided(candidates(row(1, 0, 0, 1), row(2, 0, 1, 0), probes=(GIVEN, INPUT, MODEL_TEST)))

    assert without.winner_id == UUID(int=1)
    assert passes_one.winner_id == UUID(int=2)


async def test_a_test_without_a_known_answer_rejects_nobody() -> None:
    unknown = Probe(id="e1", kind="test", label="check", expected=None)

    decision = await decided(candidates(row(1, 0, 1), row(2, 0, 1), probes=(GIVEN, unknown)))

    assert decision.verdict == "chosen"


async def test_a_row_that_does_not_fit_the_probes_is_refused() -> None:
    with pytest.raises(Refused, match="outcomes for 2 probes"):
        await decide(candidates(row(1, 0)), None)


async def test_ballots_decide_and_the_minority_is_listed() -> None:
    event = DecisionRequested(
        decision_id=TASK,
        requester="ada",
        question="Which index type?",
        options=("btree", "hash"),
        ballots=(
            Ballot(voter="a", choice="btree", confidence=0.9),
            Ballot(voter="b", choice="btree"),
            Ballot(voter="c", choice="hash", family="local"),
        ),
        history=(PastItem(ballots=(Ballot(voter="a", choice="x"), Ballot(voter="c", choice="y")), outcome="x"),),
    )

    decision = await counted(event)

    assert (decision.verdict, decision.option) == ("chosen", "btree")
    assert decision.weights["btree"] > decision.weights["hash"]
    assert [(each.members, each.differs) for each in decision.dissent] == [(("c",), "chose hash")]


async def test_an_exact_tie_abstains_and_says_so() -> None:
    event = DecisionRequested(
        decision_id=TASK,
        requester="ada",
        question="Which?",
        options=("a", "b"),
        ballots=(Ballot(voter="x", choice="a"), Ballot(voter="y", choice="b")),
    )

    decision = await counted(event)

    assert (decision.verdict, decision.option) == ("abstained", None)
    assert "the options a, b are exactly tied" in decision.reasons
    assert len(decision.dissent) == 2


async def test_the_answer_to_the_largest_request_fits_an_envelope() -> None:
    options = ("a", *(f"{number:02}".ljust(200, "o") for number in range(49)))
    choices = (*options, *("a" for _ in range(88)))
    ballots = tuple(Ballot(voter=f"{at:03}".ljust(150, "v"), choice=choice) for at, choice in enumerate(choices))
    event = DecisionRequested(decision_id=TASK, requester="ada", question="Which?", options=options, ballots=ballots)

    decision = await counted(event)

    assert 0.9 * MAX_ENVELOPE_BYTES < len(encode(enveloped(event))) <= MAX_ENVELOPE_BYTES
    assert len(encode(enveloped(decision))) <= MAX_ENVELOPE_BYTES
    assert len(decision.dissent) == 49


async def test_a_ballot_for_an_unknown_option_is_refused() -> None:
    event = DecisionRequested.example().model_copy(update={"ballots": (Ballot(voter="x", choice="gist"),)})

    with pytest.raises(Refused, match="'gist'"):
        await count(event, None)


def test_the_router_hears_candidates_and_requests_and_states_decisions_only() -> None:
    assert {event.__name__ for event in router.routes} == {"CandidatesGenerated", "DecisionRequested"}
    assert {topic.noun for route in router.routes.values() for topic in (e.TOPIC for e in route.emits)} == {"decision"}
