"""The boot server: user-mode Linux with the kernel's own iSCSI target, its root a throw-away overlay of this machine's."""

import fcntl
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.lab.agent import PORT
from tests.lab.host import CACHE, HERE, Prepared, scratch_memory
from tests.lab.wire import Wire, end, environment

ADDRESS = "10.77.0.1"
MEMORY = 2 << 30
DISK = 8 << 30  # sparse


@dataclass(frozen=True, slots=True)
class Result:
    """How a command in the guest ended; a negative code is the signal that killed it."""

    argv: tuple[str, ...]
    code: int
    out: str
    err: str

    def check(self) -> str:
        """Its output. AssertionError when it failed."""
        assert self.code == 0, f"{' '.join(self.argv)} ended with {self.code}\n{self.out}{self.err}"
        return self.out


class Processor:
    """One of this machine's processors, ours alone among the labs that run here while there are as many.

    The guest's kernel and the processes that it traces wait for one another at each system call, and never run side by
    side: spread over two processors they wake each other across them, and all that the guest does takes three to five
    times as long (measured: a system call 25 or 122 us, ``python -c 0`` 137 or 560 ms).
    """

    def __init__(self) -> None:
        folder = CACHE / "processors"
        folder.mkdir(parents=True, exist_ok=True)
        for self.number in sorted(os.sched_getaffinity(0), reverse=True):
            lock = os.open(folder / str(self.number), os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC)  # until this process ends
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(lock)
                continue
            return


class Guest:
    """``folder`` holds the server's disk (XFS with reflink), its console, and ``io``, which the guest sees as /lab/io."""

    def __init__(self, wire: Wire, prepared: Prepared, folder: Path) -> None:
        self._wire, self._prepared = wire, prepared
        self.io = folder / "io"
        self.console = folder / "console.log"
        self._disk = folder / "disk.raw"
        self._tap = wire.tap()
        self._process: subprocess.Popen[bytes] | None = None
        self._processor = Processor()
        self.io.mkdir(parents=True)
        for name in ("boot/init.sh", "boot/server.sh", "agent.py"):
            shutil.copy(HERE / name, self.io)
        (self.io / "init.sh").chmod(0o755)
        with self._disk.open("wb") as disk:
            disk.truncate(DISK)
        subprocess.run(["mkfs.xfs", "-q", "-m", "reflink=1", self._disk], check=True, env=environment())

    def boot(self) -> None:
        """Starts it with an empty kernel; what lies on its disk is still there. Returns once it takes commands."""
        settings = {"LAB_IO": self.io, "LAB_CACHE": self._prepared.modules, "LAB_ADDRESS": ADDRESS, "LAB_PYTHON": _python()}
        kernel = [
            *("linux.uml", f"mem={MEMORY >> 20}M", "root=/dev/root", "rootfstype=hostfs", "rootflags=/", "ro", "quiet"),
            *("con=null", "con0=fd:0,fd:1", f"init={self.io}/init.sh", f"ubda={self._disk}"),
            f"vec0:transport=tap,ifname={self._tap},depth=64",
            *(f'{name}="{value}"' for name, value in settings.items()),
        ]
        # Its own process numbers: when its first process ends, the kernel ends every process of the guest with it.
        on_one = ["taskset", "--cpu-list", str(self._processor.number)]
        command = self._wire.command([*on_one, "unshare", "--pid", "--fork", "--kill-child=KILL", *kernel])
        with self.console.open("ab") as console:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=subprocess.STDOUT,
                env=environment(LD_PRELOAD=str(self._prepared.preload), TMPDIR=str(scratch_memory(MEMORY))),
            )
        self._await(self._process)

    def _await(self, process: subprocess.Popen[bytes], seconds: float = 90) -> None:
        deadline = time.monotonic() + seconds
        while True:
            try:
                self.connect(PORT, timeout=1).close()
            except OSError as error:
                if process.poll() is not None or time.monotonic() > deadline:
                    tail = self.console.read_text(errors="replace")[-2000:]
                    raise RuntimeError(f"the boot server did not start\n{tail}") from error
                time.sleep(0.1)
            else:
                return

    def connect(self, port: int, timeout: float = 5) -> socket.socket:
        """A TCP connection to a port of it. OSError."""
        return self._wire.connect((ADDRESS, port), timeout)

    def run(
        self,
        command: str | Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        cwd: str = "/",
        stdin: str = "",
        timeout: float = 60,
        heard: Callable[[str], None] | None = None,
    ) -> Result:
        """Runs a command (text: by bash) in the guest and waits; ``heard`` gets its output as it comes. TimeoutError."""
        argv = ("bash", "-c", command) if isinstance(command, str) else tuple(command)
        asked = {"argv": argv, "env": dict(env or {}), "cwd": cwd, "input": stdin}
        out: list[str] = []
        err: list[str] = []
        with self.connect(PORT) as line:
            line.settimeout(timeout)
            line.sendall(json.dumps(asked).encode() + b"\n")
            with line.makefile("r", encoding="utf-8") as answers:
                for answer in map(json.loads, answers):
                    if "code" in answer:
                        return Result(argv, answer["code"], "".join(out), "".join(err))
                    text = answer.get("out", "") + answer.get("err", "")
                    (out if "out" in answer else err).append(text)
                    if heard:
                        heard(text)
        raise ConnectionError(f"the boot server went away during {' '.join(argv)}")

    def look(self, pattern: str) -> list[str]:
        """The paths that a shell pattern matches in the guest, hidden ones too; ``**`` is a folder of any depth."""
        return list(self._ask({"look": pattern})["found"])

    def read(self, path: str) -> str:
        """A file's text. AssertionError when it cannot be read."""
        answer = self._ask({"read": path})
        assert "text" in answer, answer.get("problem")
        return str(answer["text"])

    def _ask(self, question: Mapping[str, str]) -> dict[str, Any]:
        with self.connect(PORT) as line:
            line.settimeout(60)
            line.sendall(json.dumps(question).encode() + b"\n")
            with line.makefile("r", encoding="utf-8") as answers:
                found: dict[str, Any] = json.loads(answers.readline())
                return found

    def power_off(self) -> None:
        """An orderly end: what was written is on the disk."""
        if self._process is not None and self._process.poll() is None:
            self.run("sync; (sleep 0.1; umount -l /lab/disk; pkill -f /lab/io/agent.py) >/dev/null 2>&1 &")
            try:
                self._process.wait(20)
            except subprocess.TimeoutExpired:
                self.cut()

    def cut(self) -> None:
        """The power fails: nothing more is written."""
        if self._process is not None:
            end(self._process)
            self._process = None


def _python() -> str:
    """An interpreter that is there in the guest too, free of this environment."""
    return os.path.realpath(sys.executable)
