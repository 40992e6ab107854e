"""Finding secrets: in bytes, however they are written there, and in the memory of processes."""

import base64
import json
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

import psutil
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from grace_cli.stack.home import Home

from tests.e2e.outside import SECRET

GATEWAY: Final = "gateway"
_SIGNER: Final = "crypto-signer"
_CHUNK: Final = 1 << 24
# A planted secret says whose it is: `<mark>-<principal>-kafka-…`, in a pattern of its own process with backslashes.
_WHOSE: Final = re.compile(rb"\\?-([a-z\\-]+?)\\?-(?:kafka|database|token)")
_MARGIN: Final = 256  # a secret, and what says whose it is


@dataclass(frozen=True)
class Needle:
    """Something secret.

    value   its bytes
    owners  the processes that may know it
    """

    what: str
    value: bytes
    owners: frozenset[str]

    @cached_property
    def forms(self) -> list[bytes]:
        """Return how it may stand in other bytes: as it is, in hexadecimal, in base64 at each of three places."""
        found = [self.value, self.value.hex().encode(), self.value.hex().upper().encode()]
        for before in range(3):
            encoded = base64.b64encode(bytes(before) + self.value)
            sure = encoded[(before * 8 + 5) // 6 : (before + len(self.value)) * 8 // 6]
            found += [sure, sure.replace(b"+", b"-").replace(b"/", b"_")]
        return list(dict.fromkeys(found))


def secrets_of(home: Home) -> list[Needle]:
    """Return everything secret that a running Grace has: the mark of what was planted, and what it made itself."""
    found = [Needle("a planted secret", SECRET.encode(), frozenset())]
    keys = json.loads((home.credentials / "api-keys.json").read_text())
    found += [Needle(f"{user}'s API key", one["key"].encode(), frozenset({GATEWAY})) for user, one in keys.items()]
    files = {file: file.parent.name for file in (home.root / "identity").glob("*/key.pem")}
    files[home.state("audit-log") / "log-key.pem"] = "audit-log"
    for file, owner in files.items():
        pem = file.read_bytes()
        key = load_pem_private_key(pem, password=None)
        assert isinstance(key, Ed25519PrivateKey)
        found.append(Needle(f"{owner}'s {file.name}", key.private_bytes_raw(), frozenset({owner})))
        found.append(Needle(f"{owner}'s {file.name} as it is", pem.splitlines()[1], frozenset({owner})))
    texts = {"pepper": home.state(GATEWAY) / "pepper", "passphrase": home.state(_SIGNER) / "kek-passphrase"}
    owners = {"pepper": GATEWAY, "passphrase": _SIGNER}
    found += [
        Needle(f"the {what}", file.read_bytes().strip(), frozenset({owners[what]})) for what, file in texts.items()
    ]
    return found


def leaks(where: str, data: bytes, needles: Sequence[Needle], allowed: Iterable[str] = ()) -> list[str]:
    """Return what of these needles stands in some bytes, in any form."""
    owners = set(allowed)
    return [
        f"{needle.what} in {where}"
        for needle in needles
        if not owners & needle.owners and any(form in data for form in needle.forms)
    ]


def may_trace(process: psutil.Process) -> bool:
    """Tell whether the kernel lets us read the process's memory: as root always, else as `ptrace_scope` has it."""
    try:
        open(f"/proc/{process.pid}/mem", "rb").close()
    except PermissionError:
        return False
    return True


def leaks_in_memory(process: psutil.Process, name: str, needles: Sequence[Needle]) -> list[str]:
    """Return what stands in the memory of a process that it may not know."""
    found: set[str] = set()
    for block in memory(process.pid):
        for needle in needles:
            at = block.find(needle.value) if name not in needle.owners else -1
            while 0 <= at < len(block) - _MARGIN:  # what stands at the end comes again in the next
                whose = _owner(block, at, needle)
                if name not in whose:
                    found.add(f"{needle.what} ({', '.join(sorted(whose))}'s) in the memory of {name}")
                    break
                at = block.find(needle.value, at + 1)
    return sorted(found)


def _owner(block: bytes, at: int, needle: Needle) -> frozenset[str]:
    """Return who may know a secret that was found; a planted one says so itself."""
    if needle.owners:
        return needle.owners
    if block[max(at - 4, 0) : at].endswith((b"sk-", b"sk\\-")):
        return frozenset({"code-gen"})
    whose = _WHOSE.match(block, at + len(needle.value))
    name = whose.group(1).decode().replace("\\", "") if whose else "nobody"
    return frozenset({{"admin": "kafka", "stranger": GATEWAY}.get(name, name)})


def memory(pid: int) -> Iterator[bytes]:
    """Yield what a process has written in its memory in pieces, of which each begins with the end of the one before.

    Needs root, or the right to trace the process.
    """
    with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "rb", buffering=0) as mem:
        for line in maps:
            place, rights, *_ = line.split()
            if not rights.startswith("rw") or line.rstrip().endswith(("[vvar]", "[vsyscall]")):
                continue
            start, end = (int(part, 16) for part in place.split("-"))
            before = b""
            while start < end:
                try:
                    mem.seek(start)
                    piece = mem.read(min(_CHUNK, end - start))
                except (OSError, OverflowError):
                    break  # a guard page, or memory of a device
                if not piece:
                    break
                yield before + piece
                before, start = piece[-_MARGIN:], start + len(piece)
            yield before + bytes(_MARGIN)


def files_below(folder: Path, but: Iterable[Path] = ()) -> Iterator[tuple[str, bytes]]:
    """Yield every file below a folder with its path in it; those that vanish meanwhile are left out."""
    left_out = tuple(but)
    for place, names, files in os.walk(folder):
        names[:] = [name for name in names if Path(place, name) not in left_out]
        for name in files:
            file = Path(place, name)
            if file.is_file():
                try:
                    yield str(file.relative_to(folder)), file.read_bytes()
                except FileNotFoundError:
                    continue
