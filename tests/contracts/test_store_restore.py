"""What every store does with what was deleted, and with what was overridden by hand."""

from datetime import datetime, timedelta
from typing import Protocol

import pytest

from controller.ports.store import Conflict, NotFound, Store
from controller.ports.tombstones import Tombstone, Tombstones
from manifests.kinds import Object
from manifests.meta import DISRUPTION
from tests.contracts.stores import API, GIT, NOW, later, machine, session, store

__all__ = ["store"]
pytestmark = pytest.mark.anyio
DAY = 86400.0


class Both(Store, Tombstones, Protocol):
    """All of it is one database."""


async def gone(store: Store, key: str, now: datetime = NOW, who: str = API) -> str:
    """Deleted and withdrawn; its uid."""
    await store.mark_deleted([key], now, who=who)
    uid = (await store.get(key)).metadata.uid or ""
    await store.remove(key, uid, now)
    return uid


async def restored(store: Store, item: Object, uid: str, now: datetime = NOW) -> None:
    await store.put([item], API, now, expect={item.key: 0}, revive={item.key: uid})


async def test_what_was_removed_is_kept_with_all_it_said(store: Both) -> None:
    await store.put([machine(labels={"room": "main"}, paused="true")], API, NOW)
    await store.annotate("Machine/pc1", {"ggnet/prune": "disabled"})
    assert await store.tombstones(NOW) == []
    uid = await gone(store, "Machine/pc1", later(9), "api:eve")
    (found,) = await store.tombstones(later(10))
    meta = found.object.metadata
    assert (found.object.key, found.object.spec, meta.labels) == ("Machine/pc1", machine().spec, {"room": "main"})
    assert meta.annotations == {"ggnet/paused": "true", "ggnet/prune": "disabled"}
    assert (meta.uid, meta.generation, meta.managed_by, meta.created_at, meta.deleted_at) == (uid, 1, API, NOW, later(9))
    assert (found.who, found.removed_at, found.until) == ("api:eve", later(9), later(9) + timedelta(days=30))


async def test_leave_to_cut_a_running_pc_is_not_restored(store: Both) -> None:
    await store.put([session("pc1")], API, NOW)
    await store.mark_deleted(["Session/pc1"], NOW, annotations={DISRUPTION: "allowed"})
    assert (await store.get("Session/pc1")).metadata.disruption_allowed
    await store.remove("Session/pc1", (await store.get("Session/pc1")).metadata.uid or "", NOW)
    assert (await store.tombstones(NOW))[0].object.metadata.annotations == {}


async def test_a_restored_object_is_the_same_a_generation_later(store: Both) -> None:
    await store.put([machine()], API, NOW)
    uid = await gone(store, "Machine/pc1")
    would = await store.put([machine()], API, later(9), revive={"Machine/pc1": uid}, dry_run=True)
    assert would.created == ("Machine/pc1",)
    assert len(await store.tombstones(NOW)) == 1
    await restored(store, machine(), uid, later(9))
    meta = (await store.get("Machine/pc1")).metadata
    assert (meta.uid, meta.generation, meta.created_at, meta.deleted_at, meta.managed_by) == (uid, 2, NOW, None, API)
    assert await store.tombstones(NOW) == []
    assert [entry.type for entry in await store.changes(0)] == ["ADDED", "MODIFIED", "DELETED", "ADDED"]
    assert await gone(store, "Machine/pc1") == uid
    with pytest.raises(NotFound, match="Machine/pc1"):
        await restored(store, machine("pc1"), "00000000-0000-4000-8000-ffffffffffff")


async def test_a_tombstone_is_restored_once_and_under_its_own_name(store: Both) -> None:
    await store.put([machine()], API, NOW)
    uid = await gone(store, "Machine/pc1")
    with pytest.raises(NotFound, match="Machine/pc2"):
        await restored(store, machine("pc2"), uid)
    await store.put([machine()], API, NOW)
    with pytest.raises(Conflict, match="exists"):
        await restored(store, machine(), uid)
    assert [one.object.metadata.uid for one in await store.tombstones(NOW)] == [uid]


async def test_what_is_too_old_is_forgotten(store: Both) -> None:
    await store.put([machine("pc1"), machine("pc2"), machine("pc3")], API, NOW)
    uid = await gone(store, "Machine/pc1")
    await gone(store, "Machine/pc2", later(10 * DAY))
    assert [one.object.key for one in await store.tombstones(later(29 * DAY))] == ["Machine/pc2", "Machine/pc1"]
    assert [one.object.key for one in await store.tombstones(later(30 * DAY))] == ["Machine/pc2"]
    with pytest.raises(NotFound):
        await restored(store, machine("pc1"), uid, later(30 * DAY))
    await gone(store, "Machine/pc3", later(30 * DAY))
    assert [one.object.key for one in await store.tombstones(NOW)] == ["Machine/pc3", "Machine/pc2"]


async def test_of_too_many_the_latest_are_kept_and_read_in_pages(store: Both) -> None:
    names = [f"pc{number}" for number in range(11)]
    await store.put([machine(name) for name in names], API, NOW)
    for number, name in enumerate(names):
        await gone(store, f"Machine/{name}", later(number // 3))
    found = await store.tombstones(later(9))
    assert sorted(one.object.name for one in found) == sorted([*names[3:]])
    pages, after = list[Tombstone](), None
    while page := await store.tombstones(later(9), after=after, limit=3):
        pages += page
        after = page[-1].removed_at, page[-1].object.metadata.uid or ""
    assert pages == list(found)


async def test_a_page_goes_on_behind_one_that_was_restored_meanwhile(store: Both) -> None:
    names = ["pc1", "pc2", "pc3"]
    await store.put([machine(name) for name in names], API, NOW)
    for number, name in enumerate(names):
        await gone(store, f"Machine/{name}", later(number))
    first, last = await store.tombstones(later(9), limit=2)
    assert [first.object.name, last.object.name] == ["pc3", "pc2"]
    uid = last.object.metadata.uid or ""
    await restored(store, machine("pc2"), uid)
    assert [one.object.name for one in await store.tombstones(later(9), after=(last.removed_at, uid))] == ["pc1"]


async def test_tombstones_are_found_by_key_and_kind(store: Both) -> None:
    await store.put([machine(), session("pc1")], API, NOW)
    for key in ("Session/pc1", "Machine/pc1"):
        await gone(store, key)
    assert [one.object.key for one in await store.tombstones(NOW, key="Session/pc1")] == ["Session/pc1"]
    assert [one.object.key for one in await store.tombstones(NOW, kind="Machine")] == ["Machine/pc1"]
    assert await store.tombstones(NOW, key="Machine/pc10") == []


async def test_a_dry_run_of_a_deletion_deletes_nothing(store: Store) -> None:
    await store.put([machine(), machine("pc2")], API, NOW)
    would = await store.mark_deleted(["Machine/pc1"], NOW, annotations={DISRUPTION: "allowed"}, dry_run=True)
    assert would.deleted == ("Machine/pc1",)
    meta = (await store.get("Machine/pc1")).metadata
    assert (meta.deleted_at, meta.annotations, (await store.list())[1]) == (None, {}, 2)


async def test_what_is_being_withdrawn_may_still_be_cut(store: Store) -> None:
    await store.put([session("pc1")], API, NOW)
    await store.mark_deleted(["Session/pc1"], NOW)
    again = await store.mark_deleted(["Session/pc1"], later(5), annotations={DISRUPTION: "allowed"})
    assert (again.deleted, again.unchanged, again.resource_version) == ((), 1, 3)
    meta = (await store.get("Session/pc1")).metadata
    assert (meta.deleted_at, meta.disruption_allowed) == (NOW, True)


async def test_what_is_forced_over_a_source_says_so_until_the_source_puts_it_back(store: Store) -> None:
    await store.put([machine(), machine("pc2")], GIT, NOW)
    assert await store.overridden(GIT) == {}
    assert (await store.put([machine()], API, NOW, force=True)).unchanged == 1
    await store.put([machine(mac=9)], API, NOW, force=True)
    meta = (await store.get("Machine/pc1")).metadata
    assert (meta.managed_by, meta.overridden_by) == (GIT, API)
    assert (await store.overridden(GIT), await store.overridden("git:other")) == ({"Machine/pc1": API}, {})
    assert (await store.put([machine(), machine("pc2")], GIT, NOW, prune=True)).changed == ("Machine/pc1",)
    meta = (await store.get("Machine/pc1")).metadata
    assert (meta.overridden_by, meta.generation) == (None, 3)
    assert await store.overridden(GIT) == {}


async def test_an_override_of_a_suspended_object_stays_until_it_is_resumed(store: Store) -> None:
    await store.put([machine()], GIT, NOW)
    await store.put([machine(mac=9)], API, NOW, force=True)
    await store.annotate("Machine/pc1", {"ggnet/paused": "true"})
    assert await store.overridden(GIT) == {}
    assert (await store.put([machine()], GIT, NOW, prune=True)).unchanged == 1
    assert (await store.get("Machine/pc1")).spec == machine(mac=9).spec
    await store.annotate("Machine/pc1", {"ggnet/paused": None})
    assert await store.overridden(GIT) == {"Machine/pc1": API}
    assert (await store.put([machine()], GIT, NOW, prune=True)).changed == ("Machine/pc1",)


async def test_what_was_deleted_by_force_is_known_to_its_source_also_when_it_is_gone(store: Both) -> None:
    await store.put([machine(), machine("pc2")], GIT, NOW)
    await store.mark_deleted(["Machine/pc1"], NOW, who=API)
    assert await store.overridden(GIT) == {"Machine/pc1": API}
    await store.remove("Machine/pc1", (await store.get("Machine/pc1")).metadata.uid or "", NOW)
    assert await store.overridden(GIT) == {"Machine/pc1": API}
    await store.put([machine(), machine("pc2")], GIT, NOW, prune=True)
    assert await store.overridden(GIT) == {}
    await gone(store, "Machine/pc2", NOW, GIT)
    assert await store.overridden(GIT) == {}


async def test_what_was_taken_from_its_source_is_its_sources_again_when_restored(store: Both) -> None:
    await store.put([machine()], GIT, NOW)
    uid = await gone(store, "Machine/pc1")
    await restored(store, machine(), uid)
    meta = (await store.get("Machine/pc1")).metadata
    assert (meta.managed_by, meta.overridden_by) == (GIT, API)
    await store.mark_deleted(["Machine/pc1"], NOW, who=API)
    await store.put([machine()], API, NOW)
    meta = (await store.get("Machine/pc1")).metadata
    assert (meta.managed_by, meta.deleted_at) == (GIT, None)


async def test_what_its_source_no_longer_holds_is_no_override_once_pruned(store: Store) -> None:
    await store.put([machine(), machine("pc2")], GIT, NOW)
    await store.put([machine(mac=9)], API, NOW, force=True)
    assert (await store.put([machine("pc2")], GIT, NOW, prune=True)).deleted == ("Machine/pc1",)
    assert await store.overridden(GIT) == {}
