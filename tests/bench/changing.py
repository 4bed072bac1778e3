"""One change, from the moment that it is asked for until it stands durably: rows, boot script, target, status."""

from collections.abc import Iterator
from time import perf_counter

import anyio

from controller.adapters.store import SqlStore
from controller.core import names
from controller.core.names import Site
from controller.shell.reconcile import Reconciler
from manifests.machine import Machine
from tests.bench import floors
from tests.bench.documents import SITE
from tests.bench.rows import Goal, Row
from tests.bench.stand import MANAGER, Stand, in_memory

_NOTE = (
    "a change renames one machine's initiator: its script leaves, its target (in memory: the fake configfs) is mended, its"
    " script comes back, statuses and observations are written; the floor removes and replaces the script durably and"
    " commits twice (what is asked, what was observed) to SQLite with synchronous=FULL"
)


def change_rows(made: Stand, times: int) -> Iterator[Row]:
    ours: list[float] = []
    floor: list[float] = []
    rows = floors.Rows(made.folder / "floor.db")
    script = made.folder / "floor.ipxe"
    script.write_text("before")

    async def changes() -> None:
        store = await SqlStore.open(made.url)
        daemon = await made.reconciler(store, in_memory(made))
        for _ in range(3):
            assert not (await daemon.reconcile(None)).results
        for number in range(times):
            machine = made.clients[number % len(made.clients)].machine
            ours.append(await _change(daemon, store, machine, number))
            began = perf_counter()
            rows.write(machine, str(number))
            floors.remove(script)
            floors.replace(script, b"#!ipxe\n" * 40)
            rows.write(f"{machine}/status", str(number))
            floor.append(perf_counter() - began)
        await store.release(daemon.lease)
        await store.close()

    anyio.run(changes)
    rows.close()
    floor_is = "script out and in, 2 commits, fsynced"
    yield Row("one change -> durable", made.count, ours, floor, Goal("at most", 0.010, "p99"), floor_is, note=_NOTE)


async def _change(daemon: Reconciler, store: SqlStore, name: str, number: int) -> float:
    before = await store.get(f"Machine/{name}")
    assert isinstance(before, Machine)
    initiator = Site(site=SITE.site, server=f"c{number}").initiator(f"{name}-{number}")
    after = before.model_copy(update={"spec": before.spec.model_copy(update={"initiator": initiator})})
    began = perf_counter()
    await store.put([after], MANAGER, daemon.clock.now())
    claims = await store.claim(daemon.clock.now(), 500)
    report = await daemon.reconcile(frozenset(claim.key for claim in claims))
    await store.done(claims)
    seconds = perf_counter() - began
    assert len(report.results) == 3, report.results
    assert not report.troubled
    path = names.script(before.spec.macs[0].hyphens)
    assert daemon.view.last is not None
    assert path in daemon.view.last.boot
    return seconds
