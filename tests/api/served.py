"""A REST door on a real socket over a real store, and the real command against it."""

import atexit
import logging
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import anyio
import httpx
from fastapi import FastAPI
from starlette.requests import HTTPConnection

from api.app import create
from api.auth.identity import identity
from api.complete import complete
from api.deps import Door, Principal
from api.edge.bounds import Bounds
from api.loop import LOOP
from api.roles import SCOPES, Role, Scope, capped
from api.serve import bind, serve
from api.token import ensure
from controller.adapters import migrate
from controller.adapters.clock import SystemClock
from controller.adapters.hints import LocalHints
from controller.adapters.store import SqlStore
from controller.bootstrap import doors
from controller.core.names import controller_lease
from controller.ports.permission import Binding
from controller.ports.rates import Rates
from controller.ports.store import Event, Lease, Revision, StatusWrite
from controller.settings import Settings
from manifests.commits import COMMIT
from manifests.load import load
from tests.api.warm import Warm
from tests.contracts.stores import TOLD

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
    app: list[FastAPI] = field(default_factory=list)

    @property
    def http(self) -> httpx.Client:
        return self.signed()

    def signed(self, **headers: str) -> httpx.Client:
        both = {"Authorization": f"Bearer {self.token}", **headers}
        # To read the trusted certificates takes longer than most requests, and none is asked for.
        return httpx.Client(base_url=self.url, headers=both, timeout=60, trust_env=False, verify=False)

    def acting(self, name: str, role: Role, *scopes: str) -> httpx.Client:
        """Signed in as somebody of this role, where that is believed; with ``scopes`` by an API key of theirs."""
        told = {"X-Test-Name": name, "X-Test-Role": role}
        return self.signed(**told, **({"X-Test-Scopes": " ".join(scopes)} if scopes else {}))

    def bind(self, user: str, *verbs: str, selector: str = "room=main", narrows: bool = False) -> str:
        """Makes the account if there is none. The binding's id."""
        account = {"username": user, "password": "a sentence of my own"}
        wanted = {"user": user, "verbs": verbs, "labelSelector": selector, "narrows": narrows}
        with self.http as http:
            assert http.post("/api/v1/users", json=account).status_code in (201, 409)
            return str(http.post("/api/v1/bindings", json=wanted).raise_for_status().json()["id"])

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

    def tell(self, *keys: str) -> None:
        """The controller has something to say of each."""
        now = self.now()
        events = [Event(key, "Normal", "Drifted", f"{key} was put right", now, now) for key in keys]
        self._on_store(lambda store: store.tell(events))

    def finish(self, key: str, reason: str, message: str) -> None:
        """The controller says how a commit ended, which is asked for no more."""

        async def act(store: SqlStore) -> None:
            now = self.now()
            await store.tell([Event(key, "Normal", reason, message, now, now)])
            await store.annotate(key, {COMMIT: None})

        self._on_store(act)

    def bound_elsewhere(self, binding: Binding) -> None:
        """Another process on the same database binds somebody."""

        async def bind() -> None:
            store = await SqlStore.open(self.settings.database)
            await store.bind(binding, TOLD)
            await store.close()

        anyio.run(bind)

    def now(self) -> datetime:
        return SystemClock().now()

    def gone(self, key: str) -> None:
        """The controller has withdrawn a deleted object."""

        async def act(store: SqlStore) -> None:
            await store.remove(key, (await store.get(key)).metadata.uid or "", SystemClock().now())

        self._on_store(act)

    def _on_store(self, act: Callable[[SqlStore], Coroutine[Any, Any, Any]]) -> None:
        anyio.from_thread.run(act, self.app[0].state.door.store, token=self.app[0].state.loop)

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


@cache
def warm() -> Warm:
    """The one of this process."""
    made = Warm(environment())
    atexit.register(made.close)
    return made


def ggnet(*words: str, stdin: str = "", **more: str) -> subprocess.CompletedProcess[str]:
    return warm().run(words, stdin, environment(**more))


def asking(name: str, role: Role) -> Callable[[HTTPConnection], Awaitable[Principal]]:
    """For ``app.state.identify``: everybody is this one."""

    async def identify(request: HTTPConnection) -> Principal:
        return Principal(name, role, "192.0.2.1", request.scope["request_id"])

    return identify


async def _announced(request: HTTPConnection) -> Principal:
    """Whoever the request says it is; the administrator if it says nothing."""
    name, role = request.headers.get("X-Test-Name", "admin"), Role(request.headers.get("X-Test-Role", "ADMIN"))
    told = request.headers.get("X-Test-Scopes")
    scopes = SCOPES if told is None else frozenset(Scope(one) for one in told.split())
    key, family = ("key", "") if told else ("", "family")
    return Principal(name, capped(role, scopes), "127.0.0.1", request.scope["request_id"], "", scopes, key, "jti", family)


class _Failures(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.told: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info:
            self.told.append(f"{record.getMessage().strip()}: {record.exc_info[1]!r}")


@contextmanager
def _none_uncaught() -> Iterator[None]:
    failures, log = _Failures(), logging.getLogger("uvicorn.error")
    log.addHandler(failures)
    try:
        yield
    finally:
        log.removeHandler(failures)
    assert failures.told == [], "what no layer of ours has caught"


_NEW = Path(tempfile.mkdtemp(prefix="ggnet-new-"))
"""Where a new SQLite database with its schema lies: to copy it takes no time."""
atexit.register(shutil.rmtree, _NEW)


async def _schema(settings: Settings) -> None:
    file = settings.state_dir / "ggnet.db"
    if settings.database_url is not None or file.exists():
        await migrate.upgrade(settings.database)
        return
    template = _NEW / "ggnet.db"
    if not template.exists():
        await migrate.upgrade(f"sqlite:///{template}")
    shutil.copy(template, file)


@contextmanager
def serving(
    folder: Path,
    warm: Warm,
    rounds: int = 4,
    *,
    announced: bool = False,
    bounds: Bounds | None = None,
    rates: Callable[[], Rates] | None = None,
    **configured: Any,
) -> Iterator[Served]:
    """A door over a fresh SQLite store in this folder, or the database configured, on a free port, in its own thread.

    bcrypt's ``rounds`` are the fewest that it takes, so that a login is no wait. ``announced``: who asks is what the
    request says (``Served.acting``), so that a test need not sign anybody in.
    """
    settings = Settings(state_dir=folder, **configured)
    token = ensure(folder)
    sock = bind("127.0.0.1:0")
    started, scopes = threading.Event(), list[tuple[Any, anyio.CancelScope]]()
    apps: list[FastAPI] = []

    async def run() -> None:
        await _schema(settings)
        store, counting = await SqlStore.open(settings.database), rates() if rates else None
        try:
            with anyio.CancelScope() as scope:
                scopes.append((anyio.lowlevel.current_token(), scope))
                clock = SystemClock()
                ours = identity(store, store, clock, settings, rounds)
                outbox = doors.outbox(settings, store)
                uploads = doors.uploads(settings, store)
                door = Door(store, clock, settings, token, LocalHints(), ours, outbox, uploads, counting)
                app = create(door, bounds or Bounds())
                if announced:
                    app.state.identify = _announced
                app.state.loop = anyio.lowlevel.current_token()
                apps.append(app)
                await complete(app)  # while nobody else sets warnings aside, as pytest does for each test
                started.set()
                await serve(app, sock)
        finally:
            await store.close()
            if counting is not None:
                await counting.close()

    thread = threading.Thread(target=lambda: anyio.run(run, backend_options=LOOP))
    with _none_uncaught():
        thread.start()
        assert started.wait(60)
        try:
            yield Served(f"http://127.0.0.1:{sock.getsockname()[1]}", token, folder, settings, warm, app=apps)
        finally:
            event_loop, scope = scopes[0]
            anyio.from_thread.run_sync(scope.cancel, token=event_loop)
            thread.join(20)
            assert not thread.is_alive()
            assert isinstance(sock, socket.socket)
            sock.close()
