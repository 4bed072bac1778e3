"""What the target port promises of block devices: on the fake kernel everywhere, and on the real one in the lab's guest."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from controller.adapters import devmapper, loops
from controller.adapters.lio import KernelLio
from controller.adapters.lio_check import size_of
from controller.core import names, targets
from controller.core.desired import Target
from controller.core.names import OverlayName
from controller.core.steps import PublishTarget, WithdrawTarget
from controller.ports.host import EffectRefused
from tests.contracts.lio_bench import DOORS, SITE, SIZE, Bench, Crash, Watched, bench_on, tree

pytestmark = pytest.mark.anyio
UID = "0b6f6a52-6a3c-4b1e-8a53-1f2a3c4d5e6f"


@dataclass
class Blocks:
    """A bench, and block devices of our names on it."""

    bench: Bench
    sizes: Callable[[str], int]
    make: Callable[[str], None]

    @property
    def lio(self) -> KernelLio:
        return KernelLio(self.bench.fs, SITE, sizes=self.sizes)

    def watched(self, die: tuple[int, str] | None = None) -> tuple[KernelLio, list[str]]:
        fs = Watched(self.bench.fs, die=die)
        return KernelLio(fs, SITE, sizes=self.sizes), fs.writes

    def target(self, machine: str = "pc07") -> Target:
        name = OverlayName(machine, names.SYSTEM_DISK, "win11", 1, UID, "cow")
        self.make(name.device)
        return replace(self.bench.target(machine), path=names.overlay_path("/pool", name))

    async def facts(self, target: Target) -> dict[str, str]:
        return dict((await self.lio.observe([target.iqn])).targets[target.iqn].facts)


@pytest.fixture(params=DOORS)
def blocks(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Blocks]:
    with bench_on(request.param, tmp_path) as bench:
        if request.param == "fake":
            made: set[str] = set()
            monkeypatch.setattr(bench.fs, "_is_device", lambda path: path.rpartition("/")[2] in made)

            def size(path: str) -> int:
                if targets.block(path) and path.rpartition("/")[2] not in made:
                    raise FileNotFoundError(2, "No such file or directory", path)
                return SIZE

            yield Blocks(bench, size, made.add)
            return
        with ExitStack() as ends:

            def linear(name: str) -> None:
                if name in devmapper.listing():
                    return
                path = tmp_path / f"{name}.img"
                path.write_bytes(bytes(SIZE))
                with path.open("r+b") as file, loops.attached(file.fileno(), "test", readonly=False) as device:
                    devmapper.create(name)
                    devmapper.load(name, SIZE // 512, "linear", f"{device} 0")
                    devmapper.resume(name)
                ends.callback(devmapper.remove, name)

            yield Blocks(bench, size_of, linear)
            for target in (name for name in bench.fs.listdir("iscsi") if name.startswith("iqn.")):
                if SITE.parse_target(target):
                    raise AssertionError(f"a test has left {target}")


async def test_a_published_block_device_has_exactly_its_facts_and_leaves_nothing(blocks: Blocks) -> None:
    before, target = tree(blocks.bench.fs, ""), blocks.target()
    await blocks.lio.publish(PublishTarget(target))
    assert await blocks.facts(target) == targets.facts(target)
    device = blocks.bench.device(target)
    assert device.startswith("core/iblock_")
    assert blocks.bench.fs.read(f"{device}/udev_path") == target.path
    lio, writes = blocks.watched()
    await lio.publish(PublishTarget(target))
    assert writes == []
    await blocks.lio.withdraw(WithdrawTarget(target.iqn))
    assert tree(blocks.bench.fs, "") == before


async def test_a_crash_at_any_write_of_a_block_device_is_finished_by_the_next(blocks: Blocks) -> None:
    before, target = tree(blocks.bench.fs, ""), blocks.target()
    whole, writes = blocks.watched()
    await whole.publish(PublishTarget(target))
    goal = tree(blocks.bench.fs, "")
    await blocks.lio.withdraw(WithdrawTarget(target.iqn))
    for n in range(1, len(writes) + 1):
        with pytest.raises(Crash):
            await blocks.watched((n, "after"))[0].publish(PublishTarget(target))
        await blocks.lio.publish(PublishTarget(target))
        assert tree(blocks.bench.fs, "") == goal, n
        await blocks.lio.withdraw(WithdrawTarget(target.iqn))
    assert tree(blocks.bench.fs, "") == before


async def test_a_disk_becomes_a_block_device_and_a_file_again_from_whatever_half_state(blocks: Blocks) -> None:
    before = tree(blocks.bench.fs, "")
    block, file = blocks.target(), blocks.bench.target()
    kinds = (block, file)
    for n in (3, 5, 100):
        for old, new in (kinds, kinds[::-1]):
            lio, _ = blocks.watched((n, "after"))
            with suppress(Crash):
                await lio.publish(PublishTarget(old))
            await blocks.lio.publish(PublishTarget(new))
            assert await blocks.facts(new) == targets.facts(new)
    await blocks.lio.withdraw(WithdrawTarget(block.iqn))
    assert tree(blocks.bench.fs, "") == before


async def test_a_live_block_device_is_neither_withdrawn_nor_replaced_unasked(blocks: Blocks) -> None:
    block, file = blocks.target(), blocks.bench.target()
    await blocks.lio.publish(PublishTarget(block))
    with blocks.bench.client(block):
        for act in (blocks.lio.publish(PublishTarget(file)), blocks.lio.withdraw(WithdrawTarget(block.iqn))):
            with pytest.raises(EffectRefused) as refusal:
                await act
            assert refusal.value.reason == "InUse"
        assert await blocks.facts(block) == targets.facts(block)
        await blocks.lio.withdraw(WithdrawTarget(block.iqn, cut=True))


async def test_a_device_that_is_not_there_is_not_served(blocks: Blocks) -> None:
    target = replace(blocks.bench.target(), path=f"{names.DEVICE_FOLDER}/ggnet+nobody")
    with pytest.raises(EffectRefused) as refusal:
        await blocks.lio.publish(PublishTarget(target))
    assert refusal.value.reason == "DiskMissing"


@pytest.mark.skipif("kernel" not in DOORS, reason="a name in /dev is the kernel's: the lab's guest has one to lie with")
async def test_a_name_that_leads_to_another_device_is_not_served(blocks: Blocks) -> None:
    target, other = blocks.target(), blocks.target("pc08")
    name = Path(target.path)
    led = name.readlink()
    name.unlink()
    name.symlink_to(Path(other.path).readlink())
    with pytest.raises(EffectRefused) as refusal:
        await blocks.lio.publish(PublishTarget(target))
    assert (refusal.value.reason, "another device" in str(refusal.value)) == ("DiskUnreadable", True)
    name.unlink()
    name.symlink_to(led)
