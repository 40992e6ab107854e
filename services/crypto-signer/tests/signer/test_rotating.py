"""What the running signer replaces by itself, what it leaves to people and says, and what holds up nothing else."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import pytest
from grace_common.contract.errors import Refused, Unready
from grace_common.testing.clock import FixedClock
from grace_crypto_signer.domain.keyring import Level, Limit, RotationPolicy, Use
from grace_crypto_signer.handlers.rotating import DUE, Rotating

from .examples import TIME, MemoryUses

POLICY = RotationPolicy({level: Limit(timedelta(days=9), 100) for level in ("notary", "kek", "ca")})
FRESH, OLD, SPENT = Use(TIME, 1), Use(TIME - timedelta(days=9), 1), Use(TIME, 100)


@dataclass
class MemoryRotation:
    """Implements `Rotation`."""

    uses: dict[Level, Use]
    commands: dict[Level, str] = field(default_factory=dict)
    troubles: dict[Level, Exception] = field(default_factory=dict)
    replaced: list[Level] = field(default_factory=list)
    finished: int = 0

    def used(self) -> Mapping[Level, Use]:
        return {"kek": FRESH, "ca": FRESH, "root": FRESH} | self.uses

    def command(self, level: Level) -> str | None:
        return self.commands.get(level)

    async def finish(self, now: datetime) -> Sequence[str]:
        self.finished += 1
        return []

    async def replace(self, level: Level, now: datetime) -> str:
        if level in self.troubles:
            raise self.troubles.pop(level)
        self.replaced.append(level)
        self.uses[level] = Use(now, 0)
        return "next"


def rotating(rotation: MemoryRotation, uses: MemoryUses | None = None, now: datetime = TIME) -> Rotating:
    return Rotating(rotation, uses or MemoryUses(), FixedClock(now), POLICY, every_s=0.001)


def due() -> set[str]:
    samples = [sample for metric in DUE.collect() for sample in metric.samples]
    return {sample.labels["level"] for sample in samples if sample.value}


async def test_what_is_due_by_age_or_by_count_is_replaced_once() -> None:
    rotation = MemoryRotation({"kek": OLD, "ca": SPENT})
    handler = rotating(rotation)

    await handler.look()
    await handler.look()

    assert sorted(rotation.replaced) == ["ca", "kek"]
    assert (rotation.finished, due()) == (2, set())


async def test_what_needs_people_is_told_with_its_command_once_a_day(capsys: pytest.CaptureFixture[str]) -> None:
    rotation = MemoryRotation({"ca": OLD, "notary": SPENT}, {"ca": "grace keys rotate ca", "notary": "rotate notary"})
    clock = FixedClock(TIME)
    handler = Rotating(rotation, MemoryUses(), clock, POLICY, every_s=0.001)

    await handler.look()
    await handler.look()
    assert (rotation.replaced, due()) == ([], {"ca", "notary"})
    told = [line for line in capsys.readouterr().out.splitlines() if "key_due" in line]
    assert len(told) == 2
    assert all(
        word in line
        for line, words in zip(told, (("rotate ca", "age"), ("rotate notary", "count")), strict=True)
        for word in words
    )

    clock.time = TIME + timedelta(days=1)
    await handler.look()
    assert capsys.readouterr().out.count("key_due") == 2


@pytest.mark.parametrize(
    "trouble", [Refused("it does not open"), Unready("a command changes the keys"), ConnectionError("no database")]
)
async def test_the_trouble_of_one_level_holds_up_no_other_and_the_next_look_tries_again(trouble: Exception) -> None:
    rotation = MemoryRotation({"ca": OLD, "kek": OLD, "root": FRESH}, troubles={"ca": trouble})
    handler = rotating(rotation)

    await handler.look()
    assert (rotation.replaced, due()) == (["kek"], {"ca"})
    await handler.look()

    assert rotation.replaced == ["kek", "ca"]


async def test_a_bug_ends_the_looking() -> None:
    with pytest.raises(KeyError):
        await rotating(MemoryRotation({"ca": OLD}, troubles={"ca": KeyError("bug")})).run()


async def test_what_was_counted_is_written_down_with_each_look_and_waits_while_another_changes_the_keys() -> None:
    uses = MemoryUses(busy=1)
    handler = rotating(MemoryRotation({}), uses)
    uses.count("notary", 3)

    await handler.look()
    assert uses.written == {}
    uses.count("notary")
    await handler.look()

    assert (uses.written, uses.waiting) == ({"notary": 4}, {})
