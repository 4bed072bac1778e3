"""A line that breaks: a relay on loopback that cuts each connection after so many bytes from its client."""

import socket
import struct
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

_RESET = struct.pack("ii", 1, 0)


@dataclass
class Line:
    """``cuts``: after how many bytes it is cut, and then after how many more; at last it is whole.

    Before more than ``limit`` have passed on one connection it stands still, until that is raised.
    """

    port: int
    target: int
    cuts: Sequence[int]
    limit: int = 1 << 62
    passed: int = 0
    done: list[int] = field(default_factory=list)

    def carry(self, near: socket.socket) -> None:
        try:
            far = socket.create_connection(("127.0.0.1", self.target))
        except ConnectionRefusedError:
            near.close()
            return
        with near, far:
            back = threading.Thread(target=_pump, args=(far, near))
            back.start()
            with suppress(OSError):
                while data := near.recv(1 << 16):
                    self.passed += len(data)
                    if len(self.done) < len(self.cuts) and self.passed > self.cuts[len(self.done)]:
                        self.done.append(self.passed)
                        self.passed = 0
                        for end in (near, far):
                            end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                        break
                    while self.passed > self.limit:
                        time.sleep(0.005)
                    far.sendall(data)
            for end in (near, far):
                with suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
            back.join()


def _pump(far: socket.socket, near: socket.socket) -> None:
    with suppress(OSError):
        while data := far.recv(1 << 16):
            near.sendall(data)
    with suppress(OSError):
        near.shutdown(socket.SHUT_WR)


@contextmanager
def cutting(target: int, cuts: Sequence[int]) -> Iterator[Line]:
    threads: list[threading.Thread] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        line = Line(listener.getsockname()[1], target, cuts)

        def accept() -> None:
            with suppress(OSError):
                while True:
                    near, _ = listener.accept()
                    threads.append(threading.Thread(target=line.carry, args=(near,)))
                    threads[-1].start()

        taking = threading.Thread(target=accept)
        taking.start()
        try:
            yield line
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            taking.join()
            for thread in threads:
                thread.join(20)
