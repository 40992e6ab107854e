"""Keys replaced meanwhile: every level that a command changes without people, again and again, at random moments.

A command is cut short at times (`kill -9`) and given again, as docs/keys.md promises. One that is refused because a
server is down at that moment is given again as well; any other failure is a finding, and raises.
"""

import asyncio
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from grace_cli.errors import Exit
from grace_common.contract.topics import AUDIT_LOG
from grace_common.transparency.note import VerifierKey

from tools.chaos.cut import Cut, Given, give
from tools.chaos.patience import PATIENCE_S, Impatient, until
from tools.chaos.report import Change
from tools.chaos.stack import Stack
from tools.chaos.tally import Log

LEVELS: Final = ("epoch", "notary", "attestation", "witness", "kek", "ca", "log", "root")
_LONGEST_PAUSE_S: Final = 3.0
_CUT_SHARE: Final = 0.5  # of the times that a command is given
_MOST_CHANGES: Final = 10  # of key files, that a command makes before it is cut short
_LONGEST_COMMAND_S: Final = 1.5
_LONGEST_STEP_S: Final = 0.03  # from one change of a file to the next
_AGAIN_AFTER_S: Final = 0.5
_AT_ONE_MOMENT: Final = "give the command again"  # the signer has signed a version of the key directory meanwhile


@dataclass
class Rotations:
    """Changes the keys of so many levels; where these are all, again and again until it is told that it is enough.

    log  as a stranger reads it, who is told of the log's next key and goes by that one from then on
    """

    stack: Stack
    log: Log
    chance: random.Random
    say: Callable[[str], None]
    levels: int = len(LEVELS)
    rows: dict[str, Change] = field(default_factory=lambda: {level: Change(level) for level in LEVELS})
    _enough: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self) -> None:
        """Change one level after the other, each time in another order.

        raises  RuntimeError when a command fails that was not cut short, and not for a reason that passes; Impatient
        """
        while True:
            for level in self.chance.sample(LEVELS, len(LEVELS)):
                await self._pause()
                if self._is_done():
                    return
                await self._change(level)
                self.rows[level].times += 1
                self.say(f"another {level} key")

    def enough(self) -> None:
        """Let `run` end once it has changed every level that it should."""
        self._enough.set()

    def _is_done(self) -> bool:
        changed = sum(row.times > 0 for row in self.rows.values())
        return changed >= self.levels and (self._enough.is_set() or self.levels < len(LEVELS))

    async def _change(self, level: str) -> None:
        match level:
            case "log":
                await self._change_log()
            case "ca":
                await self._command("rotate", "ca")
                await self._pause()
                await self._command("retire", "ca", in_use=1)
            case "root":
                await until("key directory, by which another root is learned of", self.log.directory)
                await self._command("rotate", "root")
            case _:
                await self._command("rotate", level)

    async def _change_log(self) -> None:
        """Let the log's next key sign beside the one before, tell the stranger of it, and end the one before."""
        await until("key directory that lists the log's key", self._lists_the_log)
        await self._command("rotate", "log", in_use=2)
        told = (await self._status())["log"][-1]["log_key"]
        await until("vkey that is the log's next key", lambda: str(self.stack.log_key) == told)
        self.log.succeed(VerifierKey.parse(told))
        await self._pause()
        await self._command("retire", "log", in_use=1)
        before = self.stack.home.state(AUDIT_LOG) / "log-key-before.pem"
        await until("audit-log that has removed its older key", lambda: not before.exists())

    def _lists_the_log(self) -> bool:
        known = self.log.directory()
        return known is not None and self.log.key in known.log_keys(self.log.key.name)

    async def _command(self, verb: str, level: str, in_use: int | None = None) -> None:
        """Give a command until it is done.

        in_use  so many keys of the level count when it is; given again after that it is refused
        """
        row, cut_before, deadline = self.rows[level], False, time.monotonic() + PATIENCE_S
        while True:
            given = await self._give(verb, level)
            if given.code == Exit.OK:
                return
            if given.code is None:
                row.cut, cut_before = row.cut + 1, True
                continue
            if cut_before and given.code == Exit.REFUSED and in_use == await self._in_use(level):
                return
            if given.code != Exit.NOT_READY and _AT_ONE_MOMENT not in given.answer["error"]:
                raise RuntimeError(f"grace keys {verb} {level}: exit code {given.code}, {given.answer}")
            if time.monotonic() > deadline:
                raise Impatient(f"after {PATIENCE_S:.0f} s still refused: grace keys {verb} {level}: {given.answer}")
            row.again += 1
            await asyncio.sleep(_AGAIN_AFTER_S)

    async def _give(self, verb: str, level: str) -> Given:
        return await asyncio.to_thread(
            give, self.stack.home, self.stack.environ, ("keys", verb, level), self._cut(level)
        )

    def _cut(self, level: str) -> Cut | None:
        if self.chance.random() > _CUT_SHARE:
            return None
        # Early ones more often: some commands change two files, others ten.
        changes = 0 if level == "epoch" else self.chance.randint(0, self.chance.randint(0, _MOST_CHANGES))
        return Cut(changes, self.chance.uniform(0.0, _LONGEST_STEP_S if changes else _LONGEST_COMMAND_S))

    async def _in_use(self, level: str) -> int:
        known = await self._status()
        if level == "log":
            return sum(key["not_after"] is None for key in known["log"])
        return sum(one["state"] != "ended" for one in known["authorities"])

    async def _status(self) -> dict[str, Any]:
        """Return what `grace keys status` says, which needs no server."""
        given = await asyncio.to_thread(give, self.stack.home, self.stack.environ, ("keys", "status"))
        if given.code != Exit.OK:
            raise RuntimeError(f"grace keys status: exit code {given.code}, {given.answer}")
        return given.answer

    async def _pause(self) -> None:
        await asyncio.sleep(self.chance.uniform(0.0, _LONGEST_PAUSE_S))
