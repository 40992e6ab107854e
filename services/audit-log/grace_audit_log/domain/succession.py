"""Which of the log's keys sign: what its files hold, and what the newest key directory in the ledger says of them.

A key is made (`next`), listed in a key directory, and then leads while the one before it signs beside it, until a
directory says that the one before has ended. Each step follows from files and directories alone, so that whoever
begins anew after a crash gets where it was.
"""

from dataclasses import dataclass

from grace_common.contract.errors import Refused
from grace_common.transparency.directory import KeyDirectory
from grace_common.transparency.note import VerifierKey


@dataclass(frozen=True, slots=True)
class Held:
    """The public halves of the keys that the log holds.

    leading    the first line of every checkpoint is by this one
    before     the one that it succeeds, which signs as well
    successor  made, and not yet signing
    """

    leading: VerifierKey
    before: VerifierKey | None = None
    successor: VerifierKey | None = None


def leads(held: Held, directory: KeyDirectory | None) -> bool:
    """Tell whether the successor leads from now on: the directory lists it in use, and there is no third key."""
    if directory is None or held.successor is None or held.before not in (None, held.leading):
        return False
    return held.successor in directory.log_keys(held.leading.name, in_use=True)


def ended(key: VerifierKey | None, directory: KeyDirectory | None) -> bool:
    """Tell whether the directory says that the key has ended."""
    if key is None or directory is None:
        return False
    name = key.name
    return key in directory.log_keys(name) and key not in directory.log_keys(name, in_use=True)


def require_in_use(held: Held, directory: KeyDirectory | None) -> None:
    """Raise Refused when the key that would lead has ended: then it was put back from an older copy."""
    if ended(held.leading, directory):
        raise Refused(
            f"the key directory says that the log's key {held.leading} has ended: an older copy was put back; "
            "put back the key that succeeded it"
        )
