"""A round's evidence in an envelope, however many probes it has."""

from uuid import UUID

import pytest
from grace_code_gen.domain.fitting import MOST_BYTES, MOST_CANDIDATES, MOST_NOTES, fitted, noted
from grace_common.contract.events.candidate import CandidatesGenerated, Probe, ProbeKind, Row

KINDS: tuple[ProbeKind, ...] = ("example", "generated", "test", "generated-test")


def round_of(candidates: int, **count: int) -> CandidatesGenerated:
    """A round in which every second column tells candidates apart."""
    probes = [
        Probe(id=f"{kind}-{at}", kind=kind, label="x" * 60, expected=0 if kind in ("example", "test") else None)
        for kind in KINDS
        for at in range(count.get(kind.replace("-", "_"), 0))
    ]
    rows = [
        Row(
            candidate_id=UUID(int=number),
            generator="recorded",
            code_sha256="01" * 32,
            quality_score=0.5,
            report_sha256="02" * 32,
            cost=1.0,
            outputs=tuple(number if at % 2 else 0 for at in range(len(probes))),
        )
        for number in range(candidates)
    ]
    return CandidatesGenerated(
        task_id=UUID(int=1), round_id=UUID(int=2), entry_point="f", probes=tuple(probes), rows=tuple(rows)
    )


def test_what_fits_stays_as_it_is() -> None:
    event = round_of(8, example=3, generated=40)

    assert fitted(event) == event
    assert fitted(round_of(0, generated=3)).rows == ()


@pytest.mark.parametrize("candidates", [40, MOST_CANDIDATES])
def test_inputs_at_which_all_agree_go_first_and_what_was_given_stays(candidates: int) -> None:
    event = round_of(candidates, example=50, generated=40, test=60, generated_test=40)

    small = fitted(event)

    assert len(event.model_dump_json()) > MOST_BYTES >= len(small.model_dump_json())
    assert [probe for probe in small.probes if probe.expected is not None] == [
        probe for probe in event.probes if probe.expected is not None
    ]
    position = {probe.id: at for at, probe in enumerate(event.probes)}
    for before, after in zip(event.rows, small.rows, strict=True):
        assert after.outputs == tuple(before.outputs[position[probe.id]] for probe in small.probes)
        assert (after.candidate_id, after.cost) == (before.candidate_id, before.cost)


def test_only_as_many_probes_go_as_must() -> None:
    event = round_of(40, example=50, generated=40, test=45, generated_test=40)

    small = fitted(event)

    gone = {probe.id for probe in event.probes} - {probe.id for probe in small.probes}
    assert gone
    # The numbers in a column of `generated` are those of its place in the row; even places tell nobody apart.
    agreeing = {probe.id for at, probe in enumerate(event.probes) if probe.kind == "generated" and at % 2 == 0}
    assert gone <= agreeing or gone > agreeing
    assert len(small.model_dump_json()) > MOST_BYTES - 400


def test_notes_are_said_once_shortened_and_counted_when_there_are_many() -> None:
    assert noted(["a: down", "a: down", "b" * 500]) == ("a: down", "b" * 299 + "…")
    many = noted([f"model-{at}: down" for at in range(30)])
    assert len(many) == MOST_NOTES
    assert many[-1] == "and 19 more"
    assert fitted(round_of(1).model_copy(update={"notes": ("x", "x")})).notes == ("x",)
