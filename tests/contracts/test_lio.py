"""What the target port promises, on the fake kernel everywhere and on the real one where there is one (the lab's guest)."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import anyio
import pytest

from controller.core import targets
from controller.core.desired import Target
from controller.core.observed import Login
from controller.core.steps import PublishTarget, WithdrawTarget
from controller.ports.host import EffectFailed, EffectRefused
from manifests.types import Iqn
from tests.contracts.lio_bench import CLIENT, DOORS, FOREIGN, PORTAL, SITE, SIZE, Bench, Crash, bench_on, other_path, tree

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(params=DOORS)
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bench]:
    with bench_on(request.param, tmp_path) as made:
        yield made


def tpg(target: Target) -> str:
    return f"iscsi/{target.iqn}/tpgt_1"


def mapped(target: Target) -> str:
    return f"{tpg(target)}/acls/{target.initiator}/lun_0"


# --- making and unmaking --------------------------------------------------------------------------------------


@pytest.mark.parametrize("readonly", [False, True])
async def test_a_published_target_has_exactly_its_facts(bench: Bench, *, readonly: bool) -> None:
    target = await bench.published(readonly=readonly)
    assert await bench.facts(target) == targets.facts(target)


async def test_publishing_a_right_target_writes_nothing(bench: Bench) -> None:
    target = await bench.published()
    lio, writes = bench.watched()
    await lio.publish(PublishTarget(target))
    assert writes == []


async def test_the_portal_group_is_enabled_last(bench: Bench) -> None:
    lio, writes = bench.watched()
    target = bench.target()
    await lio.publish(PublishTarget(target))
    assert writes[-1] == f"write {tpg(target)}/enable 1"
    assert sum("enable" in write for write in writes) == 2


async def test_withdrawing_leaves_the_kernel_as_it_was(bench: Bench) -> None:
    before = tree(bench.fs, "")
    target = await bench.published()
    await bench.withdraw(target)
    assert tree(bench.fs, "") == before
    assert await bench.facts(target) is None


async def test_withdrawing_twice_writes_nothing_the_second_time(bench: Bench) -> None:
    target = await bench.published()
    await bench.withdraw(target)
    lio, writes = bench.watched()
    await lio.withdraw(WithdrawTarget(target.iqn))
    assert writes == []


async def test_a_crash_at_any_write_of_publishing_is_finished_by_the_next_and_made_only_once(bench: Bench) -> None:
    target = bench.target()
    whole, writes = bench.watched()
    await whole.publish(PublishTarget(target))
    goal = tree(bench.fs, "")
    await bench.withdraw(target)
    assert len(writes) > 15
    for n in range(1, len(writes) + 1):
        for when in ("before", "after"):
            with pytest.raises(Crash):
                await bench.watched((n, when))[0].publish(PublishTarget(target))
            await bench.lio.publish(PublishTarget(target))
            assert tree(bench.fs, "") == goal, (n, when)
            await bench.withdraw(target)


async def test_a_crash_at_any_write_of_withdrawing_is_finished_by_the_next(bench: Bench) -> None:
    before = tree(bench.fs, "")
    target = await bench.published()
    whole, writes = bench.watched()
    await whole.withdraw(WithdrawTarget(target.iqn))
    for n in range(1, len(writes) + 1):
        for when in ("before", "after"):
            await bench.lio.publish(PublishTarget(target))
            with pytest.raises(Crash):
                await bench.watched((n, when))[0].withdraw(WithdrawTarget(target.iqn))
            await bench.withdraw(target)
            assert tree(bench.fs, "") == before, (n, when)


async def test_a_half_withdrawn_target_can_be_published_again(bench: Bench) -> None:
    target = await bench.published()
    whole, writes = bench.watched()
    await whole.withdraw(WithdrawTarget(target.iqn))
    for n in range(1, len(writes) + 1):
        await bench.lio.publish(PublishTarget(target))
        with pytest.raises(Crash):
            await bench.watched((n, "after"))[0].withdraw(WithdrawTarget(target.iqn))
        await bench.lio.publish(PublishTarget(target))
        assert await bench.facts(target) == targets.facts(target), n


async def test_another_disk_another_size_another_mode_replace_the_device(bench: Bench) -> None:
    target = await bench.published()
    changed = replace(other_path(bench, target), readonly=True)
    await bench.lio.publish(PublishTarget(changed))
    assert await bench.facts(target) == targets.facts(changed)


async def test_a_kernel_that_has_not_met_iscsi_yet_holds_no_target_and_takes_one(bench: Bench) -> None:
    bench.fs.rmdir("iscsi")
    target = bench.target()
    state = await bench.lio.observe(None)
    assert (dict(state.targets), dict(state.unreadable)) == ({}, {})
    await bench.withdraw(target)
    await bench.lio.publish(PublishTarget(target))
    assert await bench.facts(target) == targets.facts(target)


async def test_removing_pc1_leaves_pc10(bench: Bench) -> None:
    one, ten = await bench.published("pc1"), await bench.published("pc10")
    kept = tree(bench.fs, f"iscsi/{ten.iqn}") | tree(bench.fs, bench.device(ten))
    await bench.withdraw(one)
    assert tree(bench.fs, f"iscsi/{ten.iqn}") | tree(bench.fs, bench.device(ten)) == kept


# --- damage ---------------------------------------------------------------------------------------------------


def _unmap(bench: Bench, target: Target) -> None:
    bench.fs.unlink(f"{mapped(target)}/{target.backstore}")


def _unmap_and_remove(bench: Bench, target: Target) -> None:
    _unmap(bench, target)
    bench.fs.rmdir(mapped(target))


def _no_acl(bench: Bench, target: Target) -> None:
    _unmap_and_remove(bench, target)
    bench.fs.rmdir(mapped(target).removesuffix("/lun_0"))


def _unlink_lun(bench: Bench, target: Target) -> None:
    bench.fs.unlink(f"{tpg(target)}/lun/lun_0/{target.backstore}")


def _relink_lun(bench: Bench, target: Target) -> None:
    _unlink_lun(bench, target)
    bench.fs.symlink(bench.device(target), f"{tpg(target)}/lun/lun_0/by-hand")


def _no_lun(bench: Bench, target: Target) -> None:
    _unmap_and_remove(bench, target)
    _unlink_lun(bench, target)
    bench.fs.rmdir(f"{tpg(target)}/lun/lun_0")


def _no_device(bench: Bench, target: Target) -> None:
    _unlink_lun(bench, target)
    bench.fs.rmdir(bench.device(target))


def _disabled(bench: Bench, target: Target) -> None:
    bench.fs.write(f"{tpg(target)}/enable", "0")


def _foreign_lun(bench: Bench, target: Target) -> None:
    device = bench.make_device("fileio_0", "stranger", "11111111-2222-3333-4444-666666666666")
    bench.fs.mkdir(f"{tpg(target)}/lun/lun_1")
    bench.fs.symlink(device, f"{tpg(target)}/lun/lun_1/stranger")
    acl = mapped(target).removesuffix("/lun_0")
    bench.fs.mkdir(f"{acl}/lun_1")
    bench.fs.symlink(f"{tpg(target)}/lun/lun_1", f"{acl}/lun_1/stranger")


def _foreign_lun_zero(bench: Bench, target: Target) -> None:
    device = bench.make_device("fileio_0", "stranger", "11111111-2222-3333-4444-666666666666")
    _unlink_lun(bench, target)
    bench.fs.symlink(device, f"{tpg(target)}/lun/lun_0/stranger")


def _mapped_to_another_lun(bench: Bench, target: Target) -> None:
    _foreign_lun(bench, target)
    _unmap(bench, target)
    bench.fs.symlink(f"{tpg(target)}/lun/lun_1", f"{mapped(target)}/wrong")


def _foreign_acl(bench: Bench, target: Target) -> None:
    acl = f"{tpg(target)}/acls/{CLIENT}"
    bench.fs.mkdir(acl)
    bench.fs.mkdir(f"{acl}/lun_5")
    bench.fs.symlink(f"{tpg(target)}/lun/lun_0", f"{acl}/lun_5/x")


def _second_portal(bench: Bench, target: Target) -> None:
    bench.fs.mkdir(f"{tpg(target)}/np/127.0.0.1:3261")


def _no_portal(bench: Bench, target: Target) -> None:
    bench.fs.rmdir(f"{tpg(target)}/np/{target.portal}")


def _open_to_all(bench: Bench, target: Target) -> None:
    bench.fs.write(f"{tpg(target)}/attrib/generate_node_acls", "1")
    bench.fs.write(f"{tpg(target)}/attrib/authentication", "1")
    bench.fs.write(f"{bench.device(target)}/attrib/emulate_3pc", "1")
    bench.fs.write(f"{mapped(target).removesuffix('/lun_0')}/attrib/nopin_timeout", "15")


def _protected(bench: Bench, target: Target) -> None:
    bench.fs.write(f"{mapped(target)}/write_protect", "1")


def _second_group(bench: Bench, target: Target) -> None:
    group = f"iscsi/{target.iqn}/tpgt_2"
    bench.fs.mkdir(group)
    bench.fs.mkdir(f"{group}/lun/lun_0")
    bench.fs.symlink(bench.device(target), f"{group}/lun/lun_0/x")
    bench.fs.mkdir(f"{group}/np/127.0.0.1:3262")


def _another_hba(bench: Bench, target: Target) -> None:
    """As restoring a saved configuration does."""
    _no_device(bench, target)
    device = bench.make_device("fileio_1", target.backstore, target.serial)
    bench.fs.symlink(device, f"{tpg(target)}/lun/lun_0/{target.backstore}")


DAMAGES = [
    _unmap,
    _unmap_and_remove,
    _no_acl,
    _unlink_lun,
    _relink_lun,
    _no_lun,
    _no_device,
    _disabled,
    _foreign_lun,
    _foreign_lun_zero,
    _mapped_to_another_lun,
    _foreign_acl,
    _second_portal,
    _no_portal,
    _open_to_all,
    _protected,
    _second_group,
    _another_hba,
]


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__.strip("_"))
async def test_damage_by_hand_is_seen_and_repaired(bench: Bench, damage: Callable[[Bench, Target], None]) -> None:
    target = await bench.published()
    damage(bench, target)
    assert await bench.facts(target) != targets.facts(target)
    await bench.lio.publish(PublishTarget(target))
    assert await bench.facts(target) == targets.facts(target)


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__.strip("_"))
async def test_a_damaged_target_is_withdrawn_without_a_rest(bench: Bench, damage: Callable[[Bench, Target], None]) -> None:
    target = await bench.published()
    damage(bench, target)
    await bench.withdraw(target)
    assert await bench.facts(target) is None
    assert [name for name in bench.fs.listdir("iscsi") if name.startswith("iqn.")] == []
    assert not any("ggnet" in path for path in tree(bench.fs, "core"))


async def test_a_relinked_lun_shows_as_dangling(bench: Bench) -> None:
    target = await bench.published()
    _relink_lun(bench, target)
    facts = await bench.facts(target)
    assert facts is not None
    assert facts["lun/0"] == target.backstore
    assert facts[f"acl/{target.initiator}/lun/0"] == "dangling"


# --- who is logged in -----------------------------------------------------------------------------------------


async def test_a_login_is_seen_with_its_address(bench: Bench) -> None:
    target = await bench.published()
    idle = await bench.lio.observe([target.iqn])
    assert (idle.targets[target.iqn].login, idle.targets[target.iqn].peer) == (Login.NONE, None)
    with bench.client(target):
        state = (await bench.lio.observe(None)).targets[target.iqn]
        logins = await bench.lio.logins({target.iqn: target.initiator})
    assert (state.login, state.peer) == (Login.ACTIVE, "127.0.0.1")
    assert logins == {target.iqn: (Login.ACTIVE, "127.0.0.1")}


async def test_nobody_is_logged_in_to_a_target_that_is_not_there(bench: Bench) -> None:
    iqn = SITE.target("nobody")
    assert await bench.lio.logins({iqn: SITE.initiator("nobody")}) == {iqn: (Login.NONE, None)}


async def test_a_live_disk_is_neither_withdrawn_nor_replaced(bench: Bench) -> None:
    target = await bench.published()
    with bench.client(target):
        lio, writes = bench.watched()
        with pytest.raises(EffectRefused) as withdrawal:
            await lio.withdraw(WithdrawTarget(target.iqn))
        with pytest.raises(EffectRefused) as another_disk:
            await lio.publish(PublishTarget(other_path(bench, target)))
        with pytest.raises(EffectRefused) as another_client:
            await lio.publish(PublishTarget(replace(target, initiator=SITE.initiator("pc08"))))
        with pytest.raises(EffectRefused) as protection:
            await lio.publish(PublishTarget(replace(target, readonly=True)))
        assert writes == []
    for refusal in (withdrawal, another_disk, another_client, protection):
        assert refusal.value.reason == "InUse"
        assert target.initiator in str(refusal.value)


async def test_a_live_disk_is_cut_when_that_was_asked_for(bench: Bench) -> None:
    target = await bench.published()
    with bench.client(target):
        changed = other_path(bench, target)
        await bench.lio.publish(PublishTarget(changed, cut=True))
        assert await bench.facts(target) == targets.facts(changed)
    with bench.client(target):
        await bench.withdraw(target, cut=True)
    assert await bench.facts(target) is None


@pytest.mark.parametrize(
    "damage",
    [_unmap, _relink_lun, _foreign_lun, _second_portal, _open_to_all, _protected],
    ids=lambda damage: damage.__name__.strip("_"),
)
async def test_what_takes_nothing_from_a_live_client_is_repaired_under_it(
    bench: Bench, damage: Callable[[Bench, Target], None]
) -> None:
    target = await bench.published()
    with bench.client(target):
        damage(bench, target)
        await bench.lio.publish(PublishTarget(target))
        state = (await bench.lio.observe([target.iqn])).targets[target.iqn]
        assert dict(state.facts) == targets.facts(target)
        assert state.login is Login.ACTIVE


# --- what is not ours -----------------------------------------------------------------------------------------


async def test_foreign_things_stay_byte_identical_and_are_named(bench: Bench) -> None:
    folders = bench.make_foreign()
    before = [tree(bench.fs, folder) for folder in folders]
    target = await bench.published()
    state = await bench.lio.observe(None)
    assert set(state.targets) == {target.iqn}
    assert state.foreign == ("fileio_0/theirs", FOREIGN)
    for damage in (_foreign_acl, _relink_lun):
        damage(bench, target)
        await bench.lio.publish(PublishTarget(target))
    bench.fs.mkdir(f"{tpg(target)}/lun/lun_3")
    bench.fs.symlink("core/fileio_0/theirs", f"{tpg(target)}/lun/lun_3/theirs")
    await bench.lio.publish(PublishTarget(target))
    await bench.withdraw(target)
    assert [tree(bench.fs, folder) for folder in folders] == before


async def test_a_foreign_target_is_never_withdrawn(bench: Bench) -> None:
    bench.make_foreign()
    lio, writes = bench.watched()
    with pytest.raises(EffectRefused) as refusal:
        await lio.withdraw(WithdrawTarget(FOREIGN))
    assert (refusal.value.reason, writes) == ("Foreign", [])


async def test_a_backstore_of_our_name_with_another_serial_is_in_the_way(bench: Bench) -> None:
    target = await bench.published()
    home = bench.device(target).split("/")[1]
    await bench.withdraw(target)
    device = bench.make_device(home, target.backstore, "11111111-2222-3333-4444-777777777777")
    before = tree(bench.fs, device)
    with pytest.raises(EffectRefused) as refusal:
        await bench.lio.publish(PublishTarget(target))
    assert refusal.value.reason == "Foreign"
    assert device in str(refusal.value)
    await bench.withdraw(target)
    assert tree(bench.fs, device) == before
    state = await bench.lio.observe(None)
    assert (dict(state.targets), state.foreign) == ({}, (f"{home}/{target.backstore}",))


async def test_a_backstore_that_a_foreign_target_exports_too_is_named_and_left(bench: Bench) -> None:
    target = await bench.published()
    bench.make_foreign()
    bench.fs.mkdir(f"iscsi/{FOREIGN}/tpgt_1/lun/lun_9")
    bench.fs.symlink(bench.device(target), f"iscsi/{FOREIGN}/tpgt_1/lun/lun_9/x")
    with pytest.raises(EffectRefused) as refusal:
        await bench.withdraw(target)
    assert refusal.value.reason == "Foreign"
    assert FOREIGN in str(refusal.value)


async def test_a_backstore_without_a_target_is_a_state_of_its_own(bench: Bench) -> None:
    target = await bench.published()
    device = bench.device(target)
    bench.fs.write(f"{tpg(target)}/enable", "0")
    await bench.withdraw(target)
    bench.make_device(device.split("/")[1], target.backstore, target.serial)
    facts = (await bench.lio.observe(None)).targets[target.iqn].facts
    assert facts["backstore"] == target.backstore
    assert "tpg" not in facts


# --- what cannot be served ------------------------------------------------------------------------------------


def _rewrite(disk: Path, size: int | None) -> None:
    disk.unlink()
    if size is not None:
        with disk.open("wb") as file:
            file.truncate(size)


@pytest.mark.parametrize(
    ("content", "reason"), [(None, "DiskMissing"), (0, "DiskEmpty"), (1000, "DiskUneven"), (2 * SIZE, "DiskSize")]
)
async def test_a_disk_that_is_not_right_is_refused_and_no_blank_one_is_made(
    bench: Bench, content: int | None, reason: str
) -> None:
    target = bench.target()
    _rewrite(Path(target.path), content)
    lio, writes = bench.watched()
    with pytest.raises(EffectRefused) as refusal:
        await lio.publish(PublishTarget(target))
    assert (refusal.value.reason, writes) == (reason, [])
    assert target.path in str(refusal.value)
    assert bench.holds(target.path) == (content is not None)


async def test_a_disk_that_is_a_link_or_a_folder_is_refused(bench: Bench, tmp_path: Path) -> None:
    target = bench.target()
    link = tmp_path / "link.raw"
    link.symlink_to(target.path)
    for path in (link, tmp_path):
        with pytest.raises(EffectRefused) as refusal:
            await bench.lio.publish(PublishTarget(replace(target, path=str(path))))
        assert refusal.value.reason == "DiskUnreadable"


async def test_a_port_that_another_portal_holds_is_told(bench: Bench) -> None:
    bench.make_foreign()
    with pytest.raises(EffectFailed) as failed:
        await bench.lio.publish(PublishTarget(replace(bench.target(), portal="0.0.0.0:3260")))
    assert failed.value.reason == "PortalRefused"
    assert "0.0.0.0:3260" in str(failed.value)


HOSTILE = [
    "../../core",
    "a/b",
    "x\nfd_dev_size=1",
    "a,b",
    "a b",
    "",
    ".",
    "\0",
    "pc07\n",
    "ｐc07",
    "a" * 10_000,
    '"',
    "${x}",
]


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
async def test_no_hostile_string_reaches_the_kernel(bench: Bench, text: str) -> None:
    target = bench.target()
    lio, writes = bench.watched()
    bad = str.__new__(Iqn, f"{SITE.prefix}:{SITE.site}:{text}")
    hostile = [
        replace(target, iqn=bad),
        replace(target, initiator=str.__new__(Iqn, text)),
        replace(target, backstore=text),
        replace(target, serial=text),
        replace(target, portal=text),
        replace(target, portal=f"{text}:3260"),
        replace(target, path=text),
        replace(target, path=f"/srv/{text}/{text}"),
    ]
    for aimed in hostile:
        with pytest.raises(EffectRefused):
            await lio.publish(PublishTarget(aimed))
    with pytest.raises(EffectRefused):
        await lio.withdraw(WithdrawTarget(bad))
    state = await lio.observe([bad])
    assert (dict(state.targets), set(state.unreadable)) == ({}, {bad})
    assert writes == []


async def test_many_targets_at_once_come_and_go_whole(bench: Bench) -> None:
    wanted = [bench.target(f"pc{n:02d}") for n in range(24)]
    before = tree(bench.fs, "")
    lio = bench.lio
    async with anyio.create_task_group() as tasks:
        for target in wanted:
            tasks.start_soon(lio.publish, PublishTarget(target))
    state = await lio.observe(None)
    assert {iqn: dict(found.facts) for iqn, found in state.targets.items()} == {t.iqn: targets.facts(t) for t in wanted}
    async with anyio.create_task_group() as tasks:
        for target in wanted:
            tasks.start_soon(lio.withdraw, WithdrawTarget(target.iqn))
    assert tree(bench.fs, "") == before


def test_the_portal_of_these_tests_is_this_machine_alone() -> None:
    assert PORTAL.startswith("127.")
