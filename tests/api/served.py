"""A REST door on a real socket over a real store, and the real command against it."""

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import anyio
import httpx

from api.app import create
from api.auth.identity import identity
from api.deps import Door
from api.serve import bind, serve
from api.token import ensure
from controller import bootstrap
from controller.adapters import migrate
from controller.adapters.clock import SystemClock
from controller.adapters.hints import LocalHints
from controller.adapters.store import SqlStore
from controller.core.names import controller_lease
from controller.ports.store import Lease, Revision, StatusWrite
from controller.settings import Settings
from manifests.load import load
from tests.api.warm import Warm

ROOT = Path(__file__).parents[2]

NETWORK = (
    "apiVersion: ggnet/v1\nkind: Network\nmetadata: {name: main}\nspec: {cidr: 10.77.0.0/24, serverAddress: 10.77.0.1}\n"
)
IMAGE = "apiVersion: ggnet/v1\nkind: Image\nmetadata: {name: win11}\nspec: {source: {path: win11.raw}}\n"


def machine(number: int, **labels: str) -> str:
    name, room = f"pc{number:02}", labels.get("room", "main")
    return (
        f"apiVersion: ggnet/v1\nkind: Machine\nmetadata: {{name: {name}, labels: {{room: {room}}}}}\n"
        f"spec: {{macs: ['52:54:00:00:00:{number:02x}'], address: 10.77.0.{number + 50}}}\n"
    )


def session(number: int, image: str = "win11", state: str = "running") -> str:
    name = f"pc{number:02}"
    return (
        f"apiVersion: ggnet/v1\nkind: Session\nmetadata: {{name: {name}}}\n"
        f"spec: {{machine: {name}, image: {image}, state: {state}}}\n"
    )


def several(*documents: str) -> str:
    return "---\n".join(documents)


SITE = several(NETWORK, IMAGE, machine(7), machine(8, room="lab"))


@dataclass
class Served:
    """One running door; ``act`` does what the controller would, on the same store."""

    url: str
    token: str
    folder: Path
    settings: Settings
    warm: Warm
    lease: list[Lease] = field(default_factory=list)

    @property
    def http(self) -> httpx.Client:
        return httpx.Client(
            base_url=self.url, headers={"Authorization": f"Bearer {self.token}"}, timeout=20, trust_env=False
        )

    def apply(self, text: str) -> None:
        with self.http as http:
            http.post("/api/v1/apply", content=text).raise_for_status()

    def lead(self, seconds: float = 3600) -> None:
        """A controller is alive for this long, and has looked at its host."""

        async def act(store: SqlStore) -> None:
            now = SystemClock().now()
            lease = await store.acquire(controller_lease("default"), "test", now, seconds)
            assert lease is not None
            self.lease[:] = [lease]

        self._on_store(act)

    def observe(self, observations: Mapping[str, str | None]) -> None:
        self._on_store(lambda store: store.report(self.lease[0], observations=observations))

    def report(self, key: str, status: Mapping[str, Any]) -> None:
        """The controller writes this status."""

        async def act(store: SqlStore) -> None:
            uid = (await store.get(key)).metadata.uid or ""
            await store.report(self.lease[0], statuses=[StatusWrite(key, uid, status)])

        self._on_store(act)

    def reach(self, key: str, phase: str, ready: str = "True", generation: int | None = None) -> None:
        """The controller reports this phase for the object's generation, or for another one."""

        async def act(store: SqlStore) -> None:
            metadata = (await store.get(key)).metadata
            seen = metadata.generation if generation is None else generation
            condition = {
                "type": "Ready",
                "status": ready,
                "reason": "Served" if ready == "True" else "Working",
                "message": "",
                "lastTransitionTime": SystemClock().now().isoformat(),
                "observedGeneration": seen,
            }
            status = {"observedGeneration": seen, "phase": phase, "conditions": [condition]}
            await store.report(self.lease[0], statuses=[StatusWrite(key, metadata.uid or "", status)])

        self._on_store(act)

    def commit(self, text: str, manager: str = "git:infra", *, prune: bool = False) -> None:
        """A source is taken over from a git repository."""
        objects = load({"set.yaml": text.encode()}).objects
        self._on_store(lambda store: store.put(objects, manager, SystemClock().now(), prune=prune))

    def record(
        self, sha: str, verdict: Any, problems: tuple[Mapping[str, Any], ...] = (), message: str = "add pc07"
    ) -> None:
        now = SystemClock().now() - timedelta(seconds=90)
        self._on_store(lambda store: store.record(Revision("infra", sha, "Ada", message, verdict, problems, now)))

    def gone(self, key: str) -> None:
        """The controller has withdrawn a deleted object."""

        async def act(store: SqlStore) -> None:
            await store.remove(key, (await store.get(key)).metadata.uid or "", SystemClock().now())

        self._on_store(act)

    def _on_store(self, act: Any) -> None:
        async def run() -> None:
            store = await SqlStore.open(self.settings.database)
            try:
                await act(store)
            finally:
                await store.close()

        anyio.run(run)

    def ggnet(self, *words: str, stdin: str = "", **more: str) -> subprocess.CompletedProcess[str]:
        """The command in a process of its own, with nothing of this one's environment but the path."""
        here = {"GGNET_STATE_DIR": str(self.folder), "GGNET_URL": self.url, "XDG_CONFIG_HOME": str(self.folder / "config")}
        surroundings = environment(**{**here, **more})
        return self.warm.run(list(words), stdin, surroundings)


def command(*words: str) -> list[str]:
    return [sys.executable, "-W", "error", "-c", "from api.cli.main import main; main()", *words]


def environment(**more: str) -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT),
        "LANG": "C.UTF-8",
        "COLUMNS": "120",
        "XDG_CONFIG_HOME": "/nonexistent",
        **more,
    }


def ggnet(*words: str, stdin: str = "", **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*words),
        input=stdin,
        capture_output=True,
        text=True,
        timeout=60,
        env=environment(**more),
        cwd="/",
        check=False,
    )


@contextmanager
def serving(folder: Path, warm: Warm, rounds: int = 4, **configured: Any) -> Iterator[Served]:
    """A door over a fresh SQLite store in this folder, or the database configured, on a free port, in its own thread.

    bcrypt's ``rounds`` are the fewest that it takes, so that a login is no wait.
    """
    settings = Settings(state_dir=folder, **configured)
    token = ensure(folder)
    sock = bind("127.0.0.1:0")
    started, scopes = threading.Event(), list[tuple[Any, anyio.CancelScope]]()

    async def run() -> None:
        await migrate.upgrade(settings.database)
        store = await SqlStore.open(settings.database)
        try:
            with anyio.CancelScope() as scope:
                scopes.append((anyio.lowlevel.current_token(), scope))
                clock = SystemClock()
                ours = identity(store, store, clock, settings, rounds)
                app = create(Door(store, clock, settings, token, LocalHints(), ours, bootstrap.outbox(settings, store)))
                started.set()
                await serve(app, sock)
        finally:
            await store.close()

    thread = threading.Thread(target=anyio.run, args=(run,))
    thread.start()
    assert started.wait(30)
    try:
        yield Served(f"http://127.0.0.1:{sock.getsockname()[1]}", token, folder, settings, warm)
    finally:
        event_loop, scope = scopes[0]
        anyio.from_thread.run_sync(scope.cancel, token=event_loop)
        thread.join(20)
        assert not thread.is_alive()
        assert isinstance(sock, socket.socket)
        sock.close()
