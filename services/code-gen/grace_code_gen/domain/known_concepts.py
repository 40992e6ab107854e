"""The catalogue of concepts as the approach wishes to see it: a concept, or None."""

from grace_common.contract.errors import Refused

from grace_code_gen.domain.approach import Concept
from grace_code_gen.domain.concepts import concept_of
from grace_code_gen.domain.specification import Example


class KnownConcepts:
    """Implements `Catalogue` on the packaged concepts."""

    def find(self, requirements: str, entry_point: str | None) -> Concept | None:
        try:
            found = concept_of(requirements, entry_point or "")
        except Refused:
            return None  # whether that is a problem depends on what else the request gives
        return Concept(
            name=found.name,
            entry_point=found.entry_point,
            signature=found.signature,
            description=found.description,
            examples=tuple(Example(tuple(one.args), one.expected) for one in found.examples),
            hints=found.hints,
        )
