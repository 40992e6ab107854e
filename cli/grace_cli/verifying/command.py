"""Verifying a published log or the audit-log's tables as a command asks for it, and saying what was found."""

import threading
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from grace_common.contract.errors import Refused, Unready
from grace_common.transparency.checkpoint import Checkpoint, open_checkpoint
from grace_common.transparency.ed25519 import SignatureInvalid
from grace_common.transparency.note import VerifierKey

from grace_cli.errors import CliError, Exit
from grace_cli.log_files import (
    CHECKPOINT,
    COSIGNED,
    FolderLog,
    LogKey,
    described,
    key_directories,
    read_authority,
    signed_checkpoint,
    succeeded,
)
from grace_cli.verifying.chunk import LogFiles, check_files
from grace_cli.verifying.faults import Fault
from grace_cli.verifying.state import State
from grace_cli.verifying.whole_log import Findings, Verification

if TYPE_CHECKING:
    from grace_common.transparency.policy import Policy

    from grace_cli.verifying.succession import Listed, Signers

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
    succeeded     the log's earlier keys on which older checkpoints rest, and which its key directory lists
    """

    wanted: Wanted
    checkpoint: Checkpoint
    findings: Findings
    signed: bool
    earlier: tuple[str, ...] = ()
    redacted: dict[int, int] | None = field(default=None)
    certificates: int | None = None
    succeeded: tuple[VerifierKey, ...] = ()

    def described(self) -> dict[str, Any]:
        """Return it as plain data."""
        found = self.findings
        more: dict[str, Any] = {"signatures": found.signatures, "ended": found.ended}
        more |= {"began": found.began, "continues": list(self.earlier)}
        if self.redacted is None:
            more |= {"files": found.files, "older_files": found.older}
        else:
            more["redacted"] = [{"index": index, "by": entry} for index, entry in self.redacted.items()]
            more["certificates"] = self.certificates
        if self.succeeded:
            more["succeeded"] = [str(key) for key in self.succeeded]
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
            if found.ended:
                said.append(f"None of {found.ended} keys that have ended signed an entry after its end.")
            if self.redacted is None and found.directories:
                said.append(
                    f"Each of {found.directories} versions of the key directory is the one that an entry names."
                )
        else:
            why = "--tree-only" if self.wanted.tree_only else "the log names no CA"
            said.append(f"The entries' signatures were not checked ({why}).")
        said += [f"It continues the tree of {name}." for name in self.earlier]
        said += [f"The log's key succeeds {key}, as its key directory says." for key in self.succeeded]
        return [*said, self.wanted.key.describe()]


def verify_files(log: LogFiles, wanted: Wanted, begin: Count, advance: Count) -> Report:
    """Verify a published log."""
    signers = _Opening(wanted, lambda: _listed_in_files(log, wanted))
    earlier = _cosigned(log, wanted, signers)  # read first: the newest checkpoint is at least as large
    _, checkpoint = signed_checkpoint(log, wanted.key)
    begin(checkpoint.size)
    authority = None if wanted.tree_only else read_authority(wanted.authority, log, checkpoint)
    earlier |= _saved(wanted, signers)
    state = _state(wanted, authority is not None, "files", signers)
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
        if authority is not None and not findings.faults:
            key_directories(log)  # that each follows the one before, where the entries name them all
            signers.judge(findings, state)
    finally:
        state.close()
    return Report(wanted, checkpoint, findings, authority is not None, tuple(earlier), succeeded=signers.succeeded)


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
    from grace_cli.verifying.tables import Tables, directories, newest_checkpoint, unfollowed
    from grace_cli.verifying.tables import signers as signers_of

    log = DatabaseLog(url)
    # Before the tables are read: what is published later may be newer than they are.
    shown = {path: _read(published, path) for path in (CHECKPOINT, COSIGNED)}
    signer = DatabaseLog(signer_url) if signer_url is not None else None
    certificates: int | None = None
    state: State | None = None
    try:
        log.open()
        versions = directories(log)
        known = signers_of(versions, wanted.key.given)
        try:
            checkpoint = newest_checkpoint(log, wanted.key.key)
        except SignatureInvalid as error:
            if (listed := known.listed.get(wanted.key.key)) and listed.until is not None:
                raise succeeded(error) from error
            raise
        signers = _Opening(wanted, lambda: known.listed)
        earlier = _saved(wanted, signers) | _cosigned(published, wanted, signers, shown)
        with suppress(Refused):  # where another log's files are published, the tables speak for themselves
            if (note := shown[CHECKPOINT]) is not None:
                earlier[f"{published}/{CHECKPOINT}"] = signers.open(note)
        begin(checkpoint.size)
        authority = None if wanted.tree_only else read_authority(wanted.authority, published, checkpoint)
        state = _state(wanted, authority is not None, "database", signers)
        tables = Tables(log, checkpoint.size, state.progress.edge.edge)
        findings = Verification(
            log,
            checkpoint,
            partial(check_rows, log, signers.all),
            state,
            authority,
            tuple(earlier.values()),
            wanted.processes,
            advance=advance,
            take=tables.take,
        ).run()
        tables.finish(findings.faults)
        signers.rely_on(tables.relied_on)
        signers.judge(findings, state)
        if authority is not None:
            findings.faults.extend(unfollowed(versions))
        if signer is not None and authority is not None and (certificates := count_certificates(signer)) is not None:
            cas = {key: state.ended.get(name) for name, key in authority.items()}
            findings.faults.extend(check_certificates(log, signer, cas))
    finally:
        if signer is not None:
            signer.close()
        if state is not None:
            state.close()
        log.close()
    return Report(
        wanted,
        checkpoint,
        findings,
        authority is not None,
        tuple(earlier),
        tables.redacted,
        certificates,
        signers.succeeded,
    )


class _Opening:
    """Opens older checkpoints with the keys that were given, else with those that the log itself lists.

    listed  looks those up; asked only where they are needed, and never where the entries, which alone show that they
            are the log's, are not read
    """

    def __init__(self, wanted: Wanted, listed: "Callable[[], Mapping[VerifierKey, Listed]]") -> None:
        self._wanted = wanted
        self._listed = listed
        self._all: Signers | None = None
        self._relied_on: list[VerifierKey] = []

    @property
    def all(self) -> "Signers":
        """All of these keys."""
        if self._all is None:
            from grace_cli.verifying.succession import Signers

            self._all = Signers(self._wanted.key.given, {} if self._wanted.tree_only else self._listed())
        return self._all

    @property
    def succeeded(self) -> tuple[VerifierKey, ...]:
        """The listed keys that something rests on."""
        return tuple(dict.fromkeys(self._relied_on))

    def open(self, note: bytes) -> Checkpoint:
        """Return a checkpoint that one of these keys signed; raises Malformed, SignatureInvalid."""
        try:
            return open_checkpoint(note, self._wanted.key.given).checkpoint
        except SignatureInvalid:
            checkpoint, relied_on = self.all.open(note)
            self.rely_on([relied_on] if relied_on is not None else [])
            return checkpoint

    def rely_on(self, keys: "Iterable[VerifierKey]") -> None:
        """Take note of listed keys that something rests on."""
        self._relied_on += [key for key in keys if key not in self._wanted.key.given]

    def judge(self, findings: Findings, state: State) -> None:
        """Add what is wrong with the listed keys that were relied on, once the entries are verified."""
        if self._relied_on:
            faults = self.all.unvouched(self._relied_on, state)
            findings.faults.extend(Fault(findings.began, text) for text in faults)


def _listed_in_files(log: LogFiles, wanted: Wanted) -> "Mapping[VerifierKey, Listed]":
    from grace_cli.verifying.succession import listed_keys

    try:
        return listed_keys(wanted.key.key.name, key_directories(log))
    except Refused:
        return {}  # which the verification says, where entries name them


def _read(log: LogFiles, path: str) -> bytes | None:
    try:
        return log.read(path)
    except Unready:
        return None


def _saved(wanted: Wanted, signers: _Opening) -> dict[str, Checkpoint]:
    if wanted.since is None:
        return {}
    try:
        return {str(wanted.since): signers.open(wanted.since.read_bytes())}
    except (OSError, Refused) as error:
        advice = (
            "name a saved one; where the log's key was replaced since, give the earlier key with a second --log-key"
        )
        raise CliError(f"{wanted.since} is no checkpoint of this log: {error}", advice, Exit.USAGE) from error


def _cosigned(
    published: LogFiles, wanted: Wanted, signers: _Opening, shown: "Mapping[str, bytes | None] | None" = None
) -> dict[str, Checkpoint]:
    """Return the published checkpoint that satisfies the witness policy, by what is said of it.

    raises  Refused, of which QuorumMissing is one, when it does not; Unready when nothing is published
    """
    if wanted.policy is None:
        return {}
    read = shown if shown is not None else {path: _read(published, path) for path in (COSIGNED, CHECKPOINT)}
    name = COSIGNED if read[COSIGNED] is not None else CHECKPOINT
    note = read[name]
    if note is None:
        raise Unready(f"{CHECKPOINT} is not in {published}")
    signers.open(note)
    checkpoint = wanted.policy.open(note, (*wanted.key.given, *signers.succeeded)).checkpoint
    said = f"{published}/{name}: {checkpoint.size} entries, seen by the quorum {wanted.policy.quorum!r} of the policy"
    return {said: checkpoint}


def _state(wanted: Wanted, signed: bool, of: str, signers: _Opening) -> State:
    key = str(wanted.key.key)
    formerly = [str(each) for each in signers.all.keys] if wanted.resume is not None else []
    state = State(wanted.resume, {"log": key, "checks": "all" if signed else "tree", "of": of}, formerly)
    if state.begun_with != key:
        signers.rely_on([VerifierKey.parse(state.begun_with)])
    return state
