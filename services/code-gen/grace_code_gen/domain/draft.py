"""What a generator is told, and what it hands back."""

import hashlib
import json
from dataclasses import dataclass
from typing import Final
from uuid import UUID, uuid5

from grace_common.contract.events.candidate import Authorship, Prompt, Strategy

from grace_code_gen.domain.specification import Specification

MAX_CODE: Final = 16_000  # characters that a candidate's event takes
MAX_CODE_BYTES: Final = 32 * 1024  # of them as JSON: what an envelope holds beside everything else

# All generators side by side, models once more with what failed. Whoever changes what is asked raises the version.
STRATEGY: Final = Strategy(name="side-by-side", version=1)


@dataclass(frozen=True, slots=True)
class Brief:
    """One round's task for a generator.

    guidance  what people said, oldest first
    lessons   what memory holds on tasks like this one
    evidence  how earlier candidates failed, in words; empty in the first try
    concept   the known concept whose examples stand for those that the request does not give; None when it gives some
    hints     productions of the synthesis grammar that a known concept asks for
    """

    specification: Specification
    approach: str = ""
    guidance: tuple[str, ...] = ()
    lessons: tuple[str, ...] = ()
    evidence: tuple[str, ...] = ()
    concept: str | None = None
    hints: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Draft:
    """One candidate's code before it is examined.

    cost     the generator's own ranking, lower is simpler
    model    the language model that wrote it, None where the generator names none
    prompts  what the model was told, in order
    """

    code: str
    generator: str
    cost: float
    model: str | None = None
    prompts: tuple[Prompt, ...] = ()

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.code.encode()).hexdigest()

    @property
    def fits(self) -> bool:
        """Whether an envelope can carry it."""
        if len(self.code) > MAX_CODE:
            return False
        return len(json.dumps(self.code, ensure_ascii=False).encode()) <= MAX_CODE_BYTES

    @property
    def authorship(self) -> Authorship:
        return Authorship(strategy=STRATEGY, model=self.model, prompts=self.prompts)

    def candidate_id(self, round_id: UUID) -> UUID:
        """Return an id that a repeated round repeats for the same code."""
        return uuid5(round_id, self.sha256)
