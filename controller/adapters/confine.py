"""Runs a program on files that nobody vouches for: it reaches the descriptors that it is given, and nothing else.

What holds it is ``LAYERS``, each as far as this host allows it; none relies on another. What could be had is told with
the result. As root, with nothing that keeps it from the files of the host, it is not run at all. It is called from a
thread, and waits there.
"""

import os
import pwd
import selectors
import signal
import socket
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path

from controller.adapters import command
from controller.adapters.command import Process, Result

USER, NOBODY = "ggnet-convert", "nobody"
LAYERS = ("user", "network", "capabilities", "limits", "landlock", "system-calls", "opened-files")
_BOOT = "import sys; sys.path.insert(0, sys.argv.pop(1)); from controller.adapters.confined.launch import main; main()"
_ROOT = Path(__file__).parent.parent.parent
_TICK = 0.1  # how soon a job that nobody waits for any more is noticed
_SAID = 1 << 20


class Unconfined(Exception):
    """It was not run, because it could not be confined."""


class OverTime(Exception):
    """It did not end in its time, and was killed."""


@dataclass(frozen=True, slots=True)
class Limits:
    """``seconds`` by the clock, ``cpu`` seconds of processor, ``memory`` and ``largest`` file in bytes."""

    seconds: float = 120
    cpu: int = 60
    memory: int = 1 << 30
    largest: int = 0

    def told(self) -> dict[str, int]:
        return {
            "RLIMIT_AS": self.memory,
            "RLIMIT_CPU": self.cpu,
            "RLIMIT_FSIZE": self.largest,
            "RLIMIT_STACK": 1 << 20,  # of each thread too: else they would be most of the memory that is counted
            "RLIMIT_NOFILE": 64,
            "RLIMIT_NPROC": 512,
            "RLIMIT_CORE": 0,
        }


@dataclass(frozen=True, slots=True)
class Ran:
    """``layers`` are those that held."""

    result: Result
    layers: tuple[str, ...]


def idle(_: str) -> None:
    """For ``check``, where nobody gives up."""


def run(
    argv: Sequence[str],
    files: Mapping[int, bool],
    *,
    limits: Limits,
    check: Callable[[str], None] = idle,
    hear: Callable[[bytes], None] | None = None,
    layers: Sequence[str] = LAYERS,
) -> Ran:
    """``argv`` to its end, whatever its code. CommandMissing, Unconfined, OverTime, and what ``check`` raises.

    ``files``: descriptor -> may be written; the program opens it as ``/dev/fd/N``. ``hear`` is given what it says as it
    does. When this returns or raises, the program has ended.
    """
    program = command.find(argv[0])
    if program is None:
        raise command.CommandMissing(argv[0], "is not there")
    with ExitStack() as stack:
        talk = _Talk.begin(stack, [str(program), *argv[1:]], files, limits, layers)
        try:
            return talk.attend(limits.seconds, check, hear)
        finally:
            talk.end()


@dataclass(slots=True)
class _Talk:
    """The launcher, and what it and the program say."""

    program: str
    process: Process
    control: socket.socket
    pipes: Mapping[int, str]
    said: dict[str, bytearray] = field(default_factory=lambda: {name: bytearray() for name in ("control", "out", "err")})

    @classmethod
    def begin(
        cls, stack: ExitStack, argv: Sequence[str], files: Mapping[int, bool], limits: Limits, layers: Sequence[str]
    ) -> "_Talk":
        control, far = (stack.enter_context(one) for one in socket.socketpair())
        pipes = [os.pipe2(os.O_CLOEXEC) for _ in range(2)]
        null = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        theirs = [null, *(end[1] for end in pipes)]
        for near, _ in pipes:
            stack.callback(os.close, near)
        words = [str(far.fileno()), _user(), _pairs({fd: "w" if write else "r" for fd, write in files.items()})]
        words += [_pairs(limits.told()), ",".join(layers)]
        boot = [sys.executable, "-I", "-S", "-c", _BOOT, str(_ROOT)]
        try:
            process = command.start(
                [*boot, *words, *argv], *theirs, env={"MALLOC_ARENA_MAX": "2"}, pass_fds=(*files, far.fileno())
            )
        finally:
            far.close()
            for fd in theirs:
                os.close(fd)
        names = {control.fileno(): "control", pipes[0][0]: "out", pipes[1][0]: "err"}
        return cls(Path(argv[0]).name, process, control, names)

    def attend(self, seconds: float, check: Callable[[str], None], hear: Callable[[bytes], None] | None) -> Ran:
        began = time.monotonic()
        with selectors.DefaultSelector() as selector:
            for fd in self.pipes:
                selector.register(fd, selectors.EVENT_READ)
            while selector.get_map():
                check(f"running {self.program}")
                if time.monotonic() - began > seconds:
                    raise OverTime(f"{self.program} did not end within {seconds:g} s")
                for key, _ in selector.select(_TICK):
                    if not self._read(key.fd, hear):
                        selector.unregister(key.fd)
        code = self.process.wait()
        layers = self._layers()
        out, err = bytes(self.said["out"]), bytes(self.said["err"])
        return Ran(Result(self.program, code, out, err, time.monotonic() - began), layers)

    def _read(self, fd: int, hear: Callable[[bytes], None] | None) -> bool:
        name = self.pipes[fd]
        data = os.read(fd, 1 << 16)
        if name == "out" and hear is not None:
            hear(data)
        elif len(self.said[name]) < _SAID:
            self.said[name] += data
        return bool(data)

    def _layers(self) -> tuple[str, ...]:
        if not self.said["control"]:
            tail = Result(self.program, 0, b"", bytes(self.said["err"]), 0).tail
            raise Unconfined(f"{self.program} could not be confined" + (f": {tail}" if tail else ""))
        held, _, refused = self.said["control"].decode().strip().partition(":")
        if refused:
            raise Unconfined(f"{self.program} was not run: {refused}")
        return tuple(layer for layer in LAYERS if layer in held.split(","))

    def end(self) -> None:
        """The launcher kills the program when the line to it is closed; it is killed itself where it does not answer."""
        if self.process.returncode is not None:
            return
        self.control.close()
        if not command.ended(self.process, 5):
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


def _user() -> str:
    """Whom root becomes; nobody else can become anybody."""
    if os.geteuid() == 0:
        for name in (USER, NOBODY):
            with suppress(KeyError):
                found = pwd.getpwnam(name)
                return f"{found.pw_uid}:{found.pw_gid}"
    return ""


def _pairs(values: Mapping[int, str] | Mapping[str, int]) -> str:
    return ",".join(f"{name}:{value}" for name, value in values.items())
