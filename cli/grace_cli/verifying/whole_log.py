"""Verifying all of a log: chunks go to processes, and their results are put together in the log's order.

A key counts for the entries after the one that announces it. A chunk knows the keys of the signer and those announced
within it, which decides nearly every entry; the rest is decided here, where all earlier keys are known.
"""

import signal
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from grace_common.contract.errors import Refused, Unready
from grace_common.transparency.checkpoint import Checkpoint
from grace_common.transparency.tile import HEIGHT, WIDTH, TileReader, TreeReader

from grace_cli.errors import CliError
from grace_cli.verifying.chunk import Checked, Job
from grace_cli.verifying.faults import Fault
from grace_cli.verifying.state import State
from grace_cli.verifying.tree import LeafTile, TreeCheck

if TYPE_CHECKING:
    from grace_cli.verifying.keys import KeyName

MOST_FAULTS: Final = 20  # a log with more of them is not looked through to its end
_BUNDLES: Final = 16  # in one job: 4,096 entries, of 64 KiB at the most
Check = Callable[[Job], Checked]
Take = Callable[[Checked, list[Fault]], None]  # one job's result, and the faults so far, to which it may add


@dataclass(slots=True)
class Findings:
    """What a verification found; nothing is wrong when there are no faults.

    began       the entry it began with: 0, or where an earlier verification had ended
    signatures  how many entries' signatures were verified
    files       tiles and bundles compared; older: partial tiles of older checkpoints besides
    directories versions of the key directory that are as entries name them
    ended       keys of the signer that had ended, none of which signed an entry afterwards
    """

    began: int = 0
    signatures: int = 0
    files: int = 0
    older: int = 0
    directories: int = 0
    ended: int = 0
    faults: list[Fault] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Verification:
    """What is verified, and how.

    reader      tiles of the log, for those above the leaves
    check       checks one job; handed to the processes
    authority   the CA's keys; None: only the tree is checked
    earlier     checkpoints of the same log that the caller had before
    processes   1: all in this process
    fork        whether the processes may be copies of this one, which start at once: only while it has no connection
                and no second thread
    take        told of each job's result, in order
    """

    reader: TileReader
    checkpoint: Checkpoint
    check: Check
    state: State
    authority: "Mapping[KeyName, bytes] | None"
    earlier: tuple[Checkpoint, ...] = ()
    processes: int = 1
    fork: bool = False
    advance: Callable[[int], object] = int
    take: Take | None = None

    def run(self) -> Findings:
        """Verify the log from where the state ends.

        raises  CliError when the state is of a longer log or another tree; what is wrong with the log is returned
        """
        size, root = self.checkpoint.size, self.checkpoint.root
        edge = self.state.progress.edge
        findings = Findings(began=edge.size, ended=len(self.state.ended))
        self._check_earlier_sizes(findings)
        if findings.faults:
            return findings
        if edge.size:
            self._check_state()
        tree = TreeCheck(self.reader, size, edge, findings.faults.append)
        self.advance(edge.size)
        for checked in self._results(edge.size >> HEIGHT):
            self._settle(checked, tree, findings)
            if len(findings.faults) >= MOST_FAULTS:
                return findings
        tree.finish(root)
        self._check_earlier_roots(findings)
        findings.files += sum(1 for level in range(1, 8) for _ in range(-(-(size >> HEIGHT * level) // WIDTH)))
        if not findings.faults:
            self.state.reach(tree.edge, self.checkpoint.text)
        return findings

    def _check_earlier_sizes(self, findings: Findings) -> None:
        size = self.checkpoint.size
        for earlier in self.earlier:
            if earlier.size > size:
                findings.faults.append(
                    Fault(
                        size,
                        f"the log was rolled back: it had {earlier.size} entries at the earlier checkpoint and has "
                        f"{size} now; entries {size} to {earlier.size - 1} are gone",
                    )
                )

    def _check_earlier_roots(self, findings: Findings) -> None:
        for earlier in self.earlier:
            if findings.faults:
                return
            reader = TreeReader(self.reader, self.checkpoint.size, self.checkpoint.root)
            if reader.root_at(earlier.size) != earlier.root:
                findings.faults.append(
                    Fault(
                        0,
                        f"the log was rewritten: its first {earlier.size} entries are not those of the earlier "
                        f"checkpoint with root {earlier.root.hex()}",
                    )
                )

    def _check_state(self) -> None:
        """Raise CliError unless the state's tree is the beginning of this log's."""
        edge = self.state.progress.edge
        advice = "name another file with --resume, or none, and keep this one: it shows what the log was"
        if edge.size > self.checkpoint.size:
            raise CliError(
                f"the state has {edge.size} verified entries and the log {self.checkpoint.size}: the log was rolled "
                "back to an older state",
                advice,
            )
        try:
            root = TreeReader(self.reader, self.checkpoint.size, self.checkpoint.root).root_at(edge.size)
        except (Refused, Unready) as error:
            raise CliError(f"the log cannot be compared with the state: {error}", "verify without --resume") from error
        if root != edge.root:
            raise CliError(
                f"the {edge.size} entries that were verified before are not the first of this log: it was rewritten",
                advice,
            )

    def _settle(self, checked: Checked, tree: TreeCheck, findings: Findings) -> None:
        """Take in one job's result, the next in order."""
        job = checked.job
        findings.faults += checked.faults
        findings.files += checked.files
        findings.older += checked.older
        findings.directories += checked.directories
        for tile in checked.tiles:
            if isinstance(tile, LeafTile):
                tree.add(tile)
            else:
                tree.add_root(tile)
        entries = min(job.end * WIDTH, job.size) - job.start * WIDTH
        if job.keys is not None:
            self._settle_keys(checked, findings)
            self._settle_ends(checked, findings)
            findings.signatures += entries
        if self.take is not None:
            self.take(checked, findings.faults)
        if self.state.kept and not findings.faults:
            self.state.reach(tree.edge)
        self.advance(entries)

    def _settle_keys(self, checked: Checked, findings: Findings) -> None:
        learned = {key.index: key for key in checked.learned}
        pending = {entry.index: entry for entry in checked.pending}
        for index in sorted({*learned, *pending}):
            if index in learned:
                self.state.learn([learned[index]])
                continue
            entry = pending[index]
            public_key = (self.authority or {}).get(entry.name) or self.state.find(entry.name)
            fault = entry.unannounced if public_key is None else entry.verify(public_key)
            if fault is not None:
                findings.faults.append(fault)
            elif entry.announces is not None:
                self.state.learn([entry.announces])

    def _settle_ends(self, checked: Checked, findings: Findings) -> None:
        """Take in which keys ended, and look for what such a key signed afterwards."""
        ended = self.state.ended
        for name, index in checked.ended.items():
            ended.setdefault(name, index)
        findings.ended = len(ended)
        if ended:
            from grace_cli.verifying.ended import signed_after  # the form of key directories, which few logs need

            findings.faults += signed_after(checked.uses, ended)

    def _results(self, start: int) -> Iterator[Checked]:
        """Yield each job's result in order; a few more jobs than there are processes are under way."""
        end = -(-self.checkpoint.size // WIDTH)
        spans = [(at, min(at + _BUNDLES, end)) for at in range(start, end, _BUNDLES)]
        if self.processes == 1 or len(spans) < 3:
            for span in spans:
                yield self.check(self._job(*span))
            return
        # Imported where there is work for them: they take as long as hashing twenty thousand entries.
        from concurrent.futures import Future, ProcessPoolExecutor
        from multiprocessing import get_context

        if self.authority is not None:  # what the first job learns, such as the notary's key, serves all that follow
            yield self.check(self._job(*spans.pop(0)))
        context = get_context("fork" if self.fork else "spawn")
        with ProcessPoolExecutor(
            min(self.processes, len(spans)), mp_context=context, initializer=_begin, initargs=(self.check,)
        ) as pool:
            waiting: deque[Future[Checked]] = deque()
            try:
                for span in spans:
                    waiting.append(pool.submit(_work, self._job(*span)))
                    if len(waiting) > 2 * self.processes:
                        yield waiting.popleft().result()
                while waiting:
                    yield waiting.popleft().result()
            finally:
                pool.shutdown(wait=True, cancel_futures=True)

    def _job(self, start: int, end: int) -> Job:
        keys = None if self.authority is None else {**self.authority, **self.state.published()}
        return Job(start, end, self.checkpoint.size, keys)


_check: list[Check] = []  # in a process of the pool: what it was started for


def _begin(check: Check) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that waits for this one
    _check.append(check)


def _work(job: Job) -> Checked:
    return _check[0](job)
