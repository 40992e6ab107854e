"""Run a program that dies with its parent: `lifeline.py PARENT_PID SIGNAL UID GID PROGRAM ARGUMENT…`.

The kernel sends SIGNAL to the program when the parent's thread that started it ends, even by SIGKILL
(prctl(2), PR_SET_PDEATHSIG). The setting survives exec but not a change of user, so the change to UID and GID
(-1: none) is made here and first. Run as a file by a bare interpreter (-I -S), it costs about 15 ms and imports
nothing of Grace; the interpreter is loaded before the change, so UID need not be able to reach it.
"""

import ctypes
import os
import sys

PR_SET_PDEATHSIG = 1  # linux/prctl.h


def main(parent: int, signal: int, uid: int, gid: int, program: list[str]) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if uid != -1:
        os.setgroups([])
        os.setgid(gid)
        os.setuid(uid)
    if libc.prctl(PR_SET_PDEATHSIG, signal, 0, 0, 0) != 0:
        sys.exit(f"prctl failed: {os.strerror(ctypes.get_errno())}")
    if os.getppid() != parent:  # the parent died before the call above
        sys.exit("the parent is gone")
    os.execvp(program[0], program)


if __name__ == "__main__":
    numbers = [int(argument) for argument in sys.argv[1:5]]
    main(numbers[0], numbers[1], numbers[2], numbers[3], sys.argv[5:])
