"""Uploads beside `dd` with an fsync, of the same file to the same disk, in turns.

    python -m tests.bench.uploading [--mib N]

Client, server and disk share this machine. The disk has to be left with 15 % free, or the server takes nothing.
"""

import argparse
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from tests.bench.doors import running
from tests.bench.rows import Goal, Row, show
from tests.servers import free_port

_HERE = Path(__file__).parents[2]
_TUS = {"Tus-Resumable": "1.0.0"}
_LEAST = 0.6  # of what dd does
_COMMAND = "from api.cli.main import main; main()"


@dataclass(frozen=True)
class Stand:
    folder: Path
    port: int
    source: Path

    @property
    def environment(self) -> dict[str, str]:
        own = {"PATH": os.environ["PATH"], "PYTHONPATH": str(_HERE), "GGNET_STATE_DIR": str(self.folder)}
        return {**own, "GGNET_LISTEN": f"127.0.0.1:{self.port}", "GGNET_LOG_LEVEL": "warning"}

    @property
    def headers(self) -> dict[str, str]:
        return {**_TUS, "Authorization": f"Bearer {(self.folder / 'admin.token').read_text().strip()}"}

    def in_one_piece(self) -> None:
        """By the system's own way from a file to a socket, so that what is measured is the server."""
        size = self.source.stat().st_size
        with self._http() as http:
            answer = http.post("/api/v1/uploads", headers={"Upload-Length": str(size)}).raise_for_status()
            with self.source.open("rb") as file, socket.create_connection(("127.0.0.1", self.port)) as sock:
                told = {**self.headers, "Host": "bench", "Upload-Offset": "0", "Content-Length": str(size)}
                told["Content-Type"] = "application/offset+octet-stream"
                head = "".join(f"{name}: {value}\r\n" for name, value in told.items())
                sock.sendall(f"PATCH {answer.headers['Location']} HTTP/1.1\r\n{head}\r\n".encode())
                sock.sendfile(file)
                assert sock.recv(4096).startswith(b"HTTP/1.1 204"), "it was taken"

    def by_the_command(self) -> None:
        """With digests, in pieces. What the Image is answered, which is then asked for, is not measured here."""
        done = subprocess.run(
            [sys.executable, "-c", _COMMAND, "image", "upload", str(self.source), "--name", "bench"],
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert "is on the server" in done.stdout, done.stderr

    def dd(self) -> None:
        target = self.folder / "dd"
        subprocess.run(["dd", f"if={self.source}", f"of={target}", "bs=1M", "conv=fsync", "status=none"], check=True)

    def clean(self) -> None:
        (self.folder / "dd").unlink(missing_ok=True)
        with self._http() as http:
            for one in http.get("/api/v1/uploads").raise_for_status().json()["items"]:
                assert one["complete"]
                http.delete(f"/api/v1/uploads/{one['id']}").raise_for_status()
        os.sync()

    def _http(self) -> httpx.Client:
        base = f"http://127.0.0.1:{self.port}"
        return httpx.Client(base_url=base, headers=self.headers, trust_env=False, timeout=60)


def upload_rows(mib: int, times: int) -> Iterator[Row]:
    with _stand(mib) as (stand, stalls):
        stand.in_one_piece()
        stand.clean()
        began = time.monotonic()
        works = {"one": stand.in_one_piece, "command": stand.by_the_command, "dd": stand.dd}
        samples: dict[str, list[float]] = {name: [] for name in works}
        for _ in range(times):
            for name, work in works.items():
                samples[name].append(_elapsed(work))
                stand.clean()
        goal, floor_is = Goal("ratio", 1 / _LEAST), "dd conv=fsync, same file, same disk"
        rows = (("one", "upload, one PATCH", goal), ("command", "ggnet image upload: digests made and checked here", None))
        for name, work_is, least in rows:
            rate = mib / sorted(samples[name])[times // 2]
            yield Row(f"{work_is}: {rate:.0f} MiB/s", mib, samples[name], samples["dd"], least, floor_is)
        lines = (line.split() for line in stalls.read_text().splitlines())
        longest = max((float(late) for at, late in lines if float(at) >= began), default=0.0)
        yield Row("longest stall of the API's loop meanwhile", mib, [longest], goal=Goal("at most", 0.05))


@contextmanager
def _stand(mib: int) -> Iterator[tuple[Stand, Path]]:
    with tempfile.TemporaryDirectory(prefix="ggnet-bench-") as name:
        folder = Path(name)
        source, stalls, stand = folder / "source", folder / "stalls", Stand(folder, free_port(), folder / "source")
        with source.open("wb") as file:
            for _ in range(mib):
                file.write(os.urandom(1 << 20))
        os.sync()
        stalls.touch()
        watched = [sys.executable, "-m", "tests.bench.watched", str(stalls)]
        with running(watched, stand.environment, stand.port, "/healthz"):
            yield stand, stalls


def _elapsed(work: Callable[[], None]) -> float:
    """Wall clock: it is the disk that is waited for."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.uploading", description=__doc__)
    parser.add_argument("--mib", type=int, default=1024, metavar="N", help="size of the file")
    asked = parser.parse_args()
    show(list(upload_rows(asked.mib, 3)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
