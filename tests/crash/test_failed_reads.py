"""P10, P12: what cannot be read, is empty or is refused deletes nothing; the last good state goes on being served."""

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from typing import Any, Literal

import anyio
import pytest

from controller.core.desired import Golden
from controller.ports.host import PoolView
from controller.shell.observe import Host
from controller.shell.sources import Intake
from manifests.dump import normalise
from manifests.load import load
from tests.crash.faults import Fault
from tests.crash.folder import Folder, written
from tests.crash.oracle import wrong
from tests.crash.sites import Pc, site
from tests.crash.world import Passed, World, nothing, settle

THREE = (Pc(1), Pc(2, persistence="readonly"), Pc(10))
_DELETING = frozenset({"rmdir", "unlink", "pool.delete_overlay", "tftp.delete", "remove"})


# --- the host -----------------------------------------------------------------------------------------------------


@dataclass
class BlindWorld(World):
    """``pool_problem``: the pool cannot be listed."""

    pool_problem: str | None = None

    def host(self) -> Host:
        pool: Any = _BlindPool(self.pool, self)
        return replace(super().host(), pool=pool)


class _BlindPool(Passed[BlindWorld]):
    async def observe(self, images: Collection[Golden], machines: Collection[str] | None = None) -> PoolView:
        seen: PoolView = await self.real.observe(images, machines)
        problem = self.world.pool_problem
        return replace(seen, state=type(seen.state)(), unreadable={"pool": problem}) if problem else seen


def _broken(*paths: str) -> Fault:
    """Reading these fails."""

    def fail(when: str, call: str, subject: object) -> None:
        if when == "before" and call in ("read", "list", "readlink", "stat") and str(subject) in paths:
            raise OSError(5, "Input/output error", str(subject))

    return fail


def _set(part: str) -> Callable[[BlindWorld, str | None], None]:
    def problem(world: BlindWorld, text: str | None) -> None:
        if part == "pool":
            world.pool_problem = text
        else:
            getattr(world, part).problem = text

    return problem


@dataclass(frozen=True)
class Blindness:
    """``spares`` are the calls that must not happen while it lasts, whatever goes."""

    name: str
    fault: Fault = nothing
    problem: Callable[[BlindWorld, str | None], None] = lambda world, text: None
    spares: tuple[str, ...] = ()


BLIND = (
    Blindness("targets cannot be listed", _broken("iscsi"), spares=("rmdir", "unlink", "pool.delete_overlay", "remove")),
    Blindness("backstores cannot be listed", _broken("core"), spares=("rmdir", "unlink", "pool.delete_overlay", "remove")),
    Blindness(
        "one target cannot be read",
        _broken(f"iscsi/{THREE[0].iqn}/tpgt_1/enable"),
        spares=("rmdir", "unlink", "pool.delete_overlay", "remove"),
    ),
    Blindness("the TFTP tree cannot be listed", problem=_set("tftp"), spares=("tftp.delete", "rmdir", "unlink", "remove")),
    Blindness("the pool cannot be listed", problem=_set("pool"), spares=("pool.delete_overlay", "remove")),
)


@pytest.mark.parametrize("restarted", [False, True], ids=["running", "restarted"])
@pytest.mark.parametrize("blindness", BLIND, ids=lambda blindness: blindness.name)
def test_what_cannot_be_read_is_not_deleted_though_nobody_asks_for_it_any_more(
    blindness: Blindness, restarted: bool
) -> None:
    left = (THREE[1], THREE[2])

    async def tell() -> list[str]:
        world = BlindWorld()
        await world.commit(site(*THREE))
        daemon = await world.daemon()
        await settle(daemon)
        done: list[str] = []

        def blind(when: str, call: str, subject: object) -> None:
            blindness.fault(when, call, subject)
            if when == "before" and call in blindness.spares:
                done.append(f"{call} {subject}")

        await world.commit(site(*left))
        blindness.problem(world, "Input/output error")
        daemon = await world.daemon() if restarted else daemon
        world.fault = blind
        for _ in range(3):
            await daemon.reconcile(None)
        blindness.problem(world, None)
        world.fault = nothing
        await settle(daemon)
        return [*done, *await wrong(world, left)]

    assert anyio.run(tell) == []


@pytest.mark.parametrize("blindness", BLIND, ids=lambda blindness: blindness.name)
def test_what_cannot_be_read_is_served_on_untouched(blindness: Blindness) -> None:
    async def tell() -> list[str]:
        world = BlindWorld()
        await world.commit(site(*THREE))
        await settle(await world.daemon())
        done: list[str] = []

        def blind(when: str, call: str, subject: object) -> None:
            blindness.fault(when, call, subject)
            if when == "before" and call in _DELETING:
                done.append(f"{call} {subject}")

        blindness.problem(world, "Input/output error")
        daemon = await world.daemon(blind)
        for _ in range(3):
            await daemon.reconcile(None)
        blindness.problem(world, None)
        world.fault = nothing
        return [*done, *await wrong(world, THREE, ready=False)]

    assert anyio.run(tell) == []


@pytest.mark.parametrize("blindness", BLIND[2:], ids=lambda blindness: blindness.name)
def test_a_process_that_goes_on_says_at_once_what_it_cannot_read_and_takes_it_back(blindness: Blindness) -> None:
    """Where only a listing fails, each target can still be read by its name."""

    async def tell() -> tuple[bool, list[str]]:
        world = BlindWorld()
        await world.commit(site(*THREE))
        daemon = await world.daemon()
        await settle(daemon)
        blindness.problem(world, "Input/output error")
        world.fault = blindness.fault
        await daemon.reconcile(None)
        blindness.problem(world, None)
        world.fault = nothing
        told = any(f"{THREE[0].name} is not Ready" in what for what in await wrong(world, THREE))
        await daemon.reconcile(None)
        return told, await wrong(world, THREE)

    assert anyio.run(tell) == (True, [])


# --- the sources --------------------------------------------------------------------------------------------------


MANY = tuple(Pc(number) for number in range(1, 13))
_GOOD = written(*MANY)
BAD: dict[str, tuple[dict[str, bytes] | None, Literal["refused", "guarded", "failed"]]] = {
    "cannot be read": (None, "failed"),
    "is empty": ({}, "guarded"),
    "holds an empty file": ({"site.yaml": b""}, "guarded"),
    "has lost most of its machines": (written(MANY[0]), "guarded"),
    "is cut off in the middle": ({"site.yaml": _GOOD["site.yaml"][: len(_GOOD["site.yaml"]) // 2 + 7]}, "refused"),
    "names an image that there is not": (written(Pc(1, image="missing"), *MANY[1:]), "refused"),
    "has two machines with one card": (written(Pc(1, card=2), *MANY[1:]), "refused"),
    "is no YAML": ({"site.yaml": b"\xff\xfe{{{"}, "refused"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_source_that_goes_wrong_changes_nothing_and_the_next_good_one_counts(name: str) -> None:
    """P12, through the same door as every commit."""
    files, verdict = BAD[name]
    after = (*MANY[:11], Pc(12, running=False))

    async def tell() -> list[str]:
        world, source = World(), Folder(_GOOD)
        intake = Intake(source, world.store, world.clock, lambda: None)
        await intake.take()
        await settle(await world.daemon())
        found = await wrong(world, MANY)
        source.files = files
        await intake.take()
        daemon = await world.daemon()
        report = await settle(daemon)
        found += [str(result) for result in report.results]
        verdicts = {revision.verdict for revision in await world.store.revisions("site")}
        if verdict != "failed" and verdicts != {"accepted", verdict}:
            found.append(f"verdicts: {verdicts}")
        found += await wrong(world, MANY)
        source.files = written(*after)
        await intake.take()
        await settle(daemon)
        return [*found, *await wrong(world, after)]

    assert anyio.run(tell) == []


def test_what_this_room_commits_reads_back_as_it_was_written() -> None:
    """P15 for the sets that are used here."""
    stored = load(written(*MANY)).objects
    assert sorted(map(str, map(normalise, stored))) == sorted(map(str, map(normalise, site(*MANY))))
