"""Asking witnesses of other operators to cosign the log's checkpoints (decision 0008).

None of them holds anything up: what came within a few seconds is published, one that fails is left out for a while, and
a late answer counts as long as the same checkpoint is in hand. One is kept in hand, within bounds, while it lacks the
quorum and may still get it: cosignatures of different checkpoints never add up.
"""

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

import structlog
from grace_common.contract.errors import Refused, Unready
from grace_common.runtime.outage import describe_outage, is_outage
from grace_common.transparency.note import Note, NoteSignature
from grace_common.transparency.witness import LogDisputed
from prometheus_client import Counter

from grace_audit_log.handlers.cosigned import KEEP_S, Demand, Shelf
from grace_audit_log.ports import OutsideWitness

ASKED: Final = Counter("grace_outside_witness_asked_total", "Requests to outside witnesses", ["witness", "outcome"])
# For one answer, and for the quorum of one checkpoint. As long does the one before stand that has it: nobody sees more.
LONGEST_S: Final = KEEP_S
_FIRST_PAUSE_S: Final = 1.0
_log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Witness:
    """A witness by its name in the policy and its key's.

    asking      its present exchange, which ends by itself
    about       the checkpoint that it was asked about last
    not_before  when it is asked again after a failure
    """

    name: str
    known_as: str
    port: OutsideWitness
    asking: "asyncio.Task[None] | None" = None
    about: "_Round | None" = None
    not_before: float = 0.0
    pause_s: float = _FIRST_PAUSE_S


@dataclass(slots=True)
class _Round:
    """A checkpoint with the cosignatures it has got, by the names of the witnesses.

    inside  names of those that had cosigned it before anybody outside was asked
    end     when it is given up if it still lacks the quorum
    shown   how many of the cosignatures are published
    """

    note: Note
    inside: frozenset[str]
    end: float
    lines: dict[str, NoteSignature] = field(default_factory=dict)
    shown: int = 0

    def encode(self) -> bytes:
        return Note(self.note.text, (*self.note.signatures, *self.lines.values())).encode()


class Witnesses:
    """Shows the newest checkpoint to every outside witness, and publishes it with their cosignatures.

    outside          by their names in the policy
    patience_s       that a checkpoint waits for answers before it is published with what came
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
        self._newest: Note | None = None
        self._round: _Round | None = None

    def offer(self, note: bytes) -> None:
        """Take the newest checkpoint that Grace's own witness cosigned."""
        self._newest = Note.parse(note)
        self._heard.set()

    async def run(self) -> None:
        """Ask until cancelled, first of all about what was witnessed last; an outage is waited out."""
        last = await asyncio.to_thread(self._shelf.witnessed)
        if last is not None and self._newest is None:
            self.offer(last)
        try:
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
        finally:
            for each in self._witnesses:
                if each.asking is not None:
                    each.asking.cancel()

    async def collect(self) -> None:
        """Ask every witness whose turn it is to cosign the checkpoint in hand, and publish what came."""
        loop = asyncio.get_running_loop()
        self._fail_for_bugs()
        if self._round is not None and len(self._round.lines) > self._round.shown:
            await self._publish(self._round)  # it has answers that came late, and may be over by them
        asked = self._in_hand(loop.time())
        if asked is None:
            return
        due = [each for each in self._lacking(asked) if each.asking is None and each.not_before <= loop.time()]
        for each in due:
            each.about, each.asking = asked, asyncio.create_task(self._ask(each, asked))
        asking = [each.asking for each in due if each.asking is not None]
        if asking:
            _, late = await asyncio.wait(asking, timeout=self._patience_s)
            for task in late:
                task.add_done_callback(lambda _: self._heard.set())
            self._fail_for_bugs()
        await self._publish(asked)

    def _fail_for_bugs(self) -> None:
        """Raise what ended an exchange otherwise than an answer or a failure does, however late."""
        for each in self._witnesses:
            if each.asking is not None and each.asking.done():
                ended, each.asking = each.asking, None
                ended.result()

    async def _publish(self, asked: _Round) -> None:
        lines, now = len(asked.lines), asyncio.get_running_loop().time()
        await asyncio.to_thread(self._shelf.put, asked.encode(), self._demand, now)
        asked.shown = lines

    def _in_hand(self, now: float) -> _Round | None:
        """Return the checkpoint to ask about: the newest, unless the one before may still get the quorum."""
        newest, present = self._newest, self._round
        if newest is not None and (present is None or (present.note.text != newest.text and self._over(present, now))):
            inside = tuple(line for line in newest.signatures if not any(line.is_by(key) for key in self._keys))
            keys = self._demand.policy.witnesses.items()
            names = frozenset(name for name, key in keys if any(line.is_by(key) for line in inside))
            self._round = _Round(Note(newest.text, inside), names, now + LONGEST_S)
        return self._round

    def _over(self, present: _Round, now: float) -> bool:
        """Return whether a checkpoint has the quorum, or cannot get it in the time that is left.

        It waits for those that were asked about it, not for those that were left out when its turn came.
        """
        asked = [each for each in self._lacking(present) if each.about is present]
        coming = [each.name for each in asked if each.asking is not None or each.not_before < present.end]
        return (
            now >= present.end
            or self._satisfied(present, present.lines)
            or not self._satisfied(present, [*present.lines, *coming])
        )

    def _satisfied(self, present: _Round, outside: Iterable[str]) -> bool:
        return self._demand.policy.satisfied_by({*present.inside, *outside})

    def _lacking(self, present: _Round) -> list[_Witness]:
        return [each for each in self._witnesses if each.name not in present.lines]

    async def _until_due(self) -> None:
        """Return when there is something to ask or to publish.

        That is at the next checkpoint, when the present one is over and a newer one waits, when a late answer came, or
        when a witness that failed is to be asked again about the present one.
        """
        loop, present, newest = asyncio.get_running_loop(), self._round, self._newest
        moments: list[float] = []
        if present is not None and newest is not None:
            moments += [each.not_before for each in self._lacking(present) if each.asking is None]
            if present.note.text != newest.text:
                moments.append(loop.time() if self._over(present, loop.time()) else present.end)
        try:
            async with asyncio.timeout_at(min(moments) if moments else None):
                await self._heard.wait()
        except TimeoutError:
            return
        self._heard.clear()

    async def _ask(self, witness: _Witness, asked: _Round) -> None:
        outcome, why = "failed", f"no answer in {LONGEST_S:.0f} s"
        try:
            async with asyncio.timeout(LONGEST_S):
                asked.lines[witness.name] = await witness.port.cosign(asked.note.encode())
        except LogDisputed as error:
            outcome, why = "disputed", str(error)
        except (Refused, Unready) as error:
            why = str(error)
        except TimeoutError:
            pass
        else:
            ASKED.labels(witness.known_as, "cosigned").inc()
            witness.asking, witness.not_before, witness.pause_s = None, 0.0, _FIRST_PAUSE_S
            return
        ASKED.labels(witness.known_as, outcome).inc()
        tell = _log.error if outcome == "disputed" else _log.warning
        tell("outside_witness_did_not_cosign", witness=witness.known_as, outcome=outcome, why=why)
        witness.asking = None
        witness.not_before = asyncio.get_running_loop().time() + min(witness.pause_s, self._longest_pause_s)
        witness.pause_s = min(2 * witness.pause_s, self._longest_pause_s)
