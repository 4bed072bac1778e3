"""The one door to other programs.

No shell, an explicit environment, a time limit, and output that is captured and bounded. A program that outlives its
limit, or whose caller is cancelled, is killed with its whole process group. One that ends well and leaves a daemon
behind (a restart script) is done when it exits, whoever still holds its output open.

It is started by ``subprocess`` and not by the event loop: uvloop copies the whole process to start another (fork), where
vfork copies nothing.
"""

import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import anyio

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
ENVIRONMENT = {"PATH": PATH, "LC_ALL": "C.UTF-8"}
_LINGER = 0.2
Process = subprocess.Popen[bytes]


class CommandError(Exception):
    """A program did not do what it was started for. ``program`` is its name, ``tail`` the last lines that it said."""

    def __init__(self, program: str, message: str, tail: str = "") -> None:
        super().__init__(f"{program} {message}" + (f": {tail}" if tail else ""))
        self.program = program
        self.tail = tail


class CommandMissing(CommandError):
    """The program, or the folder to run it in, is not there or may not be used."""


class CommandFailed(CommandError):
    """It ended with a code that means failure; ``code`` is negative for a signal."""

    def __init__(self, program: str, code: int, tail: str) -> None:
        super().__init__(program, f"ended with code {code}" if code >= 0 else f"was ended by signal {-code}", tail)
        self.code = code


class CommandOverrun(CommandError):
    """It took too long, or said more than anybody may keep, and was killed."""


@dataclass(frozen=True, slots=True)
class Result:
    """How a program ended: its code, what it said (bytes), and how many seconds it took."""

    program: str
    code: int
    out: bytes
    err: bytes
    seconds: float

    @property
    def text(self) -> str:
        return self.out.decode("utf-8", "replace")

    @property
    def tail(self) -> str:
        """The last lines of its errors, or of its output when it had none, as one printable line."""
        lines = (self.err.strip() or self.out.strip())[-2000:].decode("utf-8", "replace").splitlines()[-5:]
        return " | ".join("".join(c if c.isprintable() else " " for c in line).strip() for line in lines)[-600:]

    def check(self) -> "Result":
        """Itself, if the code is 0. CommandFailed."""
        if self.code:
            raise CommandFailed(self.program, self.code, self.tail)
        return self


def find(program: str) -> Path | None:
    """Where ``program`` is, on the path that ``run`` searches."""
    found = shutil.which(program, path=PATH)
    return Path(found) if found else None


async def run(
    argv: Sequence[str | Path],
    *,
    timeout: float,  # noqa: ASYNC109
    input: bytes = b"",
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    limit: int = 64 << 20,
) -> Result:
    """Run ``argv`` to its end, whatever its code. CommandMissing, CommandOverrun (``timeout`` s, ``limit`` bytes a stream).

    ``env`` adds to ``ENVIRONMENT``; nothing is inherited.
    """
    words = [str(word) for word in argv]
    program = Path(words[0]).name
    started = anyio.current_time()
    with _stdin(input) as stdin, _Pipe.made(limit) as out, _Pipe.made(limit) as err:
        process = start(words, stdin, out.far, err.far, cwd=cwd, env=env)
        try:
            with anyio.fail_after(timeout):
                await _drain(process, out, err)
        except TimeoutError:
            raise CommandOverrun(program, f"was ended after {timeout:g} s", _tail(program, out, err)) from None
        finally:
            await _end(process)
        if out.full or err.full:
            raise CommandOverrun(program, f"was ended after {limit} bytes of output")
        code = process.returncode
        assert code is not None, f"{program} was waited for"
        return Result(program, code, bytes(out.data), bytes(err.data), anyio.current_time() - started)


def start(
    words: Sequence[str],
    stdin: int,
    out: int,
    err: int,
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    pass_fds: Sequence[int] = (),
) -> Process:
    """Start a program at the head of a group of its own; it has ``pass_fds`` under their numbers. CommandMissing."""
    try:
        return subprocess.Popen(
            words,
            stdin=stdin,
            stdout=out,
            stderr=err,
            cwd=cwd,
            env={**ENVIRONMENT, **(env or {})},
            start_new_session=True,
            pass_fds=pass_fds,
        )
    except (OSError, ValueError) as error:
        raise CommandMissing(Path(words[0]).name, f"cannot be run: {error}") from error


def ended(process: Process, seconds: float) -> bool:
    """Whether it ends in that time."""
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        return False
    return True


@dataclass(slots=True)
class _Pipe:
    """A stream of the program's: we read at ``near``, it writes at ``far``; ``full`` once it said more than ``limit``."""

    near: int
    far: int
    limit: int
    data: bytearray = field(default_factory=bytearray)
    full: bool = False

    @classmethod
    @contextlib.contextmanager
    def made(cls, limit: int) -> Iterator["_Pipe"]:
        near, far = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(near, False)
        pipe = cls(near, far, limit)
        try:
            yield pipe
        finally:
            os.close(near)
            pipe.close_far()

    def close_far(self) -> None:
        if self.far >= 0:
            os.close(self.far)
            self.far = -1

    async def read(self, scope: anyio.CancelScope) -> None:
        """To the end of the stream; over the limit, ends ``scope``."""
        while True:
            await anyio.wait_readable(self.near)
            chunk = os.read(self.near, 1 << 16)
            if not chunk:
                return
            self.data += chunk
            if len(self.data) > self.limit:
                self.full = True
                scope.cancel()


async def _drain(process: Process, out: _Pipe, err: _Pipe) -> None:
    out.close_far()
    err.close_far()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(out.read, tasks.cancel_scope)
        tasks.start_soon(err.read, tasks.cancel_scope)
        await _ended(process)
        tasks.cancel_scope.deadline = anyio.current_time() + _LINGER


async def _ended(process: Process) -> None:
    """Once it has ended, which makes its descriptor readable (pidfd_open(2)): no thread waits for it, and no signal."""
    fd = os.pidfd_open(process.pid)
    try:
        await anyio.wait_readable(fd)
    finally:
        os.close(fd)
    process.wait()


async def _end(process: Process) -> None:
    """Kills the group of a process that still runs, and reaps it; one stuck in the kernel is left to the kernel."""
    if process.returncode is not None:
        return
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    with anyio.move_on_after(5, shield=True):
        await _ended(process)


@contextlib.contextmanager
def _stdin(data: bytes) -> Iterator[int]:
    fd = os.memfd_create("stdin", os.MFD_CLOEXEC)
    try:
        with os.fdopen(os.dup(fd), "wb") as file:
            file.write(data)
        os.lseek(fd, 0, os.SEEK_SET)
        yield fd
    finally:
        os.close(fd)


def _tail(program: str, out: _Pipe, err: _Pipe) -> str:
    return Result(program, 0, bytes(out.data), bytes(err.data), 0).tail
