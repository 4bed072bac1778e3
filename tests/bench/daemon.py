"""The daemon itself as its own process: from exec to ready, and the memory that it then holds."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from time import perf_counter

from tests.bench.rows import Goal, Row
from tests.bench.stand import Stand
from tests.bench.sweeping import picture

_ROOT = Path(__file__).parents[2]
_RUN = [sys.executable, "-c", "from api.cli.main import main; main()", "controller"]
_IMPORTS = "import controller.bootstrap.daemon, api.cli.main"
_NOTE = (
    "start-up and memory are those of `ggnet controller` on an existing store and tree, LIO from the plain-directory tree;"
    " converged is READY=1, which it tells its notify socket after the first whole sweep; memory is VmRSS at that moment"
)


def daemon_rows(made: Stand, times: int) -> Iterator[Row]:
    starts, memory, floor, bare = [], [], [], []
    taken = picture(made, kernel=True)
    for _ in range(times):
        seconds, megabytes = _started(made)
        starts.append(seconds)
        memory.append(megabytes)
        began = perf_counter()
        bare.append(_imported())
        assert taken.same()
        floor.append(perf_counter() - began)
    floor_is = "exec + imports, then read + compare everything"
    yield Row("start-up: exec -> converged", made.count, starts, floor, Goal("ratio", 1.67), floor_is, note=_NOTE)
    limit = 150 * max(1.0, made.count / 10_000)
    yield Row(
        "memory after the first sweep", made.count, memory, bare, Goal("at most", limit), "the imports alone", unit="MB"
    )


def _environment(made: Stand, notify: Path) -> dict[str, str]:
    return {**os.environ, **made.environment(notify), "PYTHONPATH": str(_ROOT)}


def _started(made: Stand) -> tuple[float, float]:
    notify = made.folder / "notify"
    notify.unlink(missing_ok=True)
    log = made.folder / "daemon.log"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ear, log.open("wb") as out:
        ear.bind(str(notify))
        ear.settimeout(300)
        began = perf_counter()
        process = subprocess.Popen(_RUN, env=_environment(made, notify), stdout=out, stderr=out)
        try:
            while b"READY=1" not in ear.recv(4096):
                assert process.poll() is None, log.read_text()
            seconds = perf_counter() - began
            return seconds, _resident(process.pid)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)


def _imported() -> float:
    code = f"{_IMPORTS}\nprint(open('/proc/self/status').read())"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=_ROOT)
    return _megabytes(ran.stdout)


def _resident(pid: int) -> float:
    return _megabytes(Path(f"/proc/{pid}/status").read_text())


def _megabytes(status: str) -> float:
    line = next(line for line in status.splitlines() if line.startswith("VmRSS:"))
    return int(line.split()[1]) / 1024
