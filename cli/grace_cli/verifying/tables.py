"""What can be said of the audit-log's tables only with all of them in view: roots, rows too many, redactions."""

import json
from collections.abc import Mapping
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from grace_common.contract import topics
from grace_common.contract.errors import Refused
from grace_common.contract.events.signature import KeyDirectoryPublished
from grace_common.contract.events.task import RedactionRequested
from grace_common.transparency import merkle
from grace_common.transparency.checkpoint import Checkpoint, open_checkpoint
from grace_common.transparency.directory import follow_all
from grace_common.transparency.merkle import RightEdge
from grace_common.transparency.note import VerifierKey
from grace_common.transparency.statement import read_leaf
from grace_common.transparency.tile import HEIGHT, WIDTH, Tile, tile_hashes

from grace_cli.errors import CliError
from grace_cli.verifying.chunk import Checked
from grace_cli.verifying.database_log import DatabaseLog
from grace_cli.verifying.faults import Fault
from grace_cli.verifying.rows import CheckedRows
from grace_cli.verifying.succession import Signers, listed_keys

if TYPE_CHECKING:
    import asyncpg

_LEVELS: Final = 8  # of tiles that the table takes


def newest_checkpoint(log: DatabaseLog, key: VerifierKey) -> Checkpoint:
    """Return the newest checkpoint of the tables, once its signature is verified.

    raises  CliError when there is none; Refused when its note is not signed by the log or not of its row
    """
    rows = log.rows("SELECT size, root, note FROM checkpoint ORDER BY size DESC LIMIT 1")
    if not rows:
        raise CliError(f"{log} holds no ledger yet", "start the audit-log first")
    checkpoint = open_checkpoint(rows[0]["note"], key).checkpoint
    if (checkpoint.size, checkpoint.root) != (rows[0]["size"], rows[0]["root"]):
        raise Refused(f"checkpoint {rows[0]['size']}: its columns are not what its note says")
    return checkpoint


def directories(log: DatabaseLog) -> dict[bytes, int]:
    """Return the signed versions of the key directory that entries name, in order, and the entry that names each."""
    rows = log.rows(
        "SELECT index, content FROM entry JOIN payload USING (index) WHERE entry_type = $1 ORDER BY index",
        KeyDirectoryPublished.TYPE,
    )
    places: dict[bytes, int] = {}
    for row in rows:
        places.setdefault(bytes(row["content"]), row["index"])
    return places


def signers(places: Mapping[bytes, int], given: tuple[VerifierKey, ...]) -> Signers:
    """Return the keys with which the tables' checkpoints may be signed: those given, and those that entries list.

    places  the versions of the key directory, and the entry that names each
    """
    return Signers(given, listed_keys(given[0].name, list(places), list(places.values())))


def unfollowed(places: Mapping[bytes, int]) -> list[Fault]:
    """Say whether a version of the key directory does not follow the one before."""
    try:
        if places:
            follow_all(list(places))
    except Refused as error:
        return [Fault(min(places.values()), str(error))]
    return []


class Tables:
    """Follows the jobs' results in order, and looks at the rest when they are through.

    size  entries of the newest checkpoint
    edge  the right edge where the verification begins
    """

    def __init__(self, log: DatabaseLog, size: int, edge: RightEdge) -> None:
        self._log = log
        self._size = size
        self._edge = edge
        self._unpaid: list[int] = []
        self.redacted: dict[int, int] = {}
        self.relied_on: set[VerifierKey] = set()

    def take(self, checked: Checked, faults: list[Fault]) -> None:
        """Compare the root of each checkpoint with the tree of its size; after a fault nothing is added to it."""
        if not isinstance(checked, CheckedRows):
            return
        self._unpaid += checked.unpaid
        self.relied_on |= checked.relied_on
        if faults:
            return
        low = checked.job.start * WIDTH
        for size, root in sorted(checked.checkpoints):
            self._edge = self._edge.append(checked.hashes[self._edge.size - low : size - low]).edge
            if self._edge.root != root:
                faults.append(Fault(size, f"checkpoint {size}: its root is not that of the first {size} entries"))
        self._edge = self._edge.append(checked.hashes[self._edge.size - low :]).edge

    def finish(self, faults: list[Fault]) -> None:
        """Look for rows that belong to nothing, and for payloads that went without an entry that says so."""
        for row in self._log.rows("SELECT index FROM entry WHERE index >= $1 ORDER BY index LIMIT 9", self._size):
            faults.append(Fault(row["index"], f"entry {row['index']} stands behind the newest checkpoint"))
        for row in self._log.rows(
            "SELECT index FROM payload WHERE NOT EXISTS (SELECT FROM entry WHERE entry.index = payload.index) LIMIT 9"
        ):
            faults.append(Fault(row["index"], f"a payload stands at {row['index']}, where no entry is"))
        self._finish_tiles(faults)
        self._finish_redactions(faults)

    def _finish_tiles(self, faults: list[Fault]) -> None:
        for level in range(_LEVELS):
            full = self._size >> HEIGHT * (level + 1)
            for row in self._log.rows("SELECT index FROM tile WHERE level = $1 AND index >= $2 LIMIT 9", level, full):
                first = row["index"] << HEIGHT * (level + 1)
                faults.append(Fault(first, f"the row of {Tile(level, row['index']).path} lies outside the tree"))
        for row in self._log.rows("SELECT level, index, hashes, root FROM tile WHERE level > 0"):
            if merkle.root_hash(tile_hashes(row["hashes"])) != row["root"]:
                first = row["index"] << HEIGHT * (row["level"] + 1)
                path = Tile(row["level"], row["index"]).path
                faults.append(Fault(first, f"the row of {path}: its column root is not what its hashes lead to"))

    def _finish_redactions(self, faults: list[Fault]) -> None:
        for row in self._log.rows(
            "SELECT r.index, r.entry, target.entry_id, asking.leaf, reason.content, left_over.index AS left_over "
            "FROM redaction r LEFT JOIN entry target ON target.index = r.index "
            "LEFT JOIN entry asking ON asking.index = r.entry LEFT JOIN payload reason ON reason.index = r.entry "
            "LEFT JOIN payload left_over ON left_over.index = r.index ORDER BY r.index"
        ):
            index, entry = row["index"], row["entry"]
            if not _asks(row):
                faults.append(
                    Fault(index, f"entry {entry}, by which the payload of entry {index} was redacted, does not ask it")
                )
            elif row["left_over"] is not None:
                faults.append(Fault(index, f"the payload of entry {index} stands, though entry {entry} redacted it"))
            else:
                self.redacted[index] = entry
        for index in self._unpaid:
            if index not in self.redacted:
                faults.append(Fault(index, f"the payload of entry {index} is missing, and no entry redacts it"))
        self._finish_requests(faults)

    def _finish_requests(self, faults: list[Fault]) -> None:
        """Look for payloads that were put back: an entry redacts them, and no row remembers it."""
        for row in self._log.rows(
            "SELECT asking.index, content FROM entry asking JOIN payload USING (index) WHERE entry_type = $1 "
            "AND service = $2 AND NOT EXISTS (SELECT FROM redaction WHERE entry = asking.index)",
            RedactionRequested.TYPE,
            topics.GATEWAY,
        ):
            data = _data(row["content"])
            target, entry_id = data.get("index"), data.get("entry_id")
            if type(target) is not int or target >= row["index"] or target in self.redacted:
                continue
            left_over = self._log.rows(
                "SELECT entry_id FROM payload JOIN entry USING (index) "
                "WHERE index = $1 AND entry_type <> ALL($2::text[])",
                target,
                [RedactionRequested.TYPE, KeyDirectoryPublished.TYPE],  # no request has an effect on these
            )
            if left_over and str(left_over[0]["entry_id"]) == entry_id:
                text = f"the payload of entry {target} stands, though entry {row['index']} redacts it"
                faults.append(Fault(target, text))


def _asks(row: "asyncpg.Record") -> bool:
    """Return whether the entry that a redaction names is the gateway's own demand for exactly this one."""
    if row["leaf"] is None or row["content"] is None or row["entry_id"] is None:
        return False
    try:
        _, said = read_leaf(row["leaf"])
    except Refused:
        return False
    if said is None or (said.type, said.service) != (RedactionRequested.TYPE, topics.GATEWAY):
        return False
    data = _data(row["content"])
    return (
        said.digest == sha256(row["content"]).hexdigest()
        and data.get("index") == row["index"]
        and data.get("entry_id") == str(UUID(str(row["entry_id"])))
    )


def _data(content: bytes) -> dict[str, Any]:
    try:
        data = json.loads(content)["data"]
    except (ValueError, KeyError, TypeError):
        return {}
    return data if isinstance(data, dict) else {}
