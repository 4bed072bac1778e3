"""Opens for the confined program what it asks for, or refuses: it opens nothing itself (seccomp_unotify(2)).

The path is read once, into our own memory, and what we opened is put into the program: it cannot be changed in between.
Where it may reach what belongs to another user, that is because we were given it open.
"""

import errno
import fcntl
import os
import struct
from collections.abc import Mapping, Sequence

from controller.adapters.confined import kernel

_RECEIVE, _SEND, _VALID, _ADD = 0xC0502100, 0xC0182101, 0x40082102, 0xC0182103  # SECCOMP_IOCTL_NOTIF_*, linux/seccomp.h
_CONTINUE = 1  # SECCOMP_USER_NOTIF_FLAG_CONTINUE
_ADD_AND_ANSWER = 2  # SECCOMP_ADDFD_FLAG_SEND, Linux 5.14
_PATH_MAX = 4096
_READ_ONLY = os.O_RDONLY | os.O_CLOEXEC


class Broker:
    """``files``: the names of open descriptors, and whether they may be written; ``programs``: prefixes that are read."""

    def __init__(self, listener: int, files: Mapping[str, tuple[int, bool]], programs: Sequence[str]) -> None:
        self._listener = listener
        self._files = files
        self._programs = tuple(programs)
        self._started = False

    def answer(self) -> None:
        """One question, which is waiting."""
        question = bytearray(80)  # struct seccomp_notif
        try:
            fcntl.ioctl(self._listener, _RECEIVE, question)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.EINTR):
                return  # the one who asked is gone
            raise
        number, thread, _flags, call, _arch, _at, *words = struct.unpack("=QIIiIQ6Q", question)
        try:
            if call == kernel.number("execve"):
                self._start(number)
            else:
                self._open(number, self._path(number, thread, words[1]), words[2])
        except OSError as error:
            self._reply(number, error=-(error.errno or errno.EACCES))

    def _start(self, number: int) -> None:
        """The first is the launcher's own; the program itself starts nothing."""
        if self._started:
            raise PermissionError(errno.EPERM, "a program is running")
        self._started = True
        self._reply(number, flags=_CONTINUE)

    def _path(self, number: int, thread: int, address: int) -> str:
        memory = os.open(f"/proc/{thread}/mem", _READ_ONLY)
        try:
            fcntl.ioctl(self._listener, _VALID, struct.pack("=Q", number))  # else the thread's number may be another's
            text, end, _ = os.pread(memory, _PATH_MAX, address).partition(b"\0")
        finally:
            os.close(memory)
        if not end:
            raise OSError(errno.ENAMETOOLONG, "path")
        return os.fsdecode(text)

    def _open(self, number: int, path: str, flags: int) -> None:
        given = self._files.get(path)
        if given is not None:
            fd, writable = given
            if flags & os.O_ACCMODE != os.O_RDONLY and not writable:
                raise PermissionError(errno.EACCES, path)
            self._add(number, fd)
        elif path.startswith(self._programs) and ".." not in path and not flags & (os.O_ACCMODE | os.O_CREAT | os.O_TRUNC):
            fd = os.open(path, _READ_ONLY | os.O_NONBLOCK)
            try:
                self._add(number, fd)
            finally:
                os.close(fd)
        else:
            raise PermissionError(errno.EACCES, path)

    def _add(self, number: int, fd: int) -> None:
        try:
            fcntl.ioctl(self._listener, _ADD, struct.pack("=QIIII", number, _ADD_AND_ANSWER, fd, 0, os.O_CLOEXEC))
        except OSError as error:
            if error.errno != errno.ENOENT:
                raise

    def _reply(self, number: int, *, error: int = 0, flags: int = 0) -> None:
        try:
            fcntl.ioctl(self._listener, _SEND, struct.pack("=QqiI", number, 0, error, flags))
        except OSError as gone:
            if gone.errno != errno.ENOENT:
                raise
