"""The log's static files, which the audit-log writes and the witness reads."""

from pathlib import Path

from grace_common.contract.errors import Unready


class PublishedLog:
    """Implements the formats' `TileReader`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def read(self, path: str) -> bytes:
        try:
            return (self._folder / path).read_bytes()
        except (FileNotFoundError, NotADirectoryError) as error:
            raise Unready(f"{path} is not published in {self._folder}") from error
