"""The stages at which a process can be made to die, so that tests show what survives it.

A service calls `reached` once for each batch as it passes a stage, which does nothing. With the setting
`GRACE_FAILPOINT=relay.sent:3` it kills itself at the third pass of that stage, as `kill -9` would. The code that kills
is in `grace_common.testing`, which no wheel and no image carries: there a service that is told to die refuses to start.
"""

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Final

from grace_common.contract.errors import Refused

STAGES: Final = (
    # outbox → Kafka, in every service
    "relay.read",  # rows are read, nothing is sealed
    "relay.sent",  # the broker has acknowledged them, no row is marked
    "relay.marked",
    # what a service's handlers hear
    "delivery.received",  # nothing is checked
    "delivery.handled",  # the effects are committed, the position is not
    "delivery.positioned",  # the position is committed
    # what a service hears of the ledger: which rows of its outbox may go
    "coverage.received",
    "coverage.handled",
    "coverage.positioned",
    # gateway: what outside producers ask for
    "intake.received",
    "intake.handled",
    "intake.positioned",
    # crypto-signer: the notary
    "notary.received",
    "notary.signed",  # the entries are made, none is produced
    "notary.handled",  # the broker has acknowledged them
    "notary.positioned",
    # crypto-signer: the witness
    "witness.received",
    "witness.handled",
    "witness.positioned",
    # audit-log: the tree
    "ledger.received",
    "ledger.inserted",  # entries, tiles and checkpoint are in the open transaction
    "ledger.committed",
    "ledger.handled",
    "ledger.positioned",
    # audit-log: the static files, and what is told of them
    "publication.begun",  # nothing of the new tree is written
    "publication.grown",  # full tiles and entries are written, no checkpoint
    "publication.written",  # the checkpoint too; nobody is told
    "publication.announced",  # told, and not noted
    # audit-log: what the witness cosigned
    "cosigned.received",
    "cosigned.handled",
    "cosigned.positioned",
)

# crypto-signer: what happens a few times a year, when keys above the notary's are replaced
KEY_STAGES: Final = (
    "kek.begun",  # the next key is there and seals; what the one before sealed is as it was
    "kek.resealed",  # every seed is sealed anew, no file is
    "ca.prepared",  # the next CA is made, and named nowhere but in the signer's own folder
    "ca.entered",  # it certifies, and has certified nothing again
    "ca.ended",  # the one before has ended in the signer's own folder alone
)

_FACILITY: Final = "grace_common.testing.failpoints"
_armed: Callable[[str], None] | None = None


def reached(part: str, step: str) -> None:
    """Say that a stage is passed."""
    if _armed is not None:
        _armed(f"{part}.{step}")


def arm(wanted: str | None, state_dir: Path) -> None:
    """Let this process die where `GRACE_FAILPOINT` says; None: nowhere.

    raises  Refused when there is no such stage, or this build cannot die on demand
    """
    global _armed
    if wanted is None:
        _armed = None
        return
    try:
        facility = import_module(_FACILITY)  # by name, for nothing that is shipped may need it
    except ModuleNotFoundError as error:
        raise Refused(
            f"GRACE_FAILPOINT is {wanted!r}, but this build has no failpoints: they are for tests alone; unset it"
        ) from error
    _armed = facility.killing(wanted, state_dir)
