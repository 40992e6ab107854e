"""Which of the log's keys sign: what its files hold, and what the newest key directory in the ledger says of them.

A key is made (`next`), listed in a key directory, and then leads while the one before it signs beside it, until a
directory says that the one before has ended. Each step follows from files and directories alone, so that whoever
begins anew after a crash gets where it was.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

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


@dataclass(frozen=True, slots=True)
class SuccessionPolicy:
    """When the log's key is replaced without a command. Times count from when the key directory lists a key.

    age          at which the next key is made; None: at none
    checkpoints  signed with it, after which the next key is made; None: after no number
    overlap      how long two keys sign
    """

    age: timedelta | None
    checkpoints: int | None
    overlap: timedelta


def is_due(
    leading: VerifierKey, directory: KeyDirectory | None, policy: SuccessionPolicy, now: datetime, nth: datetime | None
) -> bool:
    """Tell whether the leading key is to be succeeded: it signs alone, and is old or much used.

    nth  when the checkpoint was committed that is the policy's number of them back, the newest being the first
    """
    if directory is None or directory.log_keys(leading.name, in_use=True) != [leading]:
        return False
    since = _listed_since(leading, directory)
    return (policy.age is not None and now - since >= policy.age) or (nth is not None and nth >= since)


def outlived(
    leading: VerifierKey, directory: KeyDirectory | None, policy: SuccessionPolicy, now: datetime
) -> VerifierKey | None:
    """Return the key that may end, as the leading one has signed beside it for long enough; None: there is none."""
    in_use = [] if directory is None else directory.log_keys(leading.name, in_use=True)
    if directory is None or len(in_use) < 2 or in_use[-1] != leading:
        return None
    return in_use[0] if now - _listed_since(leading, directory) >= policy.overlap else None


def _listed_since(key: VerifierKey, directory: KeyDirectory) -> datetime:
    [listed] = [one for one in directory.of("log") if (one.name, one.public_key) == (key.name, key.public_key)]
    return datetime.fromisoformat(listed.not_before)
