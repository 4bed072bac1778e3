"""System calls that the standard library has no word for. OSError as usual; ``None`` where an architecture has none."""

import ctypes
import os
import struct

_NUMBERS = {"x86_64": 0, "aarch64": 1}  # unistd_64.h and asm-generic/unistd.h of Linux
_TABLE = """
    arch_prctl 158 -    brk 12 214          clock_getres 229 114  clock_gettime 228 113  clock_nanosleep 230 115
    clone 56 220        clone3 435 435      close 3 57            dup 32 23              dup3 292 24
    epoll_create1 291 20  epoll_ctl 233 21  epoll_pwait 281 22    epoll_wait 232 -       eventfd2 290 19
    execve 59 221       exit 60 93          exit_group 231 94     fadvise64 221 223      fallocate 285 47
    fcntl 72 25         fdatasync 75 83     fstat 5 80            fstatfs 138 44         fsync 74 82
    ftruncate 77 46     futex 202 98        get_mempolicy 239 236 getegid 108 177        geteuid 107 175
    getgid 104 176      getpid 39 172       getrandom 318 278     getrusage 98 165       gettid 186 178
    gettimeofday 96 169 getuid 102 174      lseek 8 62            madvise 28 233         membarrier 324 283
    mmap 9 222          mprotect 10 226     mremap 25 216         munmap 11 215          nanosleep 35 101
    newfstatat 262 79   openat 257 56       pipe2 293 59          poll 7 -               ppoll 271 73
    prctl 157 167       pread64 17 67       preadv 295 69         preadv2 327 286        prlimit64 302 261
    pwrite64 18 68      pwritev 296 70      pwritev2 328 287      read 0 63              readv 19 65
    restart_syscall 219 128  rseq 334 293   rt_sigaction 13 134   rt_sigpending 127 136  rt_sigprocmask 14 135
    rt_sigreturn 15 139 rt_sigtimedwait 128 137  sched_getaffinity 204 123  sched_yield 24 124  sendmsg 46 211
    set_robust_list 273 99  set_tid_address 218 96  sigaltstack 131 132  signalfd4 289 74  sync_file_range 277 84
    sysinfo 99 179      tgkill 234 131      timerfd_create 283 85 timerfd_gettime 287 87 timerfd_settime 286 86
    times 100 153       uname 63 160        write 1 64            writev 20 66
    capset 126 91       seccomp 317 277     unshare 272 97        landlock_create_ruleset 444 444
    landlock_add_rule 445 445  landlock_restrict_self 446 446
"""
_libc = ctypes.CDLL(None, use_errno=True)

PR_SET_PDEATHSIG, PR_SET_NO_NEW_PRIVS, PR_CAP_AMBIENT = 1, 38, 47
CLONE_NEWUSER, CLONE_NEWNET = 0x10000000, 0x40000000


def number(name: str) -> int | None:
    """Of the call ``name`` on this machine."""
    words = _TABLE.split()
    column = _NUMBERS.get(os.uname().machine)
    if column is None:
        return None
    found = words[words.index(name) + 1 + column]
    return None if found == "-" else int(found)


def call(name: str, *words: object) -> int:
    known = number(name)
    if known is None:
        raise OSError(38, f"{name} is not known on this architecture")
    padded = [ctypes.c_long(word) if isinstance(word, int) else word for word in (known, *words)]
    return _checked(_libc.syscall(*padded), name)


def prctl(option: int, *words: object) -> None:
    padded = [ctypes.c_ulong(w) if isinstance(w, int) else w for w in (*words, 0, 0, 0, 0)[:4]]
    _checked(_libc.prctl(ctypes.c_int(option), *padded), "prctl")


def _checked(result: int, name: str) -> int:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{name}: {os.strerror(code)}")
    return int(result)


def drop_capabilities() -> None:
    """All of them, and with no_new_privs none comes back, not even to user 0 by exec (cap_bprm_creds_from_file)."""
    header = ctypes.create_string_buffer(struct.pack("=Ii", 0x20080522, 0))  # _LINUX_CAPABILITY_VERSION_3
    prctl(PR_CAP_AMBIENT, 4)  # PR_CAP_AMBIENT_CLEAR_ALL
    call("capset", header, ctypes.create_string_buffer(24))
