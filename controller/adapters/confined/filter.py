"""Which system calls the program may make: those that reading one file and writing another needs (seccomp(2)).

What is not named is refused with EPERM. To open a file, and to start the program, is asked of the launcher where it
answers (SECCOMP_RET_USER_NOTIF), and that ends with the first program: there is no second one.
"""

import ctypes
import os
import struct

from controller.adapters.confined import kernel

_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}  # AUDIT_ARCH_*, linux/audit.h
_ALLOW, _KILL, _NOTIFY, _ERRNO = 0x7FFF0000, 0x80000000, 0x7FC00000, 0x00050000
_EPERM, _ENOSYS = _ERRNO | 1, _ERRNO | 38
_LOAD, _EQUAL, _ABOVE, _BITS, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06  # linux/bpf_common.h
_X32 = 0x40000000
_THREAD = 0x00010000  # CLONE_THREAD
_EMPTY_PATH = 0x1000  # AT_EMPTY_PATH
_YAMA = "/proc/sys/kernel/yama/ptrace_scope"
_PRCTL = (15, 29)  # PR_SET_NAME, PR_SET_TIMERSLACK
_ALLOWED = """
    arch_prctl brk clock_getres clock_gettime clock_nanosleep close dup dup3 epoll_create1 epoll_ctl epoll_pwait epoll_wait
    eventfd2 exit exit_group fadvise64 fallocate fcntl fdatasync fstat fstatfs fsync ftruncate futex get_mempolicy getegid
    geteuid getgid getpid getrandom getrusage gettid gettimeofday getuid lseek madvise membarrier mmap mprotect mremap munmap
    nanosleep pipe2 poll ppoll pread64 preadv preadv2 pwrite64 pwritev pwritev2 read readv restart_syscall rseq rt_sigaction
    rt_sigpending rt_sigprocmask rt_sigreturn rt_sigtimedwait sched_getaffinity sched_yield set_robust_list set_tid_address
    sigaltstack signalfd4 sync_file_range sysinfo timerfd_create timerfd_gettime timerfd_settime times uname write writev
"""
_Code = tuple[int, int, int, int]


def can_ask() -> bool:
    """Whether the launcher may be asked, and may read what it is asked: Yama can forbid that (ptrace_scope 2 and 3)."""
    try:
        kernel.call("seccomp", 2, 0, ctypes.byref(ctypes.c_uint32(_NOTIFY)))  # SECCOMP_GET_ACTION_AVAIL
        with open(_YAMA) as scope:  # noqa: PTH123
            return int(scope.read()) < 2
    except FileNotFoundError:
        return True
    except OSError:
        return False


def install(handover: int, *, ask: bool) -> int | None:
    """The filter of this process from now on; the listener's descriptor when it is to ``ask``. OSError.

    ``handover`` is the one socket on which a message may be sent: the listener's way to the launcher.
    """
    code = b"".join(struct.pack("=HBBI", *one) for one in _program(handover, ask))
    lines = ctypes.create_string_buffer(code)
    program = ctypes.create_string_buffer(struct.pack("@HP", len(code) // 8, ctypes.addressof(lines)))
    if ask:
        return kernel.call("seccomp", 1, 8, program)  # SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER
    kernel.prctl(22, 2, program)  # PR_SET_SECCOMP, SECCOMP_MODE_FILTER: allowed where seccomp(2) itself is not
    return None


def _program(handover: int, ask: bool) -> list[_Code]:
    asked = _NOTIFY if ask else _ALLOW
    code: list[_Code] = [_load(4), (_EQUAL, 1, 0, _ARCH[os.uname().machine]), _verdict(_KILL)]
    code += [_load(0), (_ABOVE, 0, 1, _X32), _verdict(_KILL)]
    for name in _ALLOWED.split():
        code += _if_call(name, [_verdict(_ALLOW)])
    for name in ("openat", "execve"):
        code += _if_call(name, [_verdict(asked)])
    code += _if_call("clone3", [_verdict(_ENOSYS)])  # its flags lie in memory: the C library then uses clone
    code += _if_call("clone", [_argument(0), (_BITS, 0, 1, _THREAD), _verdict(_ALLOW), _verdict(_EPERM)])
    code += _if_call("newfstatat", [_argument(3), (_BITS, 0, 1, _EMPTY_PATH), _verdict(_ALLOW), _verdict(_EPERM)])
    code += _if_call("tgkill", _only(0, os.getpid()))
    code += _if_call("sendmsg", _only(0, handover))
    code += _if_call("prctl", _only(0, *_PRCTL))
    code += _if_call("prlimit64", [*_zero(2), _verdict(_ALLOW)])
    return [*code, _verdict(_EPERM)]


def _if_call(name: str, then: list[_Code]) -> list[_Code]:
    known = kernel.number(name)
    return [] if known is None else [(_EQUAL, 0, len(then), known), *then]


def _only(index: int, *values: int) -> list[_Code]:
    checks: list[_Code] = [(_EQUAL, len(values) - place, 0, value) for place, value in enumerate(values)]
    return [_argument(index), *checks, _verdict(_EPERM), _verdict(_ALLOW)]


def _zero(index: int) -> list[_Code]:
    """Goes on only if the whole argument is 0."""
    half: list[_Code] = [(_EQUAL, 1, 0, 0), _verdict(_EPERM)]
    return [_argument(index), *half, _load(20 + 8 * index), *half]


def _argument(index: int) -> _Code:
    return _load(16 + 8 * index)  # the lower half: struct seccomp_data, little endian


def _load(offset: int) -> _Code:
    return (_LOAD, 0, 0, offset)


def _verdict(value: int) -> _Code:
    return (_RETURN, 0, 0, value)
