"""Verifying a published log or the audit-log's tables as a command asks for it, and saying what was found."""

import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from grace_common.contract.errors import Refused, Unready
from grace_common.transparency.checkpoint import Checkpoint, open_checkpoint

from grace_cli.log_files import (
    CHECKPOINT,
    COSIGNED,
    FolderLog,
    LogKey,
    described,
    key_directories,
    read_authority,
    read_checkpoint,
    signed_checkpoint,
)
from grace_cli.verifying.chunk import LogFiles, check_files
from grace_cli.verifying.state import State
from grace_cli.verifying.whole_log import Findings, Verification

if TYPE_CHECKING:
    from grace_common.transparency.policy import Policy

Count = Callable[[int], object]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the caller wants verified, and with what.

    key        the log's
    authority  file with the CA's public keys; None: the log's own
    since      file with a checkpoint that the log must continue
    resume     file of an earlier verification, or where this one keeps what the next may begin with
    policy     the log must continue a published checkpoint that satisfies it
    """

    key: LogKey
    authority: Path | None = None
    since: Path | None = None
    resume: Path | None = None
    tree_only: bool = False
    processes: int = 1
    policy: "Policy | None" = None


@dataclass(frozen=True, slots=True)
class Report:
    """What was verified, and what was found; `redacted` maps entries without payload to those that asked for it.

    certificates  how many rows of the crypto-signer's table were compared; None where it is not at hand
    """

    wanted: Wanted
    checkpoint: Checkpoint
    findings: Findings
    signed: bool
    earlier: tuple[str, ...] = ()
    redacted: dict[int, int] | None = field(default=None)
    certificates: int | None = None

    def described(self) -> dict[str, Any]:
        """Return it as plain data."""
        found = self.findings
        more: dict[str, Any] = {"signatures": found.signatures, "began": found.began, "continues": list(self.earlier)}
        if self.redacted is None:
            more |= {"files": found.files, "older_files": found.older}
        else:
            more["redacted"] = [{"index": index, "by": entry} for index, entry in self.redacted.items()]
            more["certificates"] = self.certificates
        return described(self.checkpoint, self.wanted.key) | more | {"verified": True}

    def sentences(self) -> list[str]:
        """Return it in words."""
        tree, found = self.checkpoint, self.findings
        said = [f"The log {tree.origin} signed a tree of {tree.size} entries with root {tree.root.hex()}."]
        if found.began:
            said.append(f"The first {found.began} entries were verified before, and are still the first of this log.")
        if self.redacted is None:
            said.append(f"Every entry was hashed, and every tile and the root follow from them ({found.files} files).")
        else:
            rows = "tile, checkpoint, payload and column" if self.signed else "tile and checkpoint"
            said.append(f"Every entry was hashed; every {rows} follows from the entries.")
            said += [f"The payload of entry {index} was redacted by entry {by}." for index, by in self.redacted.items()]
        if self.certificates is not None:
            said.append(f"The {self.certificates} certificates are as the CA signed them and as the entries ask.")
        if self.signed:
            said.append("Every entry is signed with a key that an earlier one announced for it, up to the CA's.")
            if self.redacted is None and found.directories:
                said.append(
                    f"Each of {found.directories} versions of the key directory is the one that an entry names."
                )
        else:
            why = "--tree-only" if self.wanted.tree_only else "the log names no CA"
            said.append(f"The entries' signatures were not checked ({why}).")
        said += [f"It continues the tree of {name}." for name in self.earlier]
        return [*said, self.wanted.key.describe()]


def verify_files(log: LogFiles, wanted: Wanted, begin: Count, advance: Count) -> Report:
    """Verify a published log."""
    earlier = _cosigned(log, wanted)  # read first: the newest checkpoint is at least as large
    _, checkpoint = signed_checkpoint(log, wanted.key)
    begin(checkpoint.size)
    authority = None if wanted.tree_only else read_authority(wanted.authority, log, checkpoint)
    earlier |= _saved(wanted)
    state = _state(wanted, authority is not None, "files")
    try:
        findings = Verification(
            log,
            checkpoint,
            partial(check_files, log),
            state,
            authority,
            tuple(earlier.values()),
            wanted.processes,
            fork=isinstance(log, FolderLog) and threading.active_count() == 1,
            advance=advance,
        ).run()
    finally:
        state.close()
    if authority is not None and not findings.faults:
        key_directories(log)  # that each follows the one before, where the entries name them all
    return Report(wanted, checkpoint, findings, authority is not None, tuple(earlier))


def verify_database(
    url: str, published: LogFiles, wanted: Wanted, begin: Count, advance: Count, signer_url: str | None = None
) -> Report:
    """Verify the audit-log's tables, which must continue what is published.

    published   the log's files, where they are at hand: their checkpoint shows a database that was set back
    signer_url  where the crypto-signer's table of certificates is; None: it is left out
    """
    from grace_cli.verifying.certificates import check_certificates, count_certificates
    from grace_cli.verifying.database_log import DatabaseLog
    from grace_cli.verifying.rows import check_rows
    from grace_cli.verifying.tables import Tables, newest_checkpoint

    earlier = _saved(wanted) | _cosigned(published, wanted)
    # Before the tables are read: what is published later may be newer than they are. Where nothing is published, or
    # another log's files, the tables speak for themselves.
    with suppress(Unready, Refused):
        earlier[f"{published}/{CHECKPOINT}"] = open_checkpoint(published.read(CHECKPOINT), wanted.key.key).checkpoint
    log = DatabaseLog(url)
    signer = DatabaseLog(signer_url) if signer_url is not None else None
    certificates: int | None = None
    state: State | None = None
    try:
        log.open()
        key = wanted.key.key
        checkpoint = newest_checkpoint(log, key)
        begin(checkpoint.size)
        authority = None if wanted.tree_only else read_authority(wanted.authority, published, checkpoint)
        state = _state(wanted, authority is not None, "database")
        tables = Tables(log, checkpoint.size, state.progress.edge.edge)
        findings = Verification(
            log,
            checkpoint,
            partial(check_rows, log, key),
            state,
            authority,
            tuple(earlier.values()),
            wanted.processes,
            advance=advance,
            take=tables.take,
        ).run()
        tables.finish(findings.faults)
        if signer is not None and authority is not None and (certificates := count_certificates(signer)) is not None:
            findings.faults.extend(check_certificates(log, signer, authority.values()))
    finally:
        if signer is not None:
            signer.close()
        if state is not None:
            state.close()
        log.close()
    return Report(wanted, checkpoint, findings, authority is not None, tuple(earlier), tables.redacted, certificates)


def _saved(wanted: Wanted) -> dict[str, Checkpoint]:
    return {} if wanted.since is None else {str(wanted.since): read_checkpoint(wanted.since, wanted.key)}


def _cosigned(published: LogFiles, wanted: Wanted) -> dict[str, Checkpoint]:
    """Return the published checkpoint that satisfies the witness policy, by what is said of it.

    raises  Refused, of which QuorumMissing is one, when it does not; Unready when nothing is published
    """
    if wanted.policy is None:
        return {}
    try:
        name, note = COSIGNED, published.read(COSIGNED)
    except Unready:
        name, note = CHECKPOINT, published.read(CHECKPOINT)
    checkpoint = wanted.policy.open(note, wanted.key.key).checkpoint
    said = f"{published}/{name}: {checkpoint.size} entries, seen by the quorum {wanted.policy.quorum!r} of the policy"
    return {said: checkpoint}


def _state(wanted: Wanted, signed: bool, of: str) -> State:
    return State(wanted.resume, {"log": str(wanted.key.key), "checks": "all" if signed else "tree", "of": of})
