"""What only a fake kernel can be made to do: hang, fail to answer, be absent."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import anyio
import pytest

from controller.adapters.configfs import KernelConfigFs
from controller.adapters.lio import KernelLio
from controller.adapters.simulated.configfs import FakeConfigFs
from controller.adapters.workers import Workers
from controller.core import targets
from controller.core.observed import Login
from controller.core.steps import PublishTarget, WithdrawTarget
from controller.ports.host import EffectFailed, EffectRefused
from tests.contracts.lio_bench import SITE, Bench, bench_on

pytestmark = pytest.mark.anyio
_DEADLINE = 1.0  # seconds: a busy machine needs some for what hangs nowhere


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def fake() -> FakeConfigFs:
    return FakeConfigFs()


@pytest.fixture
def bench(fake: FakeConfigFs, tmp_path: Path) -> Iterator[Bench]:
    with bench_on("fake", tmp_path) as made:
        made.fs = fake
        yield made


@contextmanager
def hanging(fake: FakeConfigFs, call: str, part: str) -> Iterator[threading.Event]:
    """The kernel does not return from such a call until the event is set."""
    free = threading.Event()

    def hook(when: str, what: str, path: str) -> None:
        if when == "before" and what == call and part in path:
            free.wait(30)

    fake.hook = hook
    try:
        yield free
    finally:
        free.set()
        fake.hook = lambda when, what, path: None


async def settled(fake: FakeConfigFs) -> int:
    """The number of writes, once no thread makes any more."""
    before = -1
    while before != fake.writes:
        before = fake.writes
        await anyio.sleep(0.05)
    return before


async def test_a_hung_object_fails_at_its_deadline_is_fenced_off_and_delays_no_other(
    fake: FakeConfigFs, bench: Bench
) -> None:
    lio = KernelLio(fake, SITE, deadline=_DEADLINE)
    hung, other = bench.target("hung"), bench.target("other")
    with hanging(fake, "mkdir", f"{hung.iqn}/tpgt_1/np") as free:
        with pytest.raises(EffectFailed) as timeout:
            await lio.publish(PublishTarget(hung))
        assert timeout.value.reason == "KernelTimeout"
        assert "np/127.0.0.1:3260" in str(timeout.value)
        with anyio.fail_after(0.9 * _DEADLINE):
            with pytest.raises(EffectFailed) as fenced:
                await lio.withdraw(WithdrawTarget(hung.iqn))
            await lio.publish(PublishTarget(other))
            state = await lio.observe(None)
        assert fenced.value.reason == "KernelTimeout"
        assert set(state.targets) == {other.iqn}
        assert set(state.unreadable) == {hung.iqn}
        writes = fake.writes
        free.set()
    assert await settled(fake) <= writes + 1
    await lio.publish(PublishTarget(hung))
    assert dict((await lio.observe(None)).targets[hung.iqn].facts) == targets.facts(hung)


async def test_sixteen_hung_objects_do_not_stop_a_seventeenth(fake: FakeConfigFs, bench: Bench) -> None:
    lio = KernelLio(fake, SITE, deadline=_DEADLINE)
    with hanging(fake, "mkdir", ":hung"):
        refused = []

        async def publish(machine: str) -> None:
            try:
                await lio.publish(PublishTarget(bench.target(machine)))
            except EffectFailed as failed:
                refused.append(failed.reason)

        async with anyio.create_task_group() as tasks:
            for n in range(16):
                tasks.start_soon(publish, f"hung{n}")
        assert refused == ["KernelTimeout"] * 16
        with anyio.fail_after(0.9 * _DEADLINE):
            await lio.publish(PublishTarget(bench.target("other")))


async def test_at_most_sixteen_threads_are_in_the_kernel(fake: FakeConfigFs, bench: Bench) -> None:
    inside, most, lock = 0, 0, threading.Lock()

    def hook(when: str, what: str, path: str) -> None:
        nonlocal inside, most
        if what == "mkdir" and "/tpgt_1" in path:
            with lock:
                inside += 1 if when == "before" else -1
                most = max(most, inside)
            threading.Event().wait(0.002)

    fake.hook = hook
    lio = KernelLio(fake, SITE)
    async with anyio.create_task_group() as tasks:
        for n in range(40):
            tasks.start_soon(lio.publish, PublishTarget(bench.target(f"pc{n}")))
    assert 1 < most <= 16


async def test_a_look_that_hangs_at_one_target_still_tells_the_others(fake: FakeConfigFs, bench: Bench) -> None:
    for machine in ("a", "b", "c"):
        await bench.published(machine)
    lio = KernelLio(fake, SITE, deadline=_DEADLINE)
    with hanging(fake, "read", f"{SITE.target('b')}/tpgt_1/enable"):
        state = await lio.observe(None)
        assert set(state.targets) == {SITE.target("a"), SITE.target("c")}
        assert set(state.unreadable) == {SITE.target("b")}
        with anyio.fail_after(0.9 * _DEADLINE):
            again = await lio.observe(None)
            logins = await lio.logins({SITE.target("b"): SITE.initiator("b"), SITE.target("a"): SITE.initiator("a")})
        assert set(again.unreadable) == {SITE.target("b")}
        assert logins == {SITE.target("a"): (Login.NONE, None), SITE.target("b"): (Login.UNKNOWN, None)}


async def test_a_cancelled_action_writes_no_more(fake: FakeConfigFs, bench: Bench) -> None:
    lio = KernelLio(fake, SITE)
    with hanging(fake, "mkdir", "/lun/lun_0") as free:
        with anyio.move_on_after(0.1) as scope:
            await lio.publish(PublishTarget(bench.target()))
        assert scope.cancelled_caught
        writes = fake.writes
        free.set()
    assert await settled(fake) <= writes + 1


async def test_an_action_cancelled_in_the_queue_leaves_no_fence(fake: FakeConfigFs, bench: Bench) -> None:
    lio = KernelLio(fake, SITE, workers=Workers(1))
    first, second = bench.target("first"), bench.target("second")
    with hanging(fake, "mkdir", "first"):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(lio.publish, PublishTarget(first))
            await anyio.sleep(0.05)
            with anyio.move_on_after(0.05):
                await lio.publish(PublishTarget(second))
            tasks.cancel_scope.cancel()
    await lio.publish(PublishTarget(second))
    assert await bench.facts(second) == targets.facts(second)


async def test_an_unknown_login_blocks_all_that_cuts(fake: FakeConfigFs, bench: Bench) -> None:
    target = await bench.published()
    fake.fail_reading(f"iscsi/{target.iqn}/tpgt_1/acls/{target.initiator}/info")
    state = (await bench.lio.observe([target.iqn])).targets[target.iqn]
    assert state.login is Login.UNKNOWN
    with pytest.raises(EffectRefused) as refusal:
        await bench.withdraw(target)
    assert refusal.value.reason == "InUse"
    assert await bench.facts(target) == targets.facts(target)


async def test_a_session_that_is_neither_in_nor_out_is_unknown(fake: FakeConfigFs, bench: Bench) -> None:
    target = await bench.published()
    fake.login(f"iscsi/{target.iqn}/tpgt_1/acls/{target.initiator}", state="FAILED")
    assert (await bench.lio.logins({target.iqn: target.initiator}))[target.iqn][0] is Login.UNKNOWN


async def test_an_initiator_without_an_acl_is_a_live_one(fake: FakeConfigFs, bench: Bench) -> None:
    target = await bench.published()
    fake.login_without_acl(f"iscsi/{target.iqn}/tpgt_1", "iqn.2001-04.org.example:stranger")
    assert (await bench.lio.observe(None)).targets[target.iqn].login is Login.ACTIVE
    with pytest.raises(EffectRefused) as refusal:
        await bench.withdraw(target)
    assert "stranger" in str(refusal.value)


async def test_one_target_that_cannot_be_read_does_not_hide_the_others(fake: FakeConfigFs, bench: Bench) -> None:
    good, bad = await bench.published("good"), await bench.published("bad")
    fake.fail_reading(f"iscsi/{bad.iqn}/tpgt_1/enable")
    state = await bench.lio.observe(None)
    assert set(state.targets) == {good.iqn}
    assert set(state.unreadable) == {bad.iqn}
    assert "Input/output error" in state.unreadable[bad.iqn]


async def test_a_listing_that_fails_makes_the_whole_domain_unreadable(fake: FakeConfigFs, bench: Bench) -> None:
    await bench.published()
    fake.fail_reading("iscsi")
    state = await bench.lio.observe(None)
    assert dict(state.targets) == {}
    assert set(state.unreadable) == {"lio"}


async def test_without_a_kernel_target_every_answer_carries_the_remedy(fake: FakeConfigFs, bench: Bench) -> None:
    target = bench.target()
    fake.absent = "configfs is not mounted: mount -t configfs configfs /sys/kernel/config"
    assert (await bench.lio.observe([target.iqn])).unreadable == {"lio": fake.absent}
    with pytest.raises(EffectRefused) as refusal:
        await bench.lio.publish(PublishTarget(target))
    assert (refusal.value.reason, str(refusal.value)) == ("LioAbsent", fake.absent)


async def test_a_kernel_that_refuses_a_write_is_quoted_with_the_path(fake: FakeConfigFs, bench: Bench) -> None:
    target = bench.target()

    def hook(when: str, what: str, path: str) -> None:
        if when == "before" and path.endswith("attrib/authentication") and what == "write":
            raise PermissionError(13, "Permission denied", path)

    fake.hook = hook
    with pytest.raises(EffectRefused) as refusal:
        await bench.lio.publish(PublishTarget(target))
    assert refusal.value.reason == "NoPermission"
    assert "tpgt_1/attrib/authentication" in str(refusal.value)


def test_a_folder_that_is_not_configfs_says_how_to_mount_it(tmp_path: Path) -> None:
    problem = KernelConfigFs(tmp_path).problem()
    assert problem == f"{tmp_path} is not mounted: mount -t configfs configfs {tmp_path}"


def test_the_door_leads_nowhere_else(tmp_path: Path) -> None:
    (tmp_path / "target").mkdir()
    (tmp_path / "secret").write_text("x")
    door = KernelConfigFs(tmp_path)
    for path in ("../secret", "core/../../secret", "core//x", "./core", "", "/etc/passwd", "core/\0"):
        with pytest.raises(ValueError, match="is not a path below"):
            door.read(path)
