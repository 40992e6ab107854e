"""What the sandbox finds on this machine: bubblewrap, a Python that its user can read; and the command line."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from grace_common.contract.errors import Unready

INSTALL_BUBBLEWRAP: Final = "apt-get install bubblewrap"
MINIMUM_BUBBLEWRAP: Final = (0, 8)  # the first with --disable-userns
MINIMUM_PYTHON: Final = (3, 11)
SYSTEM_PYTHON: Final = Path("/usr/bin/python3")
BUNDLE: Final = "/grace/bundle.zip"
INSIDE_ID: Final = "65534"  # nobody, as the sandbox sees itself


@dataclass(frozen=True, slots=True)
class Interpreter:
    """The Python to run inside.

    executable  absolute path of the binary, with links resolved
    prefix      its installation, bound read-only at the same path
    hidden      whether only root may enter it, so that root must mount it where the sandbox's user can
    """

    executable: Path
    prefix: Path
    hidden: bool = False


def find_bubblewrap(name: str = "bwrap") -> str:
    """Return bubblewrap's path; Unready with the one command to type when it is missing or too old."""
    path = shutil.which(name)
    if path is None:
        raise Unready(f"the sandbox lacks bubblewrap, without which no code is run; type: {INSTALL_BUBBLEWRAP}")
    text = subprocess.run([path, "--version"], capture_output=True, text=True, check=False).stdout
    found = tuple(int(part) for part in re.findall(r"\d+", text)[:2])
    if found < MINIMUM_BUBBLEWRAP:
        raise Unready(f"bubblewrap 0.8 or newer is needed, found {text.strip() or 'none'}; type: {INSTALL_BUBBLEWRAP}")
    return path


def find_interpreter(
    prefix: Path = Path(sys.base_prefix), root: bool = os.geteuid() == 0, system: Path = SYSTEM_PYTHON
) -> Interpreter:
    """Return the Python to run inside: Grace's own where the sandbox's user can read it, else a way around.

    Run as root, Grace's Python may lie below a folder closed to everybody else (a pyenv in /root); root can mount it
    for the sandbox. Where that is not possible either, the system's Python serves when it is new enough.
    """
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    executable = (prefix / "bin" / f"python{version}").resolve()
    if executable.exists():
        if not root or _open_to_all(executable):
            return Interpreter(executable, prefix)
        if shutil.which("unshare") and shutil.which("setpriv") and _may_mount():
            return Interpreter(executable, prefix, hidden=True)
    if version_of(system) >= MINIMUM_PYTHON:
        return Interpreter(system.resolve(), Path("/usr"))
    raise Unready(f"the sandbox's user can read neither {prefix} nor a Python of 3.11; type: apt-get install python3")


def _open_to_all(path: Path) -> bool:
    return all(folder.stat().st_mode & 0o005 == 0o005 for folder in (path, *path.parents))


def _may_mount() -> bool:
    return subprocess.run(["unshare", "--mount", "true"], capture_output=True, check=False).returncode == 0


def version_of(python: Path) -> tuple[int, ...]:
    """Return major and minor version of a Python, () when it does not run."""
    try:
        text = subprocess.run([str(python), "--version"], capture_output=True, text=True, check=False).stdout
    except OSError:
        return ()
    return tuple(int(part) for part in re.findall(r"\d+", text)[:2])


def readable_paths(interpreter: Interpreter) -> list[str]:
    """Return what is bound read-only and what Landlock lets a candidate read: interpreter and system libraries."""
    libraries = ["/usr/lib", "/usr/lib64", "/usr/lib32", "/lib", "/lib64", "/lib32"]
    prefix = str(interpreter.prefix)
    own = [str(interpreter.executable), "/usr/share/zoneinfo"] if prefix == "/usr" else [prefix, "/usr/share/zoneinfo"]
    return [*dict.fromkeys([*libraries, *own])]


def command(
    bubblewrap: str,
    interpreter: Interpreter,
    mount_point: Path | None,
    tmp_bytes: int,
    info: int,
    seccomp: int,
    bundle: int,
) -> list[str]:
    """Return bubblewrap's command line; the numbers are descriptors of its info, its filter, the runner's bundle."""
    binds: list[str] = []
    for path in readable_paths(interpreter):
        if Path(path).is_symlink() and path.startswith("/lib"):
            binds += ["--symlink", os.readlink(path), path]
        elif Path(path).exists():
            source = str(mount_point) if interpreter.hidden and path == str(interpreter.prefix) else path
            binds += ["--ro-bind", source, path]
    start = (
        f"import sys; sys.path.insert(0, {BUNDLE!r}); from grace_code_gen.adapters.sandbox_runner import main; "
        "main(sys.stdin.buffer, sys.stdout.buffer)"
    )
    return [
        bubblewrap,
        *("--unshare-all", "--unshare-user", "--disable-userns", "--die-with-parent", "--new-session", "--clearenv"),
        *("--setenv", "PYTHONHASHSEED", "0", "--setenv", "LANG", "C.UTF-8", "--setenv", "PATH", ""),
        *("--uid", INSIDE_ID, "--gid", INSIDE_ID, "--hostname", "sandbox"),
        *binds,
        *("--ro-bind-try", "/etc/ld.so.cache", "/etc/ld.so.cache", "--dev-bind", "/dev/null", "/dev/null"),
        *("--ro-bind-data", str(bundle), BUNDLE),
        *("--size", str(tmp_bytes), "--tmpfs", "/tmp", "--chdir", "/tmp", "--remount-ro", "/"),
        *("--info-fd", str(info), "--seccomp", str(seccomp)),
        *("--", str(interpreter.executable), "-P", "-s", "-S", "-B", "-c", start),
    ]


def as_user(arguments: Sequence[str], uid: int, interpreter: Interpreter, mount_point: Path | None) -> list[str]:
    """Return the line by which root starts `arguments` as an unprivileged user, mounting a hidden interpreter."""
    user = str(uid)
    drop = ["setpriv", "--reuid", user, "--regid", user, "--clear-groups", "--inh-caps=-all"]
    if not interpreter.hidden or mount_point is None:
        return [*drop, *arguments]
    script = 'mount --bind "$0" "$1" && shift && exec "$@"'
    mount = ["unshare", "--mount", "--propagation", "private", "sh", "-c", script]
    return [*mount, str(interpreter.prefix), str(mount_point), *drop, *arguments]
