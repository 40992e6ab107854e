"""What ballots decide: who counts how much, when the consensus abstains, and that order never matters."""

import json

import pytest
from grace_common.contract.errors import Refused
from grace_consensus.domain.ballot import Ballot, BallotPolicy, PastDecision, decide_options
from hypothesis import given
from hypothesis import strategies as st

OPTIONS = ("x", "y", "z")

some_ballots = st.lists(
    st.builds(
        Ballot,
        voter=st.sampled_from("abcdefg"),
        option=st.sampled_from(OPTIONS),
        confidence=st.none() | st.floats(0, 1),
        family=st.sampled_from(["", "", "gpt", "llama"]),
    ),
    min_size=1,
    max_size=7,
    unique_by=lambda ballot: ballot.voter,
)
some_history = st.lists(
    st.builds(
        PastDecision,
        ballots=some_ballots.map(tuple),
        outcome=st.none() | st.sampled_from(OPTIONS),
        options=st.just(OPTIONS),
    ),
    max_size=5,
)


def votes(text: str) -> list[Ballot]:
    """Read ballots such as "a:x b:y"."""
    return [Ballot(voter, option) for voter, option in (pair.split(":") for pair in text.split())]


def test_one_voter_is_believed_as_far_as_its_prior_reliability() -> None:
    decision = decide_options(OPTIONS, votes("a:x"))

    assert (decision.verdict, decision.winner) == ("chosen", "x")
    assert decision.confidence == pytest.approx(0.7)


def test_a_voter_known_to_be_reliable_outweighs_two_others() -> None:
    policy = BallotPolicy(reliabilities={"expert": 0.97})

    decision = decide_options(("x", "y"), votes("expert:x b:y c:y"), policy=policy)

    assert decision.winner == "x"
    assert decision.dissent == ("b, c chose y (weight 0.14) rather than x",)


def test_a_past_of_errors_costs_a_voter_its_weight() -> None:
    past = [PastDecision(tuple(votes("a:x b:y c:z")), "x", OPTIONS) for _ in range(15)]

    assert decide_options(OPTIONS, votes("a:x b:y c:z"), past).winner == "x"


@pytest.mark.parametrize("model", ["one-coin", "confusion"])
def test_voters_that_erred_together_count_less_than_once_each(model: str) -> None:
    past = [
        PastDecision(tuple(votes("p:y q:y r:x s:y" if n % 2 else "p:x q:x r:x s:x")), "x", OPTIONS) for n in range(30)
    ]

    decision = decide_options(OPTIONS, votes("p:y q:y r:x"), past, BallotPolicy(model=model))  # type: ignore[arg-type]

    shares = {voter.voter: voter.weight for voter in decision.voters}
    assert shares["r"] == 1
    assert shares["p"] == shares["q"] < 0.65
    assert decision.winner == "x"


def test_a_family_that_votes_alike_is_worth_one_of_its_members() -> None:
    alone = decide_options(OPTIONS, [Ballot("a", "x", family="gpt"), Ballot("b", "y")])
    together = decide_options(OPTIONS, [Ballot(v, "x", family="gpt") for v in "acde"] + [Ballot("b", "y")])

    assert together.confidence == pytest.approx(alone.confidence)
    assert together.independent_voters == pytest.approx(2)


def test_a_quorum_counts_independent_voters() -> None:
    ballots = [Ballot(voter, "x", family="gpt") for voter in "abc"]

    decision = decide_options(OPTIONS, ballots, policy=BallotPolicy(quorum=2))

    assert (decision.verdict, decision.winner, decision.leading) == ("abstained", None, "x")
    assert decision.reasons == ("1.00 independent voters are fewer than the quorum of 2.00",)


def test_an_exact_tie_abstains_unless_the_policy_gives_it_to_the_lowest_option() -> None:
    tie = votes("a:y b:x")

    assert decide_options(("y", "x"), tie).reasons == ("the options x, y are exactly tied",)
    assert decide_options(("y", "x"), tie, policy=BallotPolicy(abstain_on_tie=False)).winner == "x"


def test_confidence_below_the_policy_abstains_and_says_so() -> None:
    decision = decide_options(OPTIONS, votes("a:x"), policy=BallotPolicy(minimum_confidence=0.9))

    assert decision.reasons == ("confidence 0.70 is below the policy's minimum of 0.90",)
    assert decision.leading == "x"


def test_no_ballot_abstains() -> None:
    assert decide_options(OPTIONS, []).reasons == ("no ballot was cast",)


def test_a_single_option_competes_with_being_wrong() -> None:
    decision = decide_options(["x"], votes("a:x"))

    assert decision.confidence == pytest.approx(0.7)
    assert decision.none_weight == pytest.approx(0.3)


def test_a_voter_surer_than_usual_counts_more_and_a_doubtful_one_less() -> None:
    shares = [decide_options(OPTIONS, [Ballot("a", "x", sure)]).confidence for sure in (0.1, 0.5, 0.7, 0.95)]

    assert shares == sorted(shares)
    assert shares[0] < 0.5 < 0.7 < shares[-1]
    assert shares[2] == pytest.approx(0.7)


def test_a_voter_always_sure_gains_nothing_by_being_sure_again() -> None:
    boaster = PastDecision((Ballot("a", "x", 0.99),), "x", OPTIONS)
    steady = PastDecision((Ballot("a", "x"),), "x", OPTIONS)

    boasted = decide_options(OPTIONS, [Ballot("a", "x", 0.99)], [boaster] * 200)
    plain = decide_options(OPTIONS, [Ballot("a", "x")], [steady] * 200)

    assert boasted.confidence == pytest.approx(plain.confidence, abs=0.01)


def test_a_past_in_which_the_majority_was_mostly_wrong_flattens_the_posterior() -> None:
    surprising = [PastDecision(tuple(votes("a:x b:x c:x d:x")), "xyyx"[n % 4], ("x", "y")) for n in range(40)]
    priors = BallotPolicy(prior_votes=1000)

    taught = decide_options(("x", "y"), votes("a:x b:x c:x d:x"), surprising, priors)
    untaught = decide_options(("x", "y"), votes("a:x b:x c:x d:x"), policy=priors)

    assert taught.confidence < untaught.confidence - 0.2


def test_plain_json_goes_in_and_comes_out() -> None:
    decision = decide_options(
        ["x", "y"],
        [{"voter": "a", "option": "x", "confidence": 0.9}],
        [{"ballots": [{"voter": "a", "option": "x"}], "outcome": "x", "options": ["x", "y"]}],
    )

    assert json.loads(json.dumps(decision.as_dict()))["winner"] == "x"


@pytest.mark.parametrize(
    ("options", "ballots", "message"),
    [
        ([], [], "at least one"),
        (["x", "x"], [], "each once"),
        (["x"], [Ballot("a", "y")], "not one of the options"),
        (["x"], [Ballot("a", "x"), Ballot("a", "x")], "more than one ballot"),
        (["x"], [{"voter": "a"}], "voter and option"),
        (["x"], [{"voter": "a", "option": "x", "mood": 1}], "voter and option"),
    ],
)
def test_invalid_input_is_refused_with_its_reason(options: list[str], ballots: list[Ballot], message: str) -> None:
    with pytest.raises(Refused, match=message):
        decide_options(options, ballots)


def test_values_outside_their_ranges_are_refused() -> None:
    with pytest.raises(Refused, match="0 to 1"):
        Ballot("a", "x", 1.5)
    with pytest.raises(Refused, match="outside its ranges"):
        BallotPolicy(prior_reliability=1.0)


@given(some_ballots, some_history, st.randoms(use_true_random=False))
def test_the_order_of_voters_options_and_history_never_matters(ballots, history, random) -> None:  # type: ignore[no-untyped-def]
    shuffled = [random.sample(list(items), len(items)) for items in (OPTIONS, ballots, history)]

    assert decide_options(*shuffled) == decide_options(OPTIONS, ballots, history)


@given(some_ballots, some_history)
def test_the_weights_sum_to_one(ballots: list[Ballot], history: list[PastDecision]) -> None:
    decision = decide_options(OPTIONS, ballots, history)

    assert sum(option.weight for option in decision.options) + decision.none_weight == pytest.approx(1)
    assert 0 <= decision.confidence <= 1


@given(some_ballots)
def test_an_independent_agreeing_voter_never_lowers_the_winner(ballots: list[Ballot]) -> None:
    before = decide_options(OPTIONS, ballots, policy=BallotPolicy(abstain_on_tie=False))
    after = decide_options(OPTIONS, [*ballots, Ballot("new", before.options[0].option)])

    assert after.options[0].option == before.options[0].option
    assert after.confidence >= before.confidence - 1e-12


@given(some_ballots, st.integers(1, 4))
def test_copies_of_a_voter_never_raise_the_confidence(ballots: list[Ballot], copies: int) -> None:
    lone = Ballot("lone", "x", family="clones")
    clones = [Ballot(f"clone {n}", "x", family="clones") for n in range(copies)]

    once = decide_options(OPTIONS, [*ballots, lone])
    many = decide_options(OPTIONS, [*ballots, lone, *clones])

    assert many.confidence == pytest.approx(once.confidence)
