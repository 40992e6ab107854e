"""Log files that do not grow without end."""

from pathlib import Path
from typing import Final

LARGEST_BYTES: Final = 10 * 1024 * 1024
KEPT: Final = 3


class RotatingLog:
    """Appends bytes to a file; past `largest` it becomes `.1`, the former `.1` becomes `.2`, and so on to `kept`."""

    def __init__(self, path: Path, largest: int = LARGEST_BYTES, kept: int = KEPT) -> None:
        self.path = path
        self._largest = largest
        self._kept = kept

    def write(self, chunk: bytes) -> None:
        """Append; what a full disk does not take is dropped, for a log must not stop what it tells of."""
        try:
            with self.path.open("ab") as file:
                file.write(chunk)
                size = file.tell()
            if size > self._largest:
                self._rotate()
        except OSError:
            return

    def _rotate(self) -> None:
        for number in range(self._kept - 1, 0, -1):
            older = self._numbered(number)
            if older.exists():
                older.replace(self._numbered(number + 1))
        self.path.replace(self._numbered(1))

    def _numbered(self, number: int) -> Path:
        return self.path.with_name(f"{self.path.name}.{number}")
