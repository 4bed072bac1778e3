"""What the target port promises of a machine with several disks: one target, and a LUN for each."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from controller.adapters.simulated.configfs import FakeConfigFs
from controller.core import names, targets
from controller.core.desired import Lun, Target
from controller.core.steps import PublishTarget, WithdrawTarget
from controller.ports.host import EffectRefused
from tests.contracts.lio_bench import DOORS, SITE, SIZE, Bench, Crash, bench_on, tree
from tests.contracts.test_lio_chap import ONE_WAY, Safe

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(params=DOORS)
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bench]:
    with bench_on(request.param, tmp_path) as made:
        yield made


def lun(bench: Bench, disk: str, *, size: int = SIZE, readonly: bool = False, machine: str = "pc07") -> Lun:
    path = bench.folder / f"{machine}-{disk}-{size}.raw"
    with path.open("ab") as file:
        file.truncate(size)
    return Lun(names.backstore(machine, disk), SITE.serial(machine, disk), str(path), size, readonly)


def several(bench: Bench, *more: Lun) -> Target:
    return replace(bench.target(), more=more)


def swapped(target: Target) -> Target:
    """The same two disks, the other way round."""
    (other,) = target.more
    first = target.luns[0]
    return replace(
        target,
        backstore=other.backstore,
        serial=other.serial,
        path=other.path,
        size=other.size,
        readonly=other.readonly,
        more=(first,),
    )


def moments(bench: Bench, writes: list[str]) -> range:
    """All of them, and a few on the real kernel, which takes its time."""
    return range(1, len(writes) + 1, 1 if isinstance(bench.fs, FakeConfigFs) else 10)


def group(target: Target) -> str:
    return f"iscsi/{target.iqn}/tpgt_1"


def _device(bench: Bench, name: str) -> str:
    return next(f"core/{hba}/{name}" for hba in bench.fs.listdir("core") if bench.fs.exists(f"core/{hba}/{name}"))


async def test_each_disk_is_a_lun_of_its_own_and_all_of_it_goes_again(bench: Bench) -> None:
    before = tree(bench.fs, "")
    target = several(bench, lun(bench, "games"), lun(bench, "courses", readonly=True))
    await bench.lio.publish(PublishTarget(target))
    assert await bench.facts(target) == targets.facts(target)
    assert {"lun/0", "lun/1", "lun/2"} <= targets.facts(target).keys()
    lio, writes = bench.watched()
    await lio.publish(PublishTarget(target))
    assert writes == []
    assert [str(iqn) for iqn in (await bench.lio.observe(None)).targets] == [target.iqn]
    await bench.withdraw(target)
    assert tree(bench.fs, "") == before


@pytest.mark.parametrize("way", ["comes", "goes", "swaps", "is another", "becomes read-only"])
async def test_a_crash_at_any_write_of_changing_a_second_disk_is_finished_by_the_next(bench: Bench, way: str) -> None:
    one, two = bench.target(), several(bench, lun(bench, "games"))
    ways = {
        "comes": (one, two),
        "goes": (two, one),
        "swaps": (two, swapped(two)),
        "is another": (two, several(bench, lun(bench, "games", size=2 * SIZE))),
        "becomes read-only": (two, several(bench, lun(bench, "games", readonly=True))),
    }
    start, end = ways[way]
    await bench.lio.publish(PublishTarget(start))
    whole, writes = bench.watched()
    await whole.publish(PublishTarget(end))
    assert await bench.facts(end) == targets.facts(end)
    goal = _devices_and_targets(bench)
    assert writes
    for n in moments(bench, writes):
        await bench.withdraw(end)
        await bench.lio.publish(PublishTarget(start))
        with pytest.raises(Crash):
            await bench.watched((n, "after"))[0].publish(PublishTarget(end))
        await bench.lio.publish(PublishTarget(end))
        assert _devices_and_targets(bench) == goal, n


def _devices_and_targets(bench: Bench) -> dict[str, str]:
    """Without HBAs that hold nothing: whoever next makes or removes a device there sees to them."""
    whole = tree(bench.fs, "")
    return {path: value for path, value in whole.items() if not path.startswith("core/") or "/ggnet-" in path}


async def test_a_crash_at_any_write_of_withdrawing_two_disks_leaves_nothing_behind(bench: Bench) -> None:
    before = tree(bench.fs, "")
    target = several(bench, lun(bench, "games"))
    await bench.lio.publish(PublishTarget(target))
    whole, writes = bench.watched()
    await whole.withdraw(WithdrawTarget(target.iqn))
    for n in moments(bench, writes):
        await bench.lio.publish(PublishTarget(target))
        with pytest.raises(Crash):
            await bench.watched((n, "after"))[0].withdraw(WithdrawTarget(target.iqn))
        left = (await bench.lio.observe(None)).targets
        await bench.withdraw(target)
        assert set(left) <= {target.iqn}
        assert tree(bench.fs, "") == before, n


@pytest.mark.parametrize("gone", ["mapping", "link", "device's path"])
async def test_what_a_hand_took_from_the_second_disk_is_put_back(bench: Bench, gone: str) -> None:
    target = several(bench, lun(bench, "games"))
    await bench.lio.publish(PublishTarget(target))
    name = target.more[0].backstore
    mapped = f"{group(target)}/acls/{target.initiator}/lun_1/{name}"
    bench.fs.unlink(mapped)
    if gone != "mapping":
        bench.fs.unlink(f"{group(target)}/lun/lun_1/{name}")
    if gone == "device's path":
        bench.fs.rmdir(_device(bench, name))
    found = await bench.facts(target)
    assert found is not None
    assert found != targets.facts(target)
    await bench.lio.publish(PublishTarget(target))
    assert await bench.facts(target) == targets.facts(target)


async def test_a_disk_comes_to_a_pc_that_runs_and_none_is_taken_from_it(bench: Bench) -> None:
    one, two = bench.target(), several(bench, lun(bench, "games"))
    await bench.lio.publish(PublishTarget(one))
    with bench.client(one):
        await bench.lio.publish(PublishTarget(two))
        assert await bench.facts(two) == targets.facts(two)
        before = tree(bench.fs, "iscsi")
        for change in (one, swapped(two), several(bench, lun(bench, "games", size=2 * SIZE))):
            with pytest.raises(EffectRefused, match="in use"):
                await bench.lio.publish(PublishTarget(change))
        with pytest.raises(EffectRefused, match="write_protect"):
            await bench.lio.publish(PublishTarget(several(bench, lun(bench, "games", readonly=True))))
        assert tree(bench.fs, "iscsi").keys() == before.keys()
        await bench.lio.publish(PublishTarget(one, cut=True))
    assert await bench.facts(one) == targets.facts(one)


async def test_a_disk_that_was_restored_elsewhere_is_ours_and_one_that_nobody_exports_is_told_as_foreign(
    bench: Bench,
) -> None:
    target = several(bench, lun(bench, "games"))
    name, serial = target.more[0].backstore, target.more[0].serial
    await bench.lio.publish(PublishTarget(bench.target()))
    elsewhere = bench.make_device("fileio_3", name, serial)
    assert "fileio_3/ggnet-pc07-games" in (await bench.lio.observe(None)).foreign
    bench.fs.mkdir(f"{group(target)}/lun/lun_1")
    bench.fs.symlink(elsewhere, f"{group(target)}/lun/lun_1/{name}")
    seen = await bench.lio.observe(None)
    assert (seen.foreign, seen.targets[target.iqn].facts["disk/games"]) == ((), name)
    await bench.lio.publish(PublishTarget(bench.target()))
    assert await bench.facts(target) == targets.facts(bench.target())
    assert not bench.fs.exists(elsewhere)


async def test_what_is_no_disk_of_the_machine_is_refused_before_the_kernel_is_asked(bench: Bench) -> None:
    before = tree(bench.fs, "")
    games = lun(bench, "games")
    for more in ((lun(bench, "os"),), (games, games), (lun(bench, "games", machine="pc7"),), (replace(games, serial="x"),)):
        with pytest.raises(EffectRefused, match="not named as this site names"):
            await bench.lio.publish(PublishTarget(several(bench, *more)))
    Path(games.path).unlink()
    with pytest.raises(EffectRefused, match="is missing"):
        await bench.lio.publish(PublishTarget(several(bench, games)))
    assert tree(bench.fs, "") == before


@pytest.fixture(params=DOORS)
def safe(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Safe]:
    folder = tmp_path / "secrets"
    folder.mkdir()
    with bench_on(request.param, tmp_path) as made:
        yield Safe(made, folder)


async def test_one_secret_stays_that_of_all_disks_while_they_come_and_go(safe: Safe) -> None:
    alone, games = safe.keep(ONE_WAY), lun(safe.bench, "games")
    both = replace(alone, more=(games,))
    for target in (alone, both, replace(both, chap=None), both, swapped(both), alone):
        await safe.publish(target)
        assert safe.bench.fs.read(f"{safe.tpg}/attrib/authentication") == ("1" if target.chap else "0")
        assert ONE_WAY["password"] in safe.held() or target.chap is None
        lio, writes = safe.lio()
        await lio.publish(PublishTarget(target))
        assert writes == []
