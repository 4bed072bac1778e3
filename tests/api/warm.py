"""The command without its start: a process that has imported it forks for each run.

What runs is the whole command in a process of its own, with its own arguments, environment and files; only the seconds
that its imports take are shared. A request is a packet of JSON with the files that the run has, and the end of a line on
which its process id is told, and later how it ended.
"""

import atexit
import gc
import io
import json
import os
import selectors
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO, NoReturn, Self

_ROOT = Path(__file__).parents[2]
_SECONDS = 60
_TOLD = struct.Struct("i")
_REQUEST = 1 << 16


class Started:
    """One run; what it has of ``subprocess.Popen`` is as there."""

    def __init__(self, words: Sequence[str], line: socket.socket, stdout: IO[str] | None, stderr: IO[str] | None) -> None:
        self.words, self.stdout, self.stderr, self._line = words, stdout, stderr, line
        self.pid: int = self._told(_SECONDS)
        self.returncode: int | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for one in (self.stdout, self.stderr):
            if one is not None:
                one.close()
        self.wait()
        self._line.close()

    def poll(self) -> int | None:
        try:
            return self.wait(0)
        except subprocess.TimeoutExpired:
            return None

    def wait(self, timeout: float | None = None) -> int:
        if self.returncode is None:
            self.returncode = self._told(timeout)
        return self.returncode

    def _told(self, timeout: float | None) -> int:
        self._line.settimeout(timeout)
        try:
            told: int = _TOLD.unpack(self._line.recv(_TOLD.size))[0]
        except (TimeoutError, BlockingIOError):
            raise subprocess.TimeoutExpired(list(self.words), timeout or 0) from None
        return told

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """What was not read yet, once it has ended: no more than a pipe holds."""
        self.wait(timeout)
        return self.stdout.read() if self.stdout else "", self.stderr.read() if self.stderr else ""


class Warm:
    """One warm command, and the runs that it is asked for."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._line, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        number = theirs.fileno()
        program = [sys.executable, "-W", "error", "-m", "tests.api.warm", str(number)]
        self._process = subprocess.Popen(program, env=dict(environment), cwd=_ROOT, pass_fds=[number])
        theirs.close()

    def close(self) -> None:
        self._line.close()
        self._process.wait(_SECONDS)

    def start(
        self,
        words: Sequence[str],
        environment: Mapping[str, str],
        *,
        stdin: int = subprocess.DEVNULL,
        stdout: int = subprocess.DEVNULL,
        stderr: int = subprocess.DEVNULL,
    ) -> Started:
        """Files are given by their numbers, or as ``subprocess.DEVNULL`` or ``PIPE``."""
        request = json.dumps({"words": list(words), "environment": dict(environment)}).encode()
        assert len(request) <= _REQUEST
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        files, pipes, opened = list[int](), list[IO[str] | None](), [theirs.fileno()]
        for wanted in (stdin, stdout, stderr):
            file, pipe = _file(wanted)
            files.append(file)
            pipes.append(pipe)
            opened += [file] if file != wanted else []
        socket.send_fds(self._line, [request], [*files, theirs.detach()])
        for one in opened:
            os.close(one)
        return Started(words, ours, pipes[1], pipes[2])

    def run(self, words: Sequence[str], stdin: str, environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
        """Until it has ended, as ``subprocess.run``."""
        with tempfile.TemporaryFile("w+") as given, tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
            given.write(stdin)
            given.seek(0)
            files = {"stdin": given.fileno(), "stdout": out.fileno(), "stderr": err.fileno()}
            with self.start(words, environment, **files) as one:
                try:
                    code = one.wait(_SECONDS)
                finally:
                    one.kill()
            out.seek(0)
            err.seek(0)
            return subprocess.CompletedProcess(list(words), code, out.read(), err.read())


def _file(wanted: int) -> tuple[int, IO[str] | None]:
    """What the run gets, and what its pipe is read by."""
    if wanted == subprocess.DEVNULL:
        return os.open(os.devnull, os.O_RDWR), None
    if wanted == subprocess.PIPE:
        read, write = os.pipe()
        return write, os.fdopen(read)
    return wanted, None


def child(words: list[str], environment: dict[str, str], files: Sequence[int]) -> NoReturn:
    """Becomes the command."""
    for descriptor, file in enumerate(files):
        os.dup2(file, descriptor)
    os.closerange(3, 1024)  # those of other runs
    os.environ.clear()
    os.environ.update(environment)
    os.chdir("/")
    sys.stdin = open(0, closefd=False)  # noqa: SIM115 the parent's was another file
    if "PYTHONUNBUFFERED" in environment:
        sys.stdout, sys.stderr = (io.TextIOWrapper(os.fdopen(one, "wb", 0), write_through=True) for one in (1, 2))
    elif os.isatty(1):
        sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115 line by line
    sys.argv = ["ggnet", *words]
    from api.cli.main import main

    try:
        main()
    except SystemExit as ended:  # what it refers to is not let go, as at the end of a process of its own
        end(ended.code if isinstance(ended.code, int) else int(ended.code is not None))
    end(0)


def end(code: int) -> NoReturn:
    """As the interpreter does; but what was shared is not taken apart, which would take longer than most runs."""
    for thread in threading.enumerate():
        if thread is not threading.current_thread() and not thread.daemon:
            thread.join()
    gc.collect()  # it warns of what was not closed
    atexit._run_exitfuncs()
    for file in (sys.stdout, sys.stderr):
        if not file.closed:
            file.flush()
    os._exit(code)


def load() -> None:
    """All that a verb or a daemon imports when it runs."""
    import typer._adapters
    import uvicorn.protocols.websockets.websockets_sansio_impl
    import yaml
    from httpx import Client

    from api import app, serve
    from api.cli import main
    from controller.adapters import migrate
    from controller.bootstrap import archives, daemon, doors
    from controller.settings import Settings
    from manifests import load, references

    loaded = (typer, uvicorn, yaml, app, serve, main, archives, daemon, doors, migrate, Settings, load, references)
    assert all(loaded)
    Client(verify=False).close()
    gc.collect()
    gc.freeze()


def serve(line: socket.socket) -> None:
    """Until nobody can ask any more."""
    running = dict[int, tuple[int, int]]()
    with selectors.DefaultSelector() as ready:
        ready.register(line, selectors.EVENT_READ)
        while True:
            for key, _ in ready.select():
                if key.fd != line.fileno():
                    ready.unregister(key.fd)
                    os.close(key.fd)
                    _tell(*running.pop(key.fd))
                    continue
                packet, files, *_ = socket.recv_fds(line, _REQUEST, 4)
                if not packet:
                    return
                pid = os.fork()
                if pid == 0:
                    ready.close()
                    line.close()
                    child(**json.loads(packet), files=files[:3])
                told = files.pop()
                os.write(told, _TOLD.pack(pid))
                end = os.pidfd_open(pid)
                running[end] = pid, told
                ready.register(end, selectors.EVENT_READ)
                for file in files:
                    os.close(file)


def _tell(pid: int, told: int) -> None:
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    with suppress(BrokenPipeError):  # nobody waits for it
        os.write(told, _TOLD.pack(code))
    os.close(told)


if __name__ == "__main__":
    load()
    with socket.socket(fileno=int(sys.argv[1])) as asked:
        serve(asked)
