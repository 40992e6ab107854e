"""What the audit-log proposed for its key and people have to do, where the root exists as shares alone: `log-due.json`.

It is kept for `keys status`. What the key directory says by now is not due any more, so nobody has to remove the file.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from grace_common.contract.errors import Refused
from grace_common.transparency.directory import KeyDirectory
from grace_common.transparency.note import VerifierKey

from grace_crypto_signer.adapters import directory_files
from grace_crypto_signer.adapters.sealing import parse_sealed, pretty, read_if_there, write_private

VERSION: Final = 1


@dataclass(frozen=True, slots=True)
class LogDue:
    """One change of the log's keys.

    verb     of the command that makes it: `grace keys rotate log`, `grace keys retire log`
    leading  the key that leads when it is proposed
    other    the one that shall succeed it, or the older one that may end
    """

    verb: Literal["rotate", "retire"]
    leading: VerifierKey
    other: VerifierKey

    def holds(self, directory: KeyDirectory | None) -> bool:
        """Tell whether it is still to be done; what is proposed of keys of long ago is not."""
        in_use = [] if directory is None else directory.log_keys(self.leading.name, in_use=True)
        return in_use == ([self.leading] if self.verb == "rotate" else [self.other, self.leading])

    def as_object(self) -> dict[str, str]:
        """Return it as JSON has it."""
        return {"verb": self.verb, "leading": str(self.leading), "other": str(self.other)}


def keep(folder: Path, due: LogDue) -> bool:
    """Remember what is due; tell whether that is news."""
    content = pretty({"version": VERSION, **due.as_object()})
    if read_if_there(_file(folder)) == content:
        return False
    write_private(_file(folder), content)
    return True


def read(folder: Path) -> LogDue | None:
    """Return what is due; None when nothing is, or it was done; raises Refused."""
    data = read_if_there(_file(folder))
    if data is None:
        return None
    stored = parse_sealed(data, str(_file(folder)), VERSION)
    if stored.get("verb") not in ("rotate", "retire"):
        raise Refused(f"{_file(folder)} does not say what is due: remove it, the audit-log says it again")
    due = LogDue(
        stored["verb"], VerifierKey.parse(str(stored.get("leading"))), VerifierKey.parse(str(stored.get("other")))
    )
    return due if due.holds(directory_files.newest(folder)) else None


def _file(folder: Path) -> Path:
    return folder / "log-due.json"
