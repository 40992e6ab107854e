"""The log's static files in a folder: `checkpoint`, `tile/…`, `tile/entries/…` and `vkey`."""

import os
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path

from grace_common.contract.errors import Unready


class FolderPublication:
    """Implements `Publication` and the formats' `TileReader`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def read(self, path: str) -> bytes:
        try:
            return (self._folder / path).read_bytes()
        except FileNotFoundError as error:
            raise Unready(f"{path} is not published in {self._folder}") from error

    def write(self, files: Sequence[tuple[str, bytes]]) -> None:
        folders: set[Path] = set()
        for path, data in files:
            target = self._folder / path
            folders.update(self._make_folder(target.parent))
            draft = target.with_name(f".{target.name}.{os.getpid()}")
            with draft.open("wb") as out:
                out.write(data)
                out.flush()
                os.fsync(out.fileno())
            draft.replace(target)
        _sync_folders(folders)

    def drop_partials(self, paths: Sequence[str]) -> None:
        for path in paths:
            shutil.rmtree(self._folder / f"{path}.p", ignore_errors=True)

    def _make_folder(self, folder: Path) -> Iterable[Path]:
        """Make a folder; return those whose listing must be made durable."""
        missing = [parent for parent in (folder, *folder.parents) if not parent.exists()]
        folder.mkdir(parents=True, exist_ok=True)
        return {folder, *(parent.parent for parent in missing)}


def _sync_folders(folders: Iterable[Path]) -> None:
    for folder in folders:
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
