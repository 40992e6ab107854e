"""The two seccomp programs of the sandbox: what nobody in it may do, and the little that a candidate may.

Both are compiled by libseccomp for the machine's own architecture; a call through another one kills the process.
"""

import errno
import tempfile
from types import ModuleType
from typing import Any, Final

from grace_common.contract.errors import Unready

INSTALL_LIBSECCOMP: Final = "apt-get install libseccomp2"

# Refused to every process in the sandbox, the supervisor included: the ways out, and the ways to see other processes.
REFUSED: Final = """
    socket socketpair connect bind listen accept accept4 ptrace process_vm_readv process_vm_writev pidfd_getfd kcmp
    mount umount umount2 mount_setattr move_mount open_tree fsopen fsconfig fsmount fspick pivot_root chroot unshare
    setns keyctl add_key request_key bpf perf_event_open userfaultfd io_uring_setup io_uring_enter io_uring_register
    kexec_load kexec_file_load init_module finit_module delete_module reboot swapon swapoff acct quotactl
    open_by_handle_at name_to_handle_at syslog settimeofday clock_settime clock_adjtime adjtimex personality
    lookup_dcookie mbind set_mempolicy move_pages migrate_pages nfsservctl vmsplice ioperm iopl mknod mknodat
    sethostname setdomainname uselib vhangup modify_ldt
"""

# All that a candidate or the requester's tests may do. No fork, no exec, no signal to others, no socket, no prctl.
ALLOWED: Final = """
    read write readv writev pread64 pwrite64 open openat close close_range lseek fstat stat lstat newfstatat statx
    access faccessat faccessat2 readlink readlinkat getdents getdents64 getcwd chdir fchdir dup dup2 dup3 pipe pipe2
    poll ppoll select pselect6 epoll_create1 epoll_ctl epoll_wait epoll_pwait eventfd2 mkdir mkdirat rmdir unlink
    unlinkat rename renameat renameat2 ftruncate truncate chmod fchmod fchmodat umask utimensat fsync fdatasync
    flock statfs fstatfs symlink symlinkat link linkat mmap mprotect munmap mremap madvise brk mincore msync futex
    set_robust_list get_robust_list rseq membarrier sched_yield sched_getaffinity sched_getparam sched_getscheduler
    set_tid_address arch_prctl rt_sigaction rt_sigprocmask rt_sigreturn rt_sigpending rt_sigsuspend rt_sigtimedwait
    sigaltstack getpid gettid getppid getuid geteuid getgid getegid getgroups getresuid getresgid getpgrp getpgid
    getsid getrlimit getrusage sysinfo uname times gettimeofday time clock_gettime clock_getres clock_nanosleep
    nanosleep setitimer getitimer alarm pause restart_syscall getrandom getcpu exit exit_group wait4 waitid
"""

# Allowed only with these values of one argument (its position first). The other commands of fcntl and ioctl can make
# the kernel signal another process; prlimit64 with a process id other than 0 would set another process's limits.
FCNTL: Final = (0, 1, 2, 3, 4, 5, 6, 7, 1030)  # F_DUPFD, F_[GS]ETFD, F_[GS]ETFL, F_GETLK, F_SETLK(W), F_DUPFD_CLOEXEC
IOCTL: Final = (0x5401, 0x5413, 0x541B, 0x5450, 0x5451)  # TCGETS, TIOCGWINSZ, FIONREAD, FIONCLEX, FIOCLEX
ALLOWED_WITH: Final = (("fcntl", 1, FCNTL), ("ioctl", 1, IOCTL), ("prlimit64", 0, (0,)))
CLONE_THREAD: Final = 0x00010000  # linux/sched.h: set for a thread, clear for a process


def sandbox_filter() -> bytes:
    """Return the program that bubblewrap loads: everything passes but REFUSED and new namespaces."""
    seccomp = _library()
    program = seccomp.SyscallFilter(seccomp.ALLOW)
    for name in REFUSED.split():
        _add(seccomp, program, seccomp.ERRNO(errno.EPERM), name)
    return _compiled(program)


def candidate_filter() -> bytes:
    """Return the program that a candidate's process loads before its first line: nothing passes but ALLOWED."""
    seccomp = _library()
    program = seccomp.SyscallFilter(seccomp.ERRNO(errno.EPERM))
    for name in ALLOWED.split():
        _add(seccomp, program, seccomp.ALLOW, name)
    for name, position, values in ALLOWED_WITH:
        for value in values:
            _add(seccomp, program, seccomp.ALLOW, name, seccomp.Arg(position, seccomp.EQ, value))
    thread = seccomp.Arg(0, seccomp.MASKED_EQ, CLONE_THREAD, CLONE_THREAD)
    _add(seccomp, program, seccomp.ALLOW, "clone", thread)
    # Its flags lie in memory where no filter can see them; told that it does not exist, the C library takes clone.
    _add(seccomp, program, seccomp.ERRNO(errno.ENOSYS), "clone3")
    return _compiled(program)


def _library() -> ModuleType:
    try:
        import pyseccomp
    except (ImportError, RuntimeError, OSError) as problem:
        raise Unready(f"the sandbox lacks seccomp ({problem}); type: {INSTALL_LIBSECCOMP}") from problem
    library: ModuleType = pyseccomp
    return library


def _add(seccomp: ModuleType, program: Any, action: int, name: str, *arguments: object) -> None:
    if seccomp.resolve_syscall(seccomp.system_arch(), name) >= 0:  # absent on this architecture otherwise
        program.add_rule(action, name, *arguments)


def _compiled(program: Any) -> bytes:
    with tempfile.TemporaryFile() as file:
        program.export_bpf(file)
        file.seek(0)
        return file.read()
