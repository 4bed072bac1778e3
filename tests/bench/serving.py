"""dhcpd: from a changed configuration to the first answer that has it."""

import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from time import perf_counter

import anyio

from controller.adapters import command
from controller.adapters.clock import SystemClock
from controller.adapters.store import SqlStore
from controller.core.desired import DhcpConfig
from controller.core.render import dhcpd
from controller.core.resolve import resolve
from controller.core.steps import LoadDhcp
from manifests.types import Ipv4
from tests.bench.documents import SITE
from tests.bench.rows import Goal, Row
from tests.bench.stand import Stand

_NOTE = "dhcpd runs in a network namespace of its own, with all hosts, and is asked with DHCPDISCOVER until it answers anew"


def dhcp_rows(made: Stand, times: int) -> Iterator[Row]:
    ours: list[float] = []
    returns: list[float] = []
    floor: list[float] = []
    config = anyio.run(_config, made)
    first, *others = config.hosts
    for number in range(times):
        address = Ipv4.parse(f"10.200.{number}.1")
        changed = DhcpConfig(config.subnets, (replace(first, address=address), *others))
        text = dhcpd.include(changed, SITE, number + 10).encode()
        seconds, _ = _answered(made, address, partial(anyio.run, _load, made, changed, number))
        ours.append(seconds)
        address = Ipv4.parse(f"10.201.{number}.1")
        text = text.replace(b"10.200.", b"10.201.")
        seconds, whole = _answered(made, address, partial(anyio.run, _bare, made, text))
        floor.append(seconds)
        returns.append(whole)
    anyio.run(_load, made, config, times)
    yield Row(
        "dhcpd: check + restart -> answers",
        made.count,
        ours,
        floor,
        Goal("ratio", 1.9),
        "bare dhcpd -t, write, restart",
        note=_NOTE,
    )


async def _config(made: Stand) -> DhcpConfig:
    store = await SqlStore.open(made.url)
    objects, _ = await store.list()
    await store.close()
    config = resolve(objects, SITE, SystemClock().now()).dhcp
    assert config is not None
    return config


async def _load(made: Stand, config: DhcpConfig, number: int) -> None:
    refused = await made.rig.dhcp.load(LoadDhcp(config, number + 10))
    assert not refused


async def _bare(made: Stand, text: bytes) -> None:
    candidate = made.folder / "candidate.conf"
    candidate.write_bytes(text)
    (await command.run(["dhcpd", "-t", "-4", "-cf", candidate], timeout=60)).check()
    made.rig.include.write_bytes(text)
    (await command.run([made.rig.script], timeout=60)).check()


def _answered(made: Stand, address: Ipv4, act: object) -> tuple[float, float]:
    """Seconds until the first card is offered this address, and until the act was over."""
    card = made.clients[0].macs[0]
    began = perf_counter()
    thread = threading.Thread(target=act)  # type: ignore[arg-type]
    thread.start()
    while made.rig.ask(card, patience=0.02)[0] != address:
        assert perf_counter() - began < 30, "never answered"
        time.sleep(0.002)
    answered = perf_counter() - began
    thread.join()
    return answered, perf_counter() - began
