"""The log's static files in a folder: `checkpoint`, `tile/…`, `tile/entries/…` and `vkey`."""

import errno
import os
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path

from grace_common.contract.errors import Unready


class FolderPublication:
    """Implements `Publication` and the formats' `TileReader`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._made: set[str] = set()  # folders that are known to be there

    def read(self, path: str) -> bytes:
        try:
            return (self._folder / path).read_bytes()
        except FileNotFoundError as error:
            raise Unready(f"{path} is not published in {self._folder}") from error

    def write(self, files: Sequence[tuple[str, bytes]]) -> None:
        folders: set[str] = set()
        for path, data in files:
            folder, _, name = f"{self._folder}/{path}".rpartition("/")
            folders.add(folder)
            if folder not in self._made:
                folders.update(self._make_folder(Path(folder)))
            draft = f"{folder}/.{name}.{os.getpid()}"
            # Not through pathlib: this is done several times for each commit of the ledger.
            with open(draft, "wb", buffering=0) as out:
                if out.write(data) != len(data):  # a disk that becomes full takes a part, and no error says so
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), draft)
                os.fsync(out.fileno())
            os.replace(draft, f"{folder}/{name}")
        _sync_folders(folders)

    def drop_partials(self, paths: Sequence[str]) -> None:
        for path in paths:
            folder = self._folder / f"{path}.p"
            shutil.rmtree(folder, ignore_errors=True)
            self._made.discard(str(folder))

    def _make_folder(self, folder: Path) -> Iterable[str]:
        """Make a folder; return those whose listing must be made durable."""
        missing = [parent for parent in (folder, *folder.parents) if not parent.exists()]
        folder.mkdir(parents=True, exist_ok=True)
        self._made.add(str(folder))
        return {str(parent.parent) for parent in missing}


def _sync_folders(folders: Iterable[str]) -> None:
    for folder in folders:
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
