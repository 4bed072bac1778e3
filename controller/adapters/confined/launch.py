"""``python -I -S -c … CONTROL USER FILES LIMITS LAYERS PROGRAM ARGUMENT…``: confine this process, run the program in it.

CONTROL is a socket. On that the layers that hold are told as one line; when its other end is closed, also because the
daemon died, the program is killed. It needs no right to signal us for that, and we are the same user as the program, so
neither do we. We end with the program's code, or 128 and its signal. USER is ``uid:gid`` or nothing; FILES ``5:r,6:w``;
LIMITS ``RLIMIT_AS:1073741824,…``. It is words and no JSON, and no dataclass, because to load those takes twice as long as
all the rest.
"""

import os
import resource
import select
import signal
import socket
import sys

from controller.adapters.confined import filter, kernel, landlock
from controller.adapters.confined.broker import Broker

# What a program is made of: its libraries, and the list of where they are.
PROGRAMS = ("/lib/", "/lib64/", "/usr/lib/", "/usr/lib64/", "/etc/ld.so.cache")
_UNCONFINED = "neither another user, nor Landlock, nor a filter of system calls can keep it from the files of this host"


class Cell:
    """``held`` grows with each layer that could be had."""

    def __init__(self, control: str, user: str, files: str, limits: str, layers: str) -> None:
        self.control = int(control)
        self.user = [int(number) for number in user.split(":") if number]
        self.files = {int(fd): how == "w" for fd, how in _pairs(files)}
        self.limits = {name: int(value) for name, value in _pairs(limits)}
        self.layers = layers.split(",")
        self.held: list[str] = []
        self.asks = "opened-files" in self.layers and "system-calls" in self.layers and filter.can_ask()

    def prepare(self) -> None:
        """What the launcher and the program share. Files are opened anew: no position is shared with the daemon."""
        for fd, writable in self.files.items():
            fresh = os.open(f"/proc/self/fd/{fd}", (os.O_RDWR if writable else os.O_RDONLY) | os.O_CLOEXEC)
            os.dup2(fresh, fd)
            os.close(fresh)
        if "network" in self.layers and _no_network():
            self.held.append("network")
        # Another user may not open these files; where nobody can open them for it, we stay who we are.
        if "user" in self.layers and self.user and (self.asks or "opened-files" not in self.layers) and _become(*self.user):
            self.held.append("user")
        kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
        if "capabilities" in self.layers:
            kernel.drop_capabilities()
            self.held.append("capabilities")

    def enter(self, argv: list[str], handover: socket.socket) -> None:
        """In the child: the rest, which the launcher itself could not work under; then the program."""
        kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL)
        if "limits" in self.layers:
            self._limit()
        if "landlock" in self.layers and landlock.version():
            landlock.restrict((argv[0], *PROGRAMS), self.files)
            self.held.append("landlock")
        listener = self._filter(handover.fileno())
        socket.send_fds(handover, [",".join(self.held).encode() or b","], [] if listener is None else [listener])
        if os.read(handover.fileno(), 1):
            os.execv(argv[0], argv)  # noqa: S606

    def _limit(self) -> None:
        for name, value in self.limits.items():
            if name == "RLIMIT_NPROC" and "user" not in self.held:
                continue  # it would count what else that user runs
            which = getattr(resource, name)
            hard = resource.getrlimit(which)[1]
            value = value if hard == resource.RLIM_INFINITY else min(value, hard)
            resource.setrlimit(which, (value, value))
        self.held.append("limits")

    def _filter(self, handover: int) -> int | None:
        listener = None
        if "system-calls" not in self.layers or kernel.number("seccomp") is None:
            return None
        if self.asks:
            try:
                listener = filter.install(handover, ask=True)
                self.held.append("opened-files")
            except OSError:  # an outer filter asks already: one may
                listener = None
        try:
            if listener is None:
                filter.install(handover, ask=False)
            self.held.append("system-calls")
        except OSError:
            return None
        return listener

    def refusal(self, root: bool) -> str:
        return _UNCONFINED if root and not {"user", "landlock", "opened-files"} & {*self.held} else ""


def _pairs(words: str) -> list[list[str]]:
    return [word.split(":") for word in words.split(",") if word]


def _no_network() -> bool:
    """A network namespace with nothing in it, by a user namespace where that takes none of a root's powers."""
    for flags in (kernel.CLONE_NEWNET, kernel.CLONE_NEWUSER | kernel.CLONE_NEWNET):
        try:
            kernel.call("unshare", flags)
            return True
        except OSError:
            if os.geteuid() == 0:
                return False
    return False


def _become(uid: int, gid: int) -> bool:
    try:
        os.setgroups([])
        os.setresgid(gid, gid, gid)
        os.setresuid(uid, uid, uid)
    except PermissionError:
        return False
    return True


def main() -> None:
    cell, argv = Cell(*sys.argv[1:6]), sys.argv[6:]
    root = os.geteuid() == 0
    cell.prepare()
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    child = os.fork()
    if child == 0:
        ours.close()  # or it would wait for itself
        _child(cell, argv, theirs)
    theirs.close()
    said, fds, _, _ = socket.recv_fds(ours, 4096, 1)
    cell.held = [layer for layer in said.decode().split(",") if layer]
    refused = cell.refusal(root) if said else "the program could not be confined"
    os.write(cell.control, f"{','.join(cell.held)}:{refused}\n".encode())
    if not refused:
        os.write(ours.fileno(), b"g")
    ours.close()
    os._exit(_attend(cell, child, fds[0] if fds else None))


def _child(cell: Cell, argv: list[str], handover: socket.socket) -> None:
    try:
        cell.enter(argv, handover)
    except OSError as error:
        os.write(2, f"{os.path.basename(argv[0])} cannot be run: {error.strerror}\n".encode())  # noqa: PTH119
    finally:
        os._exit(127)


def _attend(cell: Cell, child: int, listener: int | None) -> int:
    """To the child's end; its code."""
    files = {f"/dev/fd/{fd}": (fd, writable) for fd, writable in cell.files.items()}
    broker = Broker(listener, files, PROGRAMS) if listener is not None else None
    ended = os.pidfd_open(child)
    poll = select.poll()
    poll.register(ended, select.POLLIN)
    poll.register(cell.control, select.POLLIN)
    if listener is not None:
        poll.register(listener, select.POLLIN)
    while True:
        ready = dict(poll.poll())
        if cell.control in ready:
            poll.unregister(cell.control)
            os.kill(child, signal.SIGKILL)
        if listener is not None and broker is not None and listener in ready:
            if ready[listener] & select.POLLIN:
                broker.answer()
            else:
                poll.unregister(listener)
        if ended in ready:
            code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            return code if code >= 0 else 128 - code
