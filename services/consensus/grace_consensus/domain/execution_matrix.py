"""The evidence on code candidates: what each of them returned on each probe, as small integers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from enum import StrEnum
from math import isfinite
from typing import Any, Self, TypeVar

from grace_common.contract.errors import Refused

RAISED = -1  # every negative outcome (error, timeout, killed) is read as this one


class ProbeKind(StrEnum):
    """Who stands behind a probe, and so how far its expectation binds."""

    EXAMPLE = "example"  # the requester's example: a candidate that fails it can never win
    TEST = "test"  # the requester's test: binds in the same way
    GENERATED = "generated"  # an input alone: shows where candidates differ
    GENERATED_TEST = "generated-test"  # an input with what a model expects: evidence of unknown reliability


BINDING = frozenset({ProbeKind.EXAMPLE, ProbeKind.TEST})


@dataclass(frozen=True, slots=True)
class Candidate:
    """One proposed program.

    id         unique in its matrix; the lowest id wins an exact tie
    generator  who proposed it; candidates of one generator are correlated and count less than once each
    digest     fingerprint of the normalised text (see `fingerprint.of_source`); equal digests count once
    prior      the generator's own belief relative to its other candidates, > 0: 1 for samples, 2**-bits or 1/rank else
    quality    static quality, 0 to 1; chooses among candidates that behave alike
    size       simplicity, smaller is simpler (bits, characters, nodes: one unit per matrix); breaks ties
    fitted     made so as to pass the binding probes (a synthesiser, a repair round), so that passing says little
    """

    id: str
    generator: str = ""
    digest: str = ""
    prior: float = 1.0
    quality: float = 1.0
    size: float = 0.0
    fitted: bool = False

    def __post_init__(self) -> None:
        if not self.id:
            raise Refused("a candidate has an empty id")
        if not (isfinite(self.prior) and self.prior > 0):
            raise Refused(f"candidate {self.id} has the prior {self.prior}; a finite number above 0 is expected")
        if not 0 <= self.quality <= 1:
            raise Refused(f"candidate {self.id} has the quality {self.quality}; 0 to 1 is expected")
        if not isfinite(self.size):
            raise Refused(f"candidate {self.id} has the size {self.size}; a finite number is expected")


@dataclass(frozen=True, slots=True)
class Probe:
    """One input on which every candidate ran; `expected` is the outcome class that somebody expects, if anybody."""

    id: str
    kind: ProbeKind = ProbeKind.GENERATED
    expected: int | None = None

    def __post_init__(self) -> None:
        if self.kind not in list(ProbeKind):
            raise Refused(
                f"probe {self.id} has the kind {self.kind!r}; one of {[str(k) for k in ProbeKind]} is expected"
            )
        if (self.expected is None) != (self.kind == ProbeKind.GENERATED):
            raise Refused(f"probe {self.id}: an expected outcome belongs to every kind but {ProbeKind.GENERATED}")


@dataclass(frozen=True, slots=True)
class ExecutionMatrix:
    """Candidates × probes; `outcomes[i][j]` is the outcome class of candidate i on probe j.

    Equal classes of one probe are equal outputs; a negative class is an error or a timeout. Classes of different
    probes have nothing to do with each other.
    """

    candidates: tuple[Candidate, ...]
    probes: tuple[Probe, ...]
    outcomes: tuple[tuple[int, ...], ...]

    def __post_init__(self) -> None:
        _refuse_repeated("candidate", [candidate.id for candidate in self.candidates])
        _refuse_repeated("probe", [probe.id for probe in self.probes])
        if len(self.outcomes) != len(self.candidates):
            raise Refused(f"{len(self.outcomes)} rows of outcomes were given for {len(self.candidates)} candidates")
        for candidate, row in zip(self.candidates, self.outcomes, strict=True):
            if len(row) != len(self.probes):
                raise Refused(f"candidate {candidate.id} has {len(row)} outcomes for {len(self.probes)} probes")

    @classmethod
    def of(
        cls,
        candidates: Sequence[Candidate | Mapping[str, Any] | str],
        probes: Sequence[Probe | Mapping[str, Any] | str],
        outcomes: Sequence[Sequence[int]] | Mapping[str, Mapping[str, int]],
    ) -> Self:
        """Build a matrix from plain lists and dicts, as they come out of JSON.

        candidates  ids, or mappings with the fields of Candidate
        probes      ids (inputs alone), or mappings with the fields of Probe
        outcomes    rows in the order of the two lists, or {candidate id: {probe id: class}}
        raises      Refused, naming what is missing, unknown or out of range
        """
        rows = [c if isinstance(c, Candidate) else _record(Candidate, c) for c in candidates]
        columns = [p if isinstance(p, Probe) else _record(Probe, p) for p in probes]
        if isinstance(outcomes, Mapping):
            try:
                table = [[outcomes[row.id][column.id] for column in columns] for row in rows]
            except KeyError as missing:
                raise Refused(f"the outcomes lack {missing.args[0]!r}") from missing
        else:
            table = [list(row) for row in outcomes]
        for value in (value for row in table for value in row):
            if not isinstance(value, int) or isinstance(value, bool):
                raise Refused(f"the outcome {value!r} is no outcome class; an integer is expected")
        return cls(tuple(rows), tuple(columns), tuple(tuple(row) for row in table))


Row = TypeVar("Row", Candidate, Probe)


def _record(kind: type[Row], value: Mapping[str, Any] | str) -> Row:
    given = {"id": value} if isinstance(value, str) else dict(value)
    unknown = sorted(given.keys() - {field.name for field in fields(kind)})
    if unknown or not isinstance(given.get("id"), str):
        raise Refused(f"a {kind.__name__.lower()} needs a text `id` and knows no field {unknown}")
    try:
        return kind(**given)
    except TypeError as error:
        raise Refused(f"{kind.__name__.lower()} {given['id']} has a field of the wrong type: {error}") from error


def _refuse_repeated(noun: str, ids: Sequence[str]) -> None:
    repeated = sorted({name for name in ids if ids.count(name) > 1})
    if repeated:
        raise Refused(f"the {noun} ids {repeated} are given more than once")
