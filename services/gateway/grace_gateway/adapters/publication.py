"""The ledger's static files in a folder that the audit-log writes and everybody may read."""

import re
from pathlib import Path
from typing import Final

from grace_common.contract.errors import Unready

# What a C2SP tlog-tiles log consists of, and the key directory; anything else in the folder is not published.
_PUBLISHED: Final = re.compile(
    r"checkpoint(?:\.cosigned)?|witness-policy|vkey|ca(?:\.pem)?|keys/[0-9]{4,9}\.json|"
    r"tile/(?:entries|[0-9]{1,2})/(?:x[0-9]{3}/)*[0-9]{3}(?:\.p/[0-9]{1,3})?"
)


class FolderPublication:
    """Implements Publication, and the reader of grace_common.transparency.tile."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def read(self, path: str) -> bytes:
        if not _PUBLISHED.fullmatch(path):
            raise Unready(f"{path!r} is no file of the published log")
        try:
            return (self._folder / path).read_bytes()
        except (FileNotFoundError, NotADirectoryError) as error:
            raise Unready(f"{path} is not published (yet)") from error
