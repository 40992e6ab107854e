"""What an execution matrix decides: examples bind, copies count once, doubt is stated, and order never matters."""

import json
from dataclasses import replace
from itertools import combinations, pairwise

import pytest
from grace_common.contract.errors import Refused
from grace_consensus.domain.agreement import Policy, decide_candidates
from grace_consensus.domain.confidence import DEFAULT, Calibration, effective_count
from grace_consensus.domain.execution_matrix import BINDING, Candidate, ExecutionMatrix, Probe, ProbeKind
from hypothesis import given
from hypothesis import strategies as st

EXAMPLE = Probe("e1", ProbeKind.EXAMPLE, 0)


def generated(count: int) -> list[Probe]:
    return [Probe(f"g{n}") for n in range(count)]


@st.composite
def matrices(draw: st.DrawFn) -> ExecutionMatrix:
    names = draw(st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=8, unique=True))
    candidates = [
        Candidate(
            name,
            generator=draw(st.sampled_from(["", "m", "n"])),
            digest=draw(st.sampled_from(["", "1", "2"])),
            prior=draw(st.sampled_from([0.25, 1.0])),
            quality=draw(st.sampled_from([0.5, 1.0])),
            size=draw(st.sampled_from([1.0, 2.0])),
            fitted=draw(st.booleans()),
        )
        for name in names
    ]
    kinds = draw(st.lists(st.sampled_from(list(ProbeKind)), max_size=6))
    probes = [
        Probe(f"p{n}", kind, None if kind == ProbeKind.GENERATED else draw(st.integers(-1, 1)))
        for n, kind in enumerate(kinds)
    ]
    row = st.lists(st.integers(-2, 1), min_size=len(probes), max_size=len(probes))
    return ExecutionMatrix.of(candidates, probes, [draw(row) for _ in candidates])


def test_the_behaviour_that_more_independent_candidates_share_wins() -> None:
    matrix = ExecutionMatrix.of(["a", "b", "c"], [EXAMPLE, *generated(2)], [[0, 1, 1], [0, 2, 2], [0, 2, 2]])

    decision = decide_candidates(matrix)

    assert (decision.verdict, decision.winner) == ("chosen", "b")
    assert decision.clusters[0].members == ("b", "c")
    assert decision.dissent[0].members == ("a",)
    assert (decision.dissent[0].probe, decision.dissent[0].leading_outcome, decision.dissent[0].dissenting_outcome) == (
        "g0",
        2,
        1,
    )
    assert "returns outcome 1 on probe g0 where b returns outcome 2" in decision.dissent[0].sentence


def test_a_candidate_that_fails_an_example_is_rejected_with_the_probe_that_shows_it() -> None:
    matrix = ExecutionMatrix.of(["a", "b", "c"], [EXAMPLE], {"a": {"e1": 1}, "b": {"e1": 1}, "c": {"e1": 0}})

    decision = decide_candidates(matrix, Policy(minimum_confidence=0))

    assert decision.winner == "c"
    assert [(r.candidate, r.probe, r.expected, r.outcome) for r in decision.rejected] == [
        ("a", "e1", 0, 1),
        ("b", "e1", 0, 1),
    ]


def test_when_nobody_passes_the_examples_it_abstains_and_leads_with_nobody() -> None:
    decision = decide_candidates(ExecutionMatrix.of(["a", "b"], [EXAMPLE], [[1], [-1]]))

    assert (decision.verdict, decision.winner, decision.leading, decision.confidence) == ("abstained", None, None, 0)
    assert decision.reasons == ("none of the 2 candidates passes the requester's examples and tests",)


def test_an_example_may_expect_an_error() -> None:
    matrix = ExecutionMatrix.of(["a", "b"], [Probe("e", ProbeKind.TEST, -1)], [[-2], [0]])

    assert decide_candidates(matrix, Policy(minimum_confidence=0)).winner == "a"


def test_doubt_below_the_policy_abstains_and_still_names_the_leader() -> None:
    decision = decide_candidates(ExecutionMatrix.of(["a", "b"], generated(1), [[0], [1]]))

    assert (decision.verdict, decision.winner, decision.leading) == ("abstained", None, "a")
    assert "below the policy's minimum of 0.50" in decision.reasons[0]


def test_too_little_support_abstains() -> None:
    decision = decide_candidates(ExecutionMatrix.of(["a"], [EXAMPLE] * 1, [[0]]), Policy(0, minimum_support=2))

    assert decision.reasons == (
        "the leading cluster has the support of 1.00 independent candidates; the policy wants 2.00",
    )


def test_the_same_text_again_changes_nothing() -> None:
    once = [Candidate("a", "m", "same"), Candidate("b", "m", "other")]
    probes = [EXAMPLE, *generated(1)]

    alone = decide_candidates(ExecutionMatrix.of(once, probes, [[0, 1], [0, 2]]))
    copied = decide_candidates(
        ExecutionMatrix.of(
            [*once, Candidate("c", "n", "same"), Candidate("d", "m", "same")], probes, [[0, 1], [0, 2], [0, 1], [0, 1]]
        )
    )

    assert copied.clusters[0].support == alone.clusters[0].support
    assert copied.confidence == pytest.approx(alone.confidence)


def test_candidates_of_several_generators_count_more_than_as_many_of_one() -> None:
    def confidence(generators: str) -> float:
        candidates = [Candidate(f"c{n}", generator) for n, generator in enumerate(generators)]
        return decide_candidates(ExecutionMatrix.of(candidates, [EXAMPLE], [[0]] * len(candidates))).confidence

    assert confidence("m") < confidence("mmm") < confidence("mno")


def test_more_examples_passed_and_fewer_candidates_failed_make_surer() -> None:
    def confidence(examples: int, failures: int) -> float:
        probes = [Probe(f"e{n}", ProbeKind.EXAMPLE, 0) for n in range(examples)]
        names = ["a", "b", *(f"f{n}" for n in range(failures))]
        rows = [[0] * examples] * 2 + [[1] * examples] * failures
        return decide_candidates(ExecutionMatrix.of(names, probes, rows)).confidence

    assert confidence(1, 0) < confidence(3, 0)
    assert confidence(3, 5) < confidence(3, 0)


def test_failures_that_a_search_does_not_show_count_where_the_calibration_presumes_them() -> None:
    presuming = replace(DEFAULT, fitted_failures=3.0)
    found = [
        decide_candidates(
            ExecutionMatrix.of([Candidate("a", fitted=fitted)], [EXAMPLE], [[0]]), calibration=presuming
        ).confidence
        for fitted in (True, False)
    ]

    assert found[0] < found[1]


def test_likeness_of_programs_that_a_search_chose_to_show_adds_nothing_to_them() -> None:
    names = ["a", "b", "c"]
    probes = [EXAMPLE, *(Probe(f"g{n}", ProbeKind.GENERATED) for n in range(3))]
    rows = [[0, 0, 0, 0], [0, 0, 0, 1], [0, 0, 1, 0]]

    def weight(fitted: bool) -> float:
        candidates = [Candidate(name, prior=1.0 if name == "a" else 0.05, fitted=fitted) for name in names]
        return decide_candidates(ExecutionMatrix.of(candidates, probes, rows)).clusters[0].weight

    assert weight(fitted=True) > weight(fitted=False)


def test_tests_that_agree_with_candidates_decide_between_equal_clusters() -> None:
    probes = [Probe(f"t{n}", ProbeKind.GENERATED_TEST, 0) for n in range(4)]

    decision = decide_candidates(ExecutionMatrix.of(["a", "b"], probes, [[1, 1, 0, 1], [0, 0, 0, 1]]))

    assert decision.leading == "b"
    assert decision.clusters[0].tests_passed == 3
    assert decision.test_reliability["t2"] == pytest.approx(1)
    assert decision.test_reliability["t0"] > 0.5 > decision.test_reliability["t3"]


def test_an_input_on_which_most_candidates_raise_is_ignored() -> None:
    matrix = ExecutionMatrix.of(["a", "b", "c"], [EXAMPLE, *generated(1)], [[0, -1], [0, -2], [0, 5]])

    decision = decide_candidates(matrix)

    assert decision.ignored_probes == ("g0",)
    assert len(decision.clusters) == 1


def test_an_input_on_which_one_generators_candidates_raise_is_ignored_however_many_the_others_are() -> None:
    models = [Candidate(name, "model", name) for name in "ab"]
    programs = [Candidate(name, "synthesis", name, fitted=True) for name in "cdef"]
    rows = [[0, -1], [0, -1], [0, 1], [0, 2], [0, 3], [0, 4]]

    decision = decide_candidates(ExecutionMatrix.of([*models, *programs], [EXAMPLE, *generated(1)], rows))

    assert decision.ignored_probes == ("g0",)
    assert len(decision.clusters) == 1


def test_raising_on_a_valid_input_is_another_behaviour() -> None:
    matrix = ExecutionMatrix.of(["a", "b", "c"], [EXAMPLE, *generated(1)], [[0, 3], [0, 3], [0, -1]])

    assert "raises an error on probe g0" in decide_candidates(matrix).dissent[0].sentence


def test_without_probes_only_equal_texts_agree() -> None:
    candidates = [Candidate("a", digest="1"), Candidate("b", digest="2"), Candidate("c", digest="2")]

    decision = decide_candidates(ExecutionMatrix.of(candidates, [], [[], [], []]))

    assert decision.leading == "b"
    assert decision.dissent[0].sentence == "a is another text, and no valid probe compares it with b"


def test_among_candidates_that_behave_alike_quality_then_simplicity_then_the_lowest_id_decides() -> None:
    def leading(*candidates: Candidate) -> str | None:
        return decide_candidates(ExecutionMatrix.of(candidates, [EXAMPLE], [[0]] * len(candidates))).leading

    assert leading(Candidate("a", quality=0.4), Candidate("b", quality=0.9)) == "b"
    assert leading(Candidate("a", size=9), Candidate("b", size=3)) == "b"
    assert leading(Candidate("b"), Candidate("a")) == "a"
    assert leading(Candidate("a", prior=0.25), Candidate("b", prior=1.0)) == "b"


def test_a_decision_is_plain_json() -> None:
    decision = decide_candidates(ExecutionMatrix.of(["a", "b"], [EXAMPLE, *generated(1)], [[0, 1], [0, 2]]))

    assert json.loads(json.dumps(decision.as_dict()))["clusters"][0]["members"] == ["a"]


@pytest.mark.parametrize(
    ("candidates", "probes", "outcomes", "message"),
    [
        (["a", "a"], [], [[], []], "candidate ids"),
        (["a"], ["g", "g"], [[0, 0]], "probe ids"),
        (["a"], [], [], "0 rows"),
        (["a"], ["g"], [[]], "0 outcomes for 1 probes"),
        (["a"], ["g"], {"a": {}}, "lack 'g'"),
        (["a"], ["g"], [["one"]], "no outcome class"),
        ([{"id": "a", "colour": 1}], [], [[]], "colour"),
        ([{"id": "a", "prior": "high"}], [], [[]], "wrong type"),
        ([{"id": ""}], [], [[]], "empty id"),
        ([{"id": "a", "prior": 0}], [], [[]], "prior 0"),
        ([{"id": "a", "quality": 2}], [], [[]], "quality 2"),
        ([{"id": "a", "size": float("inf")}], [], [[]], "size inf"),
        (["a"], [{"id": "p", "kind": "guess"}], [[0]], "guess"),
        (["a"], [{"id": "p", "kind": "example"}], [[0]], "expected outcome belongs"),
    ],
)
def test_an_invalid_matrix_is_refused_with_its_reason(candidates, probes, outcomes, message) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(Refused, match=message):
        ExecutionMatrix.of(candidates, probes, outcomes)


def test_no_candidate_and_invalid_policies_are_refused() -> None:
    with pytest.raises(Refused, match="no candidate"):
        decide_candidates(ExecutionMatrix.of([], [], []))
    with pytest.raises(Refused, match="outside its ranges"):
        Policy(minimum_confidence=1.5)
    with pytest.raises(Refused, match="not monotone"):
        replace(DEFAULT, slope=-1.0)


def test_the_confidence_map_is_monotone_and_never_certain() -> None:
    shares = [DEFAULT.confidence(step / 100) for step in range(101)]

    assert all(low < high for low, high in pairwise(shares))
    assert shares[0] < 0.01
    assert shares[-1] < 1


def test_correlated_votes_are_worth_between_one_and_the_inverse_of_their_correlation() -> None:
    assert effective_count(0, 0.2) == 0
    assert effective_count(1, 0.2) == 1
    assert effective_count(5, 1.0) == 1
    assert 4.9 < effective_count(1000, 0.2) < 5


def test_a_calibration_reads_back_what_was_written() -> None:
    assert Calibration.of({"parameters": {name: getattr(DEFAULT, name) for name in DEFAULT.__slots__}}) == DEFAULT


@given(matrices())
def test_the_winner_passes_every_example_and_test(matrix: ExecutionMatrix) -> None:
    decision = decide_candidates(matrix, Policy(minimum_confidence=0))

    if decision.leading is not None:
        row = matrix.outcomes[[c.id for c in matrix.candidates].index(decision.leading)]
        for probe, got in zip(matrix.probes, row, strict=True):
            if probe.kind in BINDING and probe.expected is not None:
                assert max(got, -1) == max(probe.expected, -1)


@given(matrices())
def test_weights_sum_to_one_and_every_candidate_is_accounted_for(matrix: ExecutionMatrix) -> None:
    decision = decide_candidates(matrix)

    assert sum(cluster.weight for cluster in decision.clusters) + decision.unseen_weight == pytest.approx(1)
    placed = [member for cluster in decision.clusters for member in cluster.members]
    assert sorted(placed + [r.candidate for r in decision.rejected]) == sorted(c.id for c in matrix.candidates)
    assert 0 <= decision.confidence < 1


@given(matrices(), st.randoms(use_true_random=False))
def test_the_order_of_candidates_and_probes_never_matters(matrix, random) -> None:  # type: ignore[no-untyped-def]
    rows = random.sample(range(len(matrix.candidates)), len(matrix.candidates))
    columns = random.sample(range(len(matrix.probes)), len(matrix.probes))

    shuffled = ExecutionMatrix.of(
        [matrix.candidates[i] for i in rows],
        [matrix.probes[j] for j in columns],
        [[matrix.outcomes[i][j] for j in columns] for i in rows],
    )

    assert decide_candidates(shuffled) == decide_candidates(matrix)


@given(st.integers(1, 5), st.integers(0, 5))
def test_an_independent_agreeing_candidate_never_lowers_the_confidence(agreeing: int, dissenting: int) -> None:
    def confidence(count: int) -> float:
        names = [f"a{n}" for n in range(count)] + [f"d{n}" for n in range(dissenting)]
        candidates = [Candidate(name, generator=name) for name in names]
        rows = [[0, 0]] * count + [[0, 1 + n] for n in range(dissenting)]
        decision = decide_candidates(ExecutionMatrix.of(candidates, [EXAMPLE, *generated(1)], rows))
        return next(cluster.weight for cluster in decision.clusters if "a0" in cluster.members)

    assert all(confidence(low) <= confidence(high) for low, high in combinations([agreeing, agreeing + 1], 2))
