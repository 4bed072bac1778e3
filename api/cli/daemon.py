"""The daemons, and what an administrator does beside them: ``up``, ``api``, ``controller``, ``migrate``, ``doctor``.

These alone meet the composition root; the other verbs are clients.
"""

import gc
import signal
import socket
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from api.cli import client, output
from api.cli.failure import CHANGES, ERROR, Failure

if TYPE_CHECKING:
    from api.deps import Door
    from controller.bootstrap.stores import Persistence
    from controller.ports.clock import Clock
    from controller.ports.hints import Hints
    from controller.ports.traces import Traces
    from controller.settings import Settings

T = TypeVar("T")
_USUAL = gc.get_threshold()
Simulate = Annotated[bool, typer.Option("--simulate", help="A data plane in memory; every status says so.")]


def up(simulate: Simulate = False) -> None:
    """Run everything in one process: the controller, and the API on GGNET_LISTEN.

    Examples:

      ggnet up

      GGNET_MANIFESTS=./manifests ggnet up --simulate
    """
    from controller.bootstrap import daemon

    settings = read_settings()
    sock, token = _open(settings)

    with _telling_of(settings, token) as traces:

        async def door(store: "Persistence", hints: "Hints", clock: "Clock") -> None:
            await _serve(settings, (store, hints), clock, token, traces, sock)

        _run(lambda: daemon.run_all(settings, simulate, door))


def api() -> None:
    """Run the API alone: it needs the store and no privileges.

    Example:

      GGNET_DATABASE_URL=postgresql+asyncpg://ggnet@db/ggnet ggnet api
    """
    from controller.bootstrap import here, stores

    settings = read_settings()
    sock, token = _open(settings)

    with _telling_of(settings, token) as traces:

        async def door() -> None:
            async with stores.open_store(settings) as persistence:
                await _serve(settings, persistence, here.clock(), token, traces, sock)

        _run(door)


def controller(simulate: Simulate = False) -> None:
    """Run this boot server's controller alone: the only writer of its LIO, dhcpd and TFTP tree.

    Example:

      ggnet controller
    """
    from controller.bootstrap import daemon

    settings = read_settings()
    with _telling_of(settings):
        _run(lambda: daemon.run_controller(settings, simulate))


def migrate(
    check: Annotated[bool, typer.Option("--check", help="Only say whether it is needed (exit code 2).")] = False,
) -> None:
    """Bring the database schema to the newest revision.

    Examples:

      ggnet migrate

      ggnet migrate --check
    """
    from controller.bootstrap import stores

    settings = read_settings()
    if check and not telling(lambda: stores.schema_current(settings)):
        output.line("the schema is not current: run ggnet migrate")
        raise typer.Exit(CHANGES)
    if not check:
        telling(lambda: stores.migrate(settings))
    output.line("the schema is current")


def doctor() -> None:
    """Say whether this host is able to serve: tools, permissions, modules, ports, pool, foreign DHCP servers.

    Example:

      ggnet doctor
    """
    from controller.bootstrap import here

    settings = read_settings()
    found = telling(lambda: here.doctor(settings))
    for one in found:
        sign = {"ok": "ok  ", "warning": "warn", "error": "FAIL"}[one.level]
        colour = {"ok": "Ready", "warning": "Warning", "error": "Failed"}[one.level]
        typer.echo(f"{output.paint(sign, colour)}  {output.clean(one.subject)}: {output.clean(one.message)}")
        if one.remedy and one.level != "ok":
            output.line(f"      {one.remedy}")
    if any(one.level == "error" for one in found):
        raise typer.Exit(ERROR)


def read_settings() -> "Settings":
    from controller.settings import Settings

    return client.load(Settings)


def _open(settings: "Settings") -> tuple[socket.socket, str]:
    """The socket, the token and the keys, first of all: what is wrong with them is said at once. Failure."""
    from api.auth.identity import keyring
    from api.serve import ListenError, bind
    from api.token import TokenError, ensure
    from controller.bootstrap import here

    try:
        keyring(settings).ensure(here.clock().now())
        return bind(settings.listen), ensure(settings.state_dir)
    except (ListenError, TokenError) as error:
        raise Failure(str(error)) from None


@contextmanager
def _telling_of(settings: "Settings", *secrets: str) -> Iterator["Traces | None"]:
    """The daemon's log, in which whatever ends it stands. Failure."""
    import structlog

    from api.version import version
    from controller.bootstrap import reports
    from controller.settings import SettingsError

    try:
        with reports.telling(settings, version(), *secrets) as traces:
            try:
                yield traces
            except Failure:
                raise
            except Exception as error:
                structlog.get_logger().critical("the daemon failed", exc_info=error)
                raise
    except (reports.NotInstalled, reports.Misspelt, SettingsError) as error:
        raise Failure(str(error)) from None


async def _serve(
    settings: "Settings",
    persistence: "tuple[Persistence, Hints]",
    clock: "Clock",
    token: str,
    traces: "Traces | None",
    sock: socket.socket,
) -> None:
    """The door, and beside it the deliverer of webhooks: it needs the network and no privileges."""
    import anyio

    from api import selectors
    from api.app import create
    from api.auth.identity import identity
    from api.deps import Door
    from api.serve import serve
    from controller.bootstrap import doors, stores

    host, port = sock.getsockname()[:2]
    output.note(
        f"API on http://{f'[{host}]' if ':' in host else host}:{port}, token in {settings.state_dir / 'admin.token'}"
    )
    store, hints = persistence
    outbox = doors.outbox(settings, store)
    async with (
        stores.open_revocations(settings, store) as revocations,
        stores.open_rates(settings) as rates,
        anyio.create_task_group() as tasks,
    ):
        ours = identity(store, revocations, clock, settings)
        tasks.start_soon(doors.deliver, settings, store, outbox, hints, selectors.parse)
        door = Door(store, clock, settings, token, hints, ours, outbox, doors.uploads(settings, store), rates)
        tasks.start_soon(_keep, door)
        await serve(create(door, traces=traces), sock)
        tasks.cancel_scope.cancel()


_SEARCHED = (1_000, 10, 200)
"""After how many new objects the youngest are searched for garbage, and after how many searches their elders are. By
CPython's own (700, 10, 10) a thousand watchers are searched while they come, for 0.15 s."""


async def _keep(door: "Door") -> None:
    """What was read stays: to search it for garbage again and again would stall the loop."""
    from controller.ports.store import StoreError

    with suppress(StoreError):
        await door.mirror.fresh()
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_SEARCHED)


def _run(work: Callable[[], Awaitable[None]]) -> None:
    """Until it ends, or SIGINT or SIGTERM asks for a graceful end. Failure."""
    import anyio

    from api.loop import LOOP

    async def until_told() -> None:
        with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            async with anyio.create_task_group() as group:

                async def listen() -> None:
                    async for _ in signals:
                        group.cancel_scope.cancel()

                group.start_soon(listen)
                await work()
                group.cancel_scope.cancel()

    gc.set_threshold(*_USUAL)  # it is loaded, and lives long
    telling(lambda: anyio.run(until_told, backend_options=LOOP))


def telling(work: Callable[[], T]) -> T:
    """What a store says is wrong, said to people. Failure."""
    from controller.ports.store import Fenced, StoreError
    from controller.settings import SettingsError

    try:
        return work()
    except* (StoreError, Fenced, SettingsError) as group:
        raise Failure(str(_first(group))) from None


def _first(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
