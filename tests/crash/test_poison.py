"""P13: one object in trouble, whatever the trouble: all others reach Ready, and it does too once that is over."""

import threading
from collections.abc import Callable
from dataclasses import dataclass

import anyio
import pytest

from controller.adapters.configfs import ConfigFs
from controller.adapters.lio import KernelLio
from controller.adapters.workers import Workers
from controller.ports.host import EffectFailed
from tests.crash.faults import KERNEL, Fault
from tests.crash.oracle import wrong
from tests.crash.sites import SITE, SIZE, Pc, site
from tests.crash.world import World, nothing, settle

BAD = Pc(13, image="other")
GOOD = tuple(Pc(number) for number in (1, 2, 130, 14))


def failing(*calls: str, error: Callable[[str], Exception]) -> Fault:
    """These calls on the bad machine, whenever they are tried."""

    def fail(when: str, call: str, subject: object) -> None:
        if (
            when == "before"
            and call in calls
            and any(name in str(subject) for name in (f"{BAD.name}.os", BAD.script, f"'{BAD.name}'"))
        ):
            raise error(str(subject))

    return fail


def io_error(path: str) -> OSError:
    return OSError(5, "Input/output error", path)


def effect_failed(what: str) -> EffectFailed:
    return EffectFailed("Injected", "it does not work")


@dataclass(frozen=True)
class Poison:
    """``give`` puts it into the world and ``take`` out again; ``fault`` is what happens to calls."""

    name: str
    give: Callable[[World], None] = lambda world: None
    take: Callable[[World], None] = lambda world: None
    fault: Fault = nothing


def _no_source(world: World) -> None:
    del world.pool.sources["other.raw"]


def _source(world: World) -> None:
    world.pool.put("other.raw", b"late" * (SIZE // 4))


def _administrator(*names: str) -> Callable[[World], None]:
    def declare(world: World) -> None:
        world.dhcp.administrator = frozenset({"printer", *names})

    return declare


POISONS = (
    Poison("its image has no source", _no_source, _source),
    Poison("dhcpd refuses it", _administrator(f"ggnet-{BAD.name}-0"), _administrator()),
    Poison("the kernel fails at every write for it", fault=failing(*KERNEL, error=io_error)),
    Poison("the kernel cannot be read about it", fault=failing("read", "list", "stat", error=io_error)),
    Poison("its overlay cannot be made", fault=failing("pool.create_overlay", error=effect_failed)),
    Poison("its boot script cannot be written", fault=failing("tftp.write", error=effect_failed)),
)


@pytest.mark.parametrize("poison", POISONS, ids=lambda poison: poison.name)
def test_one_object_in_trouble_holds_up_nobody_else(poison: Poison) -> None:
    async def tell() -> list[str]:
        world = World()
        poison.give(world)
        await world.commit(site(*GOOD, BAD))
        daemon = await world.daemon(poison.fault)
        for _ in range(3):
            await daemon.reconcile(None)
        found = _of_the_others(await wrong(world, GOOD, orphans=frozenset({BAD.name})))
        if not _of_itself(await wrong(world, (*GOOD, BAD))):
            found.append("it was in no trouble at all")
        poison.take(world)
        world.fault = nothing
        await settle(daemon)
        return [*found, *await wrong(world, (*GOOD, BAD))]

    assert anyio.run(tell) == []


def _of_itself(found: list[str]) -> list[str]:
    return [what for what in found if "pc13" in what]


def _of_the_others(found: list[str]) -> list[str]:
    return [what for what in found if "pc13" not in what]


class Threaded(World):
    """With real threads, and no patience."""

    def lio(self, fs: ConfigFs) -> KernelLio:
        return KernelLio(fs, SITE, sizes=self.pool.size_of, deadline=0.3, workers=Workers())


def test_a_target_at_which_the_kernel_hangs_for_ever_holds_up_nobody_else() -> None:
    done = threading.Event()

    def hang(when: str, call: str, subject: object) -> None:
        if when == "before" and call == "mkdir" and f"{BAD.name}.os/tpgt_1" in str(subject):
            done.wait(60)

    async def tell() -> list[str]:
        world = Threaded()
        await world.commit(site(*GOOD, BAD))
        daemon = await world.daemon(hang)
        for _ in range(3):
            await daemon.reconcile(None)
        found = _of_the_others(await wrong(world, GOOD, orphans=frozenset({BAD.name})))
        if not _of_itself(await wrong(world, (*GOOD, BAD))):
            found.append("it was in no trouble at all")
        done.set()
        await anyio.sleep(0.1)
        await settle(daemon)
        return [*found, *await wrong(world, (*GOOD, BAD))]

    try:
        assert anyio.run(tell) == []
    finally:
        done.set()
