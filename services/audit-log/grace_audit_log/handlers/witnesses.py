"""Asking witnesses of other operators to cosign the log's checkpoints (decision 0008).

None of them holds anything up: each has a few seconds for a checkpoint, one that fails is left out for a while, and
what came by then is published.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import structlog
from grace_common.contract.errors import Refused, Unready
from grace_common.runtime.outage import describe_outage, is_outage
from grace_common.transparency.note import Note, NoteSignature
from grace_common.transparency.witness import LogDisputed
from prometheus_client import Counter

from grace_audit_log.handlers.cosigned import Demand, Shelf
from grace_audit_log.ports import OutsideWitness

ASKED: Final = Counter("grace_outside_witness_asked_total", "Requests to outside witnesses", ["witness", "outcome"])
_FIRST_PAUSE_S: Final = 1.0
_log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Witness:
    """A witness by its name in the policy and its key's, and when it is asked again after a failure."""

    name: str
    known_as: str
    port: OutsideWitness
    not_before: float = 0.0
    pause_s: float = _FIRST_PAUSE_S


@dataclass(slots=True)
class _Round:
    """A checkpoint with the cosignatures it has got, by the names of the witnesses."""

    note: Note
    lines: dict[str, NoteSignature] = field(default_factory=dict)

    def encode(self) -> bytes:
        return Note(self.note.text, (*self.note.signatures, *self.lines.values())).encode()


class Witnesses:
    """Shows the newest checkpoint to every outside witness, and publishes it with their cosignatures.

    outside          by their names in the policy
    patience_s       for one witness and one checkpoint
    longest_pause_s  that one is left out for which fails again and again
    """

    def __init__(
        self,
        shelf: Shelf,
        demand: Demand,
        outside: Mapping[str, OutsideWitness],
        *,
        patience_s: float,
        longest_pause_s: float = 60.0,
    ) -> None:
        self._shelf = shelf
        self._demand = demand
        self._keys = [demand.policy.witnesses[name] for name in outside]
        self._witnesses = [
            _Witness(name, key.name, port) for (name, port), key in zip(outside.items(), self._keys, strict=True)
        ]
        self._patience_s = patience_s
        self._longest_pause_s = longest_pause_s
        self._heard = asyncio.Event()
        self._newest: bytes | None = None
        self._round: _Round | None = None

    def offer(self, note: bytes) -> None:
        """Take the newest checkpoint that Grace's own witness cosigned."""
        self._newest = note
        self._heard.set()

    async def run(self) -> None:
        """Ask until cancelled, first of all about what is published; an outage is waited out."""
        published = await asyncio.to_thread(self._shelf.newest)
        if published is not None and self._newest is None:
            self.offer(published)
        while True:
            await self._until_due()
            try:
                await self.collect()
            except Exception as error:
                if not is_outage(error):
                    raise
                _log.warning("cosigned_checkpoint_waits", missing=describe_outage(error))
                await asyncio.sleep(1.0)
                self._heard.set()

    async def collect(self) -> None:
        """Ask every witness whose turn it is to cosign the newest checkpoint, and publish what came."""
        if self._newest is None:
            return
        newest = Note.parse(self._newest)
        if self._round is None or self._round.note.text != newest.text:
            inside = [line for line in newest.signatures if not any(line.is_by(key) for key in self._keys)]
            self._round = _Round(Note(newest.text, tuple(inside)))
        asked, loop = self._round, asyncio.get_running_loop()
        due = [each for each in self._witnesses if each.name not in asked.lines and each.not_before <= loop.time()]
        lines = await asyncio.gather(*(self._ask(each, asked.note.encode()) for each in due))
        asked.lines.update({each.name: line for each, line in zip(due, lines, strict=True) if line is not None})
        await asyncio.to_thread(self._shelf.put, asked.encode(), self._demand, loop.time())

    async def _until_due(self) -> None:
        """Return at the next checkpoint, or when a witness that failed is to be asked again about the present one."""
        loop, asked = asyncio.get_running_loop(), self._round
        lacking = [each.not_before for each in self._witnesses if asked is not None and each.name not in asked.lines]
        try:
            async with asyncio.timeout(max(0.0, min(lacking) - loop.time()) if lacking else None):
                await self._heard.wait()
        except TimeoutError:
            return
        self._heard.clear()

    async def _ask(self, witness: _Witness, note: bytes) -> NoteSignature | None:
        outcome, why = "failed", f"no answer in {self._patience_s} s"
        try:
            async with asyncio.timeout(self._patience_s):
                line = await witness.port.cosign(note)
        except LogDisputed as error:
            outcome, why = "disputed", str(error)
        except (Refused, Unready) as error:
            why = str(error)
        except TimeoutError:
            pass
        else:
            ASKED.labels(witness.known_as, "cosigned").inc()
            witness.not_before, witness.pause_s = 0.0, _FIRST_PAUSE_S
            return line
        ASKED.labels(witness.known_as, outcome).inc()
        tell = _log.error if outcome == "disputed" else _log.warning
        tell("outside_witness_did_not_cosign", witness=witness.known_as, outcome=outcome, why=why)
        witness.not_before = asyncio.get_running_loop().time() + min(witness.pause_s, self._longest_pause_s)
        witness.pause_s = min(2 * witness.pause_s, self._longest_pause_s)
        return None
