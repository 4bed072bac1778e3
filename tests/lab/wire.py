"""The wire: a network namespace without a name, with a bridge, that ends with the process that made it.

Nothing of it is visible on the host's interfaces, any number of them can exist at once, and none can be left behind:
the namespace lives in a process that the kernel kills when its parent dies.
"""

import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

BRIDGE = "wire"
HERE = "10.77.0.254"  # our own address on the bridge, inside the namespace
_CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


class Wire:
    """Processes on the wire must be started by the thread that made it: the kernel binds their end to that thread."""

    def __enter__(self) -> Self:
        self._taps = 0
        self._holder = subprocess.Popen(["setpriv", "--pdeathsig", "KILL", "unshare", "--net", "sleep", "infinity"])
        self._namespace = Path(f"/proc/{self._holder.pid}/ns/net")
        own = Path("/proc/self/ns/net").readlink()
        deadline = time.monotonic() + 10
        while self._namespace.readlink() == own:
            if time.monotonic() > deadline:
                raise TimeoutError("no network namespace can be made here")
            time.sleep(0.005)
        self._ip("link", "set", "lo", "up")
        self._ip("link", "add", BRIDGE, "type", "bridge")
        self._ip("address", "add", f"{HERE}/24", "dev", BRIDGE)
        self._ip("link", "set", BRIDGE, "up")
        program = [sys.executable, "-I", "-S", str(Path(__file__).with_name("router.py")), BRIDGE]
        self._router = subprocess.Popen(self.command(program))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        end(self._router)
        end(self._holder)

    def command(self, argv: Sequence[str | Path]) -> list[str]:
        """``argv``, to be run on the wire, and killed when this process dies."""
        return ["nsenter", f"--net={self._namespace}", "setpriv", "--pdeathsig", "KILL", *map(str, argv)]

    def _ip(self, *arguments: str) -> None:
        subprocess.run(self.command(["ip", *arguments]), check=True)

    def tap(self) -> str:
        """A new port of the bridge for a machine."""
        name = f"tap{self._taps}"
        self._taps += 1
        self._ip("tuntap", "add", name, "mode", "tap")
        self._ip("link", "set", name, "master", BRIDGE, "up")
        return name

    def connect(self, address: tuple[str, int], timeout: float = 5) -> socket.socket:
        """A TCP connection made on the wire, usable from anywhere. OSError."""
        made: list[socket.socket | OSError] = []

        def inside() -> None:
            with self._namespace.open() as namespace:
                if _libc.setns(namespace.fileno(), _CLONE_NEWNET):  # this thread only
                    made.append(OSError(ctypes.get_errno(), "setns"))
                    return
            try:
                made.append(socket.create_connection(address, timeout))
            except OSError as error:
                made.append(error)

        thread = threading.Thread(target=inside)
        thread.start()
        thread.join()
        [result] = made
        if isinstance(result, OSError):
            raise result
        return result


class Forward:
    """A port of 127.0.0.1 on this machine that leads to an address on the wire."""

    def __init__(self, wire: Wire, to: tuple[str, int], port: int = 0) -> None:
        self._wire, self._to = wire, to
        self._listener = socket.create_server(("127.0.0.1", port))
        self.port: int = self._listener.getsockname()[1]
        self._open: set[socket.socket] = set()
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes accept()
        self._listener.close()
        for one in list(self._open):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(near,), daemon=True).start()

    def _serve(self, near: socket.socket) -> None:
        with near:
            try:
                far = self._wire.connect(self._to)
            except OSError:
                return
            with far:
                far.settimeout(None)
                self._open |= {near, far}
                back = threading.Thread(target=_pump, args=(far, near), daemon=True)
                back.start()
                _pump(near, far)
                back.join()
                self._open -= {near, far}


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_WR)


def end(process: subprocess.Popen[bytes], grace: float = 0) -> None:
    """Stops a process of ours: asked first when there is grace, killed after it."""
    if grace and process.poll() is None:
        process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(grace)
    if process.poll() is None:
        process.kill()
    process.wait()


def environment(**extra: str) -> dict[str, str]:
    """Ours, with the folders of system programs (a user's PATH may lack them)."""
    return {**os.environ, "PATH": os.environ.get("PATH", "") + ":/usr/sbin:/sbin", **extra}
