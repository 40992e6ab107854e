"""How often each key was used, by its id: `uses.json` in the state folder, to which whoever changes that folder adds.

The running signer adds with each look, so that a crash forgets the uses since the last one; what is done again after a
crash may be counted twice. Neither matters to a limit.
"""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from grace_common.contract.errors import Refused

from grace_crypto_signer.adapters.sealing import parse_sealed, pretty, read_if_there, seals_made, write_private
from grace_crypto_signer.adapters.state_lock import changing

VERSION: Final = 1


class KeyUses:
    """Implements `Uses`: counts in memory what the running signer does, until that is written down."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._counted: Counter[str] = Counter()

    def count(self, key_id: str, times: int = 1) -> None:
        self._counted[key_id] += times

    def write_down(self) -> None:
        """Add what was counted, and the seals of this process, to the file; raises Busy, and then it waits."""
        self._counted.update(seals_made())
        if self._counted:
            with changing(self._folder, "the running signer"):
                add(self._folder, self._counted)
            self._counted.clear()


def add(folder: Path, times: Mapping[str, int]) -> None:
    """Add to the uses of keys; for whoever is alone in changing the folder."""
    if times:
        write_private(file(folder), pretty({"version": VERSION, "uses": dict(Counter(read(folder)) + Counter(times))}))


def read(folder: Path) -> Mapping[str, int]:
    """Return how often each key was used, by its id; raises Refused."""
    name, data = str(file(folder)), read_if_there(file(folder))
    if data is None:
        return {}
    try:
        return {str(id_): int(times) for id_, times in parse_sealed(data, name, VERSION)["uses"].items()}
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise Refused(f"{name} does not say how often keys were used: remove it, and counting begins anew") from error


def file(folder: Path) -> Path:
    return folder / "uses.json"
