"""The ledger's static files, from a folder or an address: checking all of them, copying them."""

import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from grace_common.contract.errors import Refused, Unready
from grace_common.transparency import merkle
from grace_common.transparency.checkpoint import CA_EXTENSION, Checkpoint, open_checkpoint
from grace_common.transparency.ed25519 import PUBLIC_KEY_BYTES, SignatureInvalid
from grace_common.transparency.merkle import ProofInvalid
from grace_common.transparency.note import VerifierKey
from grace_common.transparency.strict import decode_base64, encode_base64
from grace_common.transparency.tile import (
    WIDTH,
    Tile,
    TileEdge,
    TileReader,
    decode_bundle,
    edge_tiles,
    new_bundles,
    read_tile,
)

from grace_cli.errors import CliError, Exit

if TYPE_CHECKING:
    import httpx

CHECKPOINT: Final = "checkpoint"
COSIGNED: Final = "checkpoint.cosigned"
VKEY: Final = "vkey"
CA: Final = "ca"
KEYS: Final = "keys"
_WIDTH: Final = re.compile(r"[1-9][0-9]?|1[0-9]{2}|2[0-4][0-9]|25[0-5]")  # of a partial tile
KEEP_IT: Final = "keep a copy of it, and tell whoever runs it"  # the advice where a log is not what it says
LARGEST_FILE_BYTES: Final = 20 * 1024 * 1024  # an entry bundle is 16 MiB at most


class FolderLog:
    """A log in a folder; a `TileReader`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __str__(self) -> str:
        return str(self._folder)

    def read(self, path: str) -> bytes:
        """Return a file; raises Unready when it is absent."""
        try:
            with open(f"{self._folder}/{path}", "rb", buffering=0) as file:
                return file.read()
        except (FileNotFoundError, NotADirectoryError) as error:
            raise Unready(f"{path} is not in {self._folder}") from error

    def partials(self, tile: Tile) -> list[Tile]:
        """Return the partial tiles that stand beside a tile."""
        try:
            names = os.listdir(f"{self._folder}/{tile.full.path}.p")
        except (FileNotFoundError, NotADirectoryError):
            return []
        return [Tile(tile.level, tile.index, int(name)) for name in sorted(names) if _WIDTH.fullmatch(name)]


class WebLog:
    """A log at an address such as `https://grace.example.org/log`; a `TileReader`."""

    def __init__(self, url: str, transport: "httpx.BaseTransport | None" = None) -> None:
        from urllib.parse import urlsplit

        import httpx

        from grace_cli.client import LOOPBACK

        self._url = url.rstrip("/")
        loopback = urlsplit(url).hostname in LOOPBACK
        self._http = httpx.Client(timeout=30.0, trust_env=not loopback, transport=transport)

    def __reduce__(self) -> tuple[type["WebLog"], tuple[str]]:
        return WebLog, (self._url,)  # another process opens connections of its own

    def __str__(self) -> str:
        return self._url

    def read(self, path: str) -> bytes:
        """Return a file; raises Unready when it is absent, CliError when the address does not answer."""
        import httpx

        try:
            answer = self._http.get(f"{self._url}/{path}")
        except (httpx.TransportError, httpx.InvalidURL) as error:
            raise CliError(
                f"{self._url} does not answer: {error}", "is the address right?", Exit.NOT_RUNNING
            ) from error
        if answer.status_code == 404:
            raise Unready(f"{path} is not at {self._url}")
        if not answer.is_success or len(answer.content) > LARGEST_FILE_BYTES:
            raise CliError(f"{self._url}/{path} answers {answer.status_code} with {len(answer.content)} bytes")
        return answer.content

    def partials(self, tile: Tile) -> list[Tile]:
        """Return none: an address lists no files."""
        return []


def open_log(where: str | None) -> FolderLog | WebLog:
    """Return the log at a place: a folder, an address, or, when none is named, that of the gateway in use."""
    from grace_cli.stack.home import find_home

    if where is None:
        if url := os.environ.get("GRACE_URL"):
            return WebLog(f"{url.rstrip('/')}/log")
        return FolderLog(find_home(os.environ, Path.cwd()).publication)
    if where.startswith(("http://", "https://")):
        return WebLog(where)
    if not Path(where).is_dir():
        raise CliError(
            f"{where} is no folder", "name a folder with an exported log, or the address of /log", Exit.USAGE
        )
    return FolderLog(Path(where))


@dataclass(frozen=True, slots=True)
class LogKey:
    """The key a log is checked with, and where it came from: a key that came with the log proves less.

    earlier  further keys that were given: what is older than the newest checkpoint may be signed by them instead
    """

    key: VerifierKey
    source: str
    with_the_log: bool
    earlier: tuple[VerifierKey, ...] = ()

    @property
    def given(self) -> tuple[VerifierKey, ...]:
        """Every key that the reader vouches for, the newest first."""
        return (self.key, *self.earlier)

    def describe(self) -> str:
        """Say what the key's origin means."""
        if self.with_the_log:
            return (
                f"The key {self.key.name}+{self.key.key_id.hex()} came from {self.source}, with the log itself: this "
                "shows that the log is whole, not whose it is. Pass --log-key with the key you got from elsewhere."
            )
        return f"The key {self.key.name}+{self.key.key_id.hex()} was given ({self.source})."


def read_log_key(given: str | None, log: TileReader, where: str, earlier: Sequence[str] = ()) -> LogKey:
    """Return the key to check with: the one given (a vkey, or a file that holds one), else the log's own file.

    earlier  further ones that were given: keys of the same log that the first one succeeds
    raises   CliError when it is no vkey, or not one of the same log
    """
    try:
        if given is None:
            return LogKey(VerifierKey.parse(log.read(VKEY).decode().strip()), where, with_the_log=True)
        key, *others = [
            VerifierKey.parse((text if "+" in text and not Path(text).exists() else Path(text).read_text()).strip())
            for text in (given, *earlier)
        ]
        if any(other.name != key.name for other in others):
            raise Refused(f"the keys given are of several logs, {', '.join(sorted({each.name for each in others}))}")
        return LogKey(key, "--log-key", with_the_log=False, earlier=tuple(others))
    except (Refused, Unready, UnicodeDecodeError, OSError) as error:
        advice = "pass --log-key FILE, or the vkey itself: name+keyid+base64"
        raise CliError(f"the log's key cannot be read: {error}", advice, Exit.USAGE) from error


def signed_checkpoint(log: TileReader, key: LogKey) -> tuple[bytes, Checkpoint]:
    """Return the newest checkpoint, as bytes and opened, once its signature is verified.

    raises  CliError when there is none, or the key has ended; Refused when its signature does not verify
    """
    try:
        note = log.read(CHECKPOINT)
    except Unready as error:
        raise CliError(f"{error}: there is no log, or nothing was published yet", "see `grace status`") from error
    try:
        return note, open_checkpoint(note, key.key).checkpoint
    except SignatureInvalid as error:
        if _has_ended(log, key.key):
            raise succeeded(error) from error
        raise


def succeeded(error: SignatureInvalid) -> CliError:
    """Return what to say where the key that was given has ended, as the log's key directory says."""
    advice = "get the log's present key from where you got this one; this one may follow as a second --log-key"
    return CliError(f"{error}; by the log's key directory that key has ended, and another succeeds it", advice)


def _has_ended(log: TileReader, key: VerifierKey) -> bool:
    """Tell whether the key directory beside the log says so, whoever signed it."""
    from grace_common.transparency.directory import follow_all

    with suppress(Refused):
        if versions := key_directories(log):
            newest = follow_all(versions)
            return key in newest.log_keys(key.name) and key not in newest.log_keys(key.name, in_use=True)
    return False


def read_authority(given: Path | None, log: TileReader, checkpoint: Checkpoint) -> dict[tuple[str, str], bytes] | None:
    """Return the CA's keys by the names that verification gives them; None when the checkpoint names no CA.

    given   a file with a key in base64 on each line; None: the log's own `ca`, which the signed checkpoint vouches for
    raises  CliError when there is none, or one that the checkpoint names is not in it; of a given file also when it
            holds a key that the checkpoint does not name
    """
    from grace_common.transparency.statement import key_id

    if not checkpoint.values(CA_EXTENSION):
        return None
    try:
        text = (given.read_bytes() if given is not None else log.read(CA)).decode()
        keys = [decode_base64(line, "a key of the CA", PUBLIC_KEY_BYTES) for line in text.split()]
    except (Unready, Refused, UnicodeDecodeError, OSError) as error:
        raise CliError(
            f"the key of the CA, under which the entries are signed, cannot be read: {error}",
            "pass --ca FILE with that key in base64, or --tree-only to leave the signatures unchecked",
            Exit.USAGE,
        ) from error
    # The log's own may have grown since the checkpoint was read: it is written before a checkpoint names what is new.
    named = {key_id(key): key for key in keys if checkpoint.names_ca(key)}
    if not named or (given is not None and len(named) < len(set(keys))):
        raise CliError(
            "the key of the CA is not one that the signed checkpoint names", "get the log's own", Exit.FAILED
        )
    if len(named) < (wanted := len(set(checkpoint.values(CA_EXTENSION)))):
        raise CliError(
            f"the signed checkpoint names {wanted} keys of CAs, one after the other, and {given or CA} holds "
            f"{len(named)} of them: what the others signed cannot be verified",
            "get the log's own",
            Exit.FAILED,
        )
    return {("ca", id_): key for id_, key in named.items()}


def checked_files(
    log: TileReader, checkpoint: Checkpoint, advance: Callable[[int], object]
) -> Iterator[tuple[Tile, bytes]]:
    """Yield every bundle and tile of the checkpoint's tree, each computed anew from the entries and compared.

    advance  called with each number of entries that were hashed
    raises   ProofInvalid where a tile or the root differs, Unready for a missing file
    """
    edge = TileEdge()
    last = {tile for tile in edge_tiles(checkpoint.size) if tile is not None}
    for bundle in new_bundles(0, checkpoint.size):
        data = read_tile(log, bundle)
        entries = decode_bundle(data)
        if len(entries) != bundle.width:
            raise ProofInvalid(f"{bundle.path} has {len(entries)} entries; expected {bundle.width}")
        growth = edge.append(merkle.leaf_hashes(entries))
        edge = growth.edge
        yield bundle, data
        for tile, computed in growth.tiles:
            if tile.width == WIDTH or tile in last:  # narrower ones were the edge of an older tree
                if read_tile(log, tile) != computed:
                    raise ProofInvalid(f"{tile.path} is not what its entries hash to")
                yield tile, computed
        advance(len(entries))
    if edge.root != checkpoint.root:
        raise ProofInvalid(f"the {checkpoint.size} entries have the root {edge.root.hex()}, not the signed one")


def export(
    log: TileReader, key: LogKey, folder: Path, advance: Callable[[int], object], begin: Callable[[int], object]
) -> Checkpoint:
    """Copy the log up to its newest checkpoint into a folder, checked as it goes; the checkpoint is written last.

    begin   called with the number of entries, before the first is copied
    raises  CliError for a folder that holds something else or cannot be written; as `checked_files` besides
    """
    if (
        folder.exists()
        and any(folder.iterdir())
        and not (folder / CHECKPOINT).exists()
        and not (folder / "tile").exists()
    ):
        raise CliError(f"{folder} is not empty, and no earlier export", "name a new folder", Exit.USAGE)
    cosigned: bytes | None = None
    with suppress(Unready):
        cosigned = log.read(COSIGNED)  # first: the newest checkpoint is at least as large
    note, checkpoint = signed_checkpoint(log, key)
    versions = key_directories(log)  # last: each is there before the checkpoint of a tree that names it
    if cosigned is not None:
        _check_cosigned(cosigned, key, versions)
    begin(checkpoint.size)
    try:
        for tile, data in checked_files(log, checkpoint, advance):
            path = folder / tile.path
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / VKEY).write_text(f"{key.key}\n")
        if checkpoint.values(CA_EXTENSION):
            authority = read_authority(None, log, checkpoint) or {}
            (folder / CA).write_text("".join(f"{encode_base64(ca)}\n" for ca in authority.values()))
        if cosigned is not None:
            (folder / COSIGNED).write_bytes(cosigned)
        for number, version in enumerate(versions, 1):
            (folder / KEYS).mkdir(exist_ok=True)
            (folder / directory_path(number)).write_bytes(version)
        (folder / CHECKPOINT).write_bytes(note)
    except OSError as error:
        raise CliError(f"{folder} cannot be written: {error}", "free some space, or name another folder") from error
    return checkpoint


def directory_path(version: int) -> str:
    """Return where a version of the key directory lies beside the log."""
    return f"{KEYS}/{version:04}.json"


def key_directories(log: TileReader) -> list[bytes]:
    """Return the versions of the key directory that lie beside the log, the first one first.

    raises  Refused when one does not follow the one before
    """
    from grace_common.transparency.directory import follow_all

    versions: list[bytes] = []
    with suppress(Unready):
        while True:
            versions.append(log.read(directory_path(len(versions) + 1)))
    if versions:
        follow_all(versions)
    return versions


def _check_cosigned(note: bytes, key: LogKey, versions: Sequence[bytes]) -> None:
    """Raise Refused when the log did not sign the checkpoint that a witness cosigned.

    It is a second behind: when the log's key has just been succeeded, the one before may have signed it alone.
    """
    from grace_common.transparency.directory import follow_all

    listed = follow_all(versions).log_keys(key.key.name) if versions else []
    open_checkpoint(note, [*dict.fromkeys((*key.given, *listed))])


def described(checkpoint: Checkpoint, key: LogKey) -> dict[str, Any]:
    """Return what was checked as plain data."""
    return {
        "origin": checkpoint.origin,
        "entries": checkpoint.size,
        "root": checkpoint.root.hex(),
        "log_key": str(key.key),
        "log_key_came_with_the_log": key.with_the_log,
    }
