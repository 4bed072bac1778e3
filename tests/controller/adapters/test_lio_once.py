"""A look that remembers the last one sees what a look without memory sees."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio

from controller.adapters.lio import KernelLio
from controller.adapters.simulated.configfs import FakeConfigFs
from controller.core.observed import Login
from controller.core.steps import WithdrawTarget
from tests.contracts.lio_bench import SITE, bench_on


@dataclass
class Liar:
    """A ConfigFs that answers one call, or none, otherwise than the kernel does; what it is asked, it notes."""

    fs: Any
    about: tuple[str, str] | None = None
    lie: Callable[[Any], Any] = lambda answer: answer
    asked: list[tuple[str, str]] = field(default_factory=list)

    def __getattr__(self, name: str) -> Any:
        def call(*words: str) -> Any:
            self.asked.append((name, *words[:1]))  # type: ignore[arg-type]
            answer = getattr(self.fs, name)(*words)
            return self.lie(answer) if (name, *words[:1]) == self.about else answer

        return call


def _otherwise(answer: Any) -> Any:
    match answer:
        case str():
            return f"{answer}7"
        case tuple():
            return (*answer, "lun_7")
        case _:
            return not answer


def _nothing(answer: Any) -> Any:
    return type(answer)()


def _absent(answer: Any) -> Any:
    raise FileNotFoundError(2, "No such file or directory")


def test_whatever_the_kernel_answers_otherwise_is_seen(tmp_path: Path) -> None:
    async def look() -> None:
        fs = Liar(FakeConfigFs())
        with bench_on("fake", tmp_path) as bench:
            bench.fs = fs
            target = await bench.published("pc07")
            await bench.published("pc1")
            seasoned = KernelLio(fs, SITE)
            fs.asked.clear()
            first = await seasoned.observe(None)
            calls = list(dict.fromkeys(fs.asked))
            assert len([call for call in calls if target.iqn in call[-1]]) > 15
            for fs.about in calls:
                for fs.lie in (_otherwise, _nothing, _absent):
                    if fs.about[0] in ("read", "readlink", "listdir", "exists"):
                        assert await seasoned.observe(None) == await KernelLio(fs, SITE).observe(None), fs.about
            fs.about = None
            assert await seasoned.observe(None) == first

    anyio.run(look)


def test_what_is_as_it_was_is_asked_once_and_told_by_the_same_object(tmp_path: Path) -> None:
    async def look() -> None:
        fs, fake = Liar(None), FakeConfigFs()
        fs.fs = fake
        with bench_on("fake", tmp_path) as bench:
            bench.fs = fs
            target = await bench.published("pc07")
            acl = f"iscsi/{target.iqn}/tpgt_1/acls/{target.initiator}"
            fake.login(acl)
            lio = KernelLio(fs, SITE)
            first = (await lio.observe([target.iqn])).targets[target.iqn]
            fs.asked.clear()
            # Of a PC that reads and writes the kernel's counters move all the time.
            fs.about, fs.lie = ("read", f"{acl}/info"), lambda info: info.replace("0x8d73d5bc", "0x8d73d5bd")
            second = (await lio.observe([target.iqn])).targets[target.iqn]
            assert second is first
            assert len(fs.asked) == len(set(fs.asked))
            fs.lie = lambda info: info.replace("10.77.0.57", "10.77.0.58")
            assert (await lio.observe([target.iqn])).targets[target.iqn].peer == "10.77.0.58"
            fake.logout(acl)
            assert (await lio.observe([target.iqn])).targets[target.iqn].login is Login.NONE

    anyio.run(look)


def test_what_has_gone_is_not_remembered(tmp_path: Path) -> None:
    async def look() -> None:
        with bench_on("fake", tmp_path) as bench:
            target = await bench.published("pc07")
            stays = await bench.published("pc1")
            lio = KernelLio(bench.fs, SITE)
            await lio.observe(None)
            assert set(lio._seen) == {target.iqn, stays.iqn}
            await lio.withdraw(WithdrawTarget(target.iqn))
            await lio.observe(None)
            assert set(lio._seen) == {stays.iqn}

    anyio.run(look)
