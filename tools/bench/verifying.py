"""Verifying all of an exported log: `grace ledger verify` beside Go's sumdb client and Tessera's fsck, in turn."""

import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from grace_common.testing.ledger import SeededKey
from grace_common.transparency import merkle
from grace_common.transparency.checkpoint import Checkpoint, sign_checkpoint
from grace_common.transparency.tile import ENTRIES, WIDTH, Tile, TileEdge, edge_tiles, encode_bundle

from tools.bench.peers import Peers

SIZES: Final = (200_000, 1_000_000)
PROCESSES: Final = 2
ENTRY_BYTES: Final = 1024
_ORIGIN: Final = "bench.example/log"
_STEP: Final = 16 * WIDTH
_GRACE: Final = Path(sys.executable).with_name("grace")


@dataclass(frozen=True, slots=True)
class Verified:
    """Seconds for one log, of three that did it in turn."""

    size: int
    ours: float
    sumdb: float
    fsck: float


def measure(peers: Peers, runs: int) -> list[Verified]:
    """Return the times of each run over each size of log."""
    measured = []
    for size in SIZES:
        with TemporaryDirectory(prefix="grace-bench-log-") as folder:
            log = Path(folder)
            write_log(log, size)
            for _ in range(runs):
                measured.append(Verified(size, _ours(log), peers.accept(log), peers.fsck(log)))
    return measured


def _ours(log: Path) -> float:
    words = [str(_GRACE), "ledger", "verify", str(log), "--tree-only", "--processes", str(PROCESSES)]
    started = time.perf_counter()
    subprocess.run(words, capture_output=True, check=True)
    return time.perf_counter() - started


def write_log(folder: Path, size: int) -> None:
    """Write a log as `grace ledger export` does, of entries that state nothing: for its tree alone."""
    signer = SeededKey(_ORIGIN)
    key = signer.named(_ORIGIN)
    pad = b"x" * (ENTRY_BYTES - 24)
    edge = TileEdge()
    for first in range(0, size, _STEP):
        entries = [b"%024d" % number + pad for number in range(first, min(first + _STEP, size))]
        growth = edge.append(merkle.leaf_hashes(entries))
        edge = growth.edge
        for start in range(0, len(entries), WIDTH):
            bundle = entries[start : start + WIDTH]
            _write(folder, Tile(ENTRIES, (first + start) // WIDTH, len(bundle)), encode_bundle(bundle))
        for tile, data in growth.tiles:
            if tile.width == WIDTH:
                _write(folder, tile, data)
    for last, tail in zip(edge_tiles(size), edge.tails, strict=True):
        if last is not None:
            _write(folder, last, tail)
    checkpoint = Checkpoint(key.name, edge.size, edge.root)
    (folder / "vkey").write_text(f"{key}\n")
    (folder / "checkpoint").write_bytes(sign_checkpoint(checkpoint, key, signer.sign))


def _write(folder: Path, tile: Tile, data: bytes) -> None:
    path = folder / tile.path
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
