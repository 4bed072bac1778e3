"""Where the REST door's figures are taken: two API processes on one PostgreSQL and one Redis, and a bare one beside them."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import anyio
import httpx

from controller.adapters import migrate
from controller.adapters.clock import SystemClock
from controller.adapters.store import SqlStore
from controller.core.names import controller_lease
from tests.servers import free_port, postgres, redis

PASSWORD = "correct horse battery staple of the bench"
MACHINES = 1_000
_HERE = Path(__file__).parents[2]


def machine(number: int, turn: int = 0) -> dict[str, object]:
    macs = [f"52:54:00:00:{number >> 8:02x}:{number & 255:02x}"]
    metadata = {"name": f"pc{number:03}", "labels": {"room": f"r{number % 20}", "turn": str(turn)}}
    return {"apiVersion": "ggnet/v1", "kind": "Machine", "metadata": metadata, "spec": {"macs": macs}}


@dataclass(frozen=True)
class Doors:
    """``ports`` of ours, ``bare`` of the floor; ``token`` is an administrator's access token, from a login."""

    ports: tuple[int, int]
    bare: int
    token: str
    stalls: tuple[Path, Path]

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}

    def stalled(self, began: float, ended: float) -> float:
        """The longest time that the first one's loop kept a turn waiting between these moments, in seconds."""
        lines = (line.split() for line in self.stalls[0].read_text().splitlines())
        return max((float(late) for at, late in lines if began <= float(at) <= ended), default=0.0)


@contextmanager
def doors() -> Iterator[Doors]:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ggnet-bench-")))
        database = stack.enter_context(postgres())
        url = anyio.run(database.create, "bench")
        anyio.run(migrate.upgrade, url)
        anyio.run(_lead, url)
        ours, bare = (free_port(), free_port()), free_port()
        environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(_HERE),
            "GGNET_STATE_DIR": str(folder),
            "GGNET_DATABASE_URL": url,
            "GGNET_REDIS_URL": stack.enter_context(redis()).url,
            "BENCH_DATABASE": url,
            "GGNET_FEEDS": "0",
            **{f"GGNET_RATE_LIMIT{what}": str(10**9) for what in ("", "_ADDRESS", "_LOGIN")},  # counted, and never reached
        }
        stalls = (folder / "stalls0", folder / "stalls1")
        for port, file in zip(ours, stalls, strict=True):
            file.touch()
            own = {**environment, "GGNET_LISTEN": f"127.0.0.1:{port}"}
            stack.enter_context(running([sys.executable, "-m", "tests.bench.watched", str(file)], own, port, "/healthz"))
        stack.enter_context(running([sys.executable, "-m", "tests.bench.bare", str(bare)], environment, bare, "/hello"))
        yield Doors(ours, bare, _signed_in(ours[0], folder), stalls)


@contextmanager
def running(command: list[str], environment: dict[str, str], port: int, path: str) -> Iterator[None]:
    """What it says goes to a file nobody reads: a terminal would be what is measured."""
    with (
        tempfile.TemporaryFile() as said,
        subprocess.Popen(command, env=environment, stdout=said, stderr=said, start_new_session=True) as process,
    ):
        try:
            for _ in range(300):
                try:
                    httpx.get(f"http://127.0.0.1:{port}{path}", trust_env=False)
                    break
                except httpx.TransportError:
                    time.sleep(0.1)
                    if process.poll() is not None:
                        said.seek(0)
                        raise RuntimeError(said.read().decode()) from None
            yield
        finally:
            process.terminate()
            process.wait(20)


async def _lead(url: str) -> None:
    """A controller is alive, as it is wherever somebody asks."""
    store = await SqlStore.open(url)
    assert await store.acquire(controller_lease("default"), "bench", SystemClock().now(), 24 * 3600) is not None
    await store.close()


def _signed_in(port: int, folder: Path) -> str:
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60, trust_env=False) as http:
        local = {"Authorization": f"Bearer {(folder / 'admin.token').read_text().strip()}"}
        account = {"username": "bench", "password": PASSWORD, "role": "ADMIN"}
        http.post("/api/v1/users", json=account, headers=local).raise_for_status()
        for start in range(0, MACHINES, 200):
            some = [machine(number) for number in range(start, start + 200)]
            http.post("/api/v1/apply", json=some, headers=local).raise_for_status()
        form = {"username": "bench", "password": PASSWORD}
        answer = http.post("/api/v1/auth/login", data=form).raise_for_status().json()
        return str(answer["access_token"])
