"""What every store does with objects, their status and the change log."""

from datetime import timedelta

import pytest
from pydantic import ValidationError

from controller.ports.store import Applied, Conflict, Fenced, Gone, Lease, LogEntry, NotFound, StatusWrite, Store
from manifests.machine import Machine
from tests.contracts.stores import API, GIT, NOW, later, machine, session, store

__all__ = ["store"]
pytestmark = pytest.mark.anyio


async def leased(store: Store) -> Lease:
    lease = await store.acquire("server", "a", NOW, 30)
    assert lease is not None
    return lease


async def claimed(store: Store) -> list[str]:
    claims = await store.claim(later(3600), 100)
    await store.done(claims)
    return sorted(claim.key for claim in claims)


async def test_what_is_put_is_read_back_with_the_servers_metadata(store: Store) -> None:
    applied = await store.put([machine(labels={"room": "main"}, paused="true")], API, NOW)
    assert applied == Applied(created=("Machine/pc1",), resource_version=1)
    found = await store.get("Machine/pc1")
    meta = found.metadata
    assert found.spec == machine().spec
    assert (meta.labels, meta.annotations) == ({"room": "main"}, {"ggnet/paused": "true"})
    assert (meta.generation, meta.resource_version, meta.created_at, meta.managed_by) == (1, 1, NOW, API)
    assert meta.deleted_at is None
    assert meta.uid is not None
    assert len(meta.uid) == 36


async def test_an_object_that_is_not_there_is_not_found(store: Store) -> None:
    with pytest.raises(NotFound, match="Machine/pc1"):
        await store.get("Machine/pc1")
    with pytest.raises(NotFound, match="Machine/pc1"):
        await store.annotate("Machine/pc1", {"a": "b"})
    with pytest.raises(NotFound, match="Machine/pc2"):
        await store.mark_deleted(["Machine/pc2"], NOW)


async def test_a_list_is_ordered_by_kind_and_name_as_bytes(store: Store) -> None:
    await store.put([session("pc1"), machine("pc-1"), machine("pc1"), machine("pc10"), machine("pc1-a")], API, NOW)
    found, version = await store.list()
    names = ["Machine/pc-1", "Machine/pc1", "Machine/pc1-a", "Machine/pc10", "Session/pc1"]
    assert ([one.key for one in found], version) == (names, 5)
    found, _ = await store.list("Machine")
    assert [one.key for one in found] == names[:4]
    assert await store.list("Network") == ([], 5)
    assert sorted(await store.versions()) == names


async def test_the_same_put_again_writes_nothing(store: Store) -> None:
    await store.put([machine("pc1"), session("pc1")], GIT, NOW)
    await claimed(store)
    before = await store.list()
    applied = await store.put([session("pc1"), machine("pc1")], GIT, later(9), prune=True)
    assert applied == Applied(unchanged=2, resource_version=2)
    assert await store.list() == before
    assert await claimed(store) == []
    assert await store.changes(2) == []


async def test_generation_rises_with_the_spec_alone(store: Store) -> None:
    await store.put([machine()], API, NOW)
    uid = (await store.get("Machine/pc1")).metadata.uid
    await store.put([machine(labels={"room": "main"})], API, NOW)
    await store.put([machine(labels={"room": "main"}, paused="true")], API, NOW)
    meta = (await store.get("Machine/pc1")).metadata
    assert (meta.generation, meta.resource_version, meta.uid) == (1, 3, uid)
    await store.put([machine(mac=8, labels={"room": "main"}, paused="true")], API, NOW)
    meta = (await store.get("Machine/pc1")).metadata
    assert (meta.generation, meta.resource_version, meta.uid, meta.created_at) == (2, 4, uid, NOW)


@pytest.mark.parametrize(
    "changed", [machine(mac=8), machine(labels={"room": "b"}), machine(paused="true")], ids=["spec", "label", "annotation"]
)
async def test_every_change_of_what_was_declared_wakes_the_controller(store: Store, changed: Machine) -> None:
    await store.put([machine(), machine("pc2")], API, NOW)
    await claimed(store)
    assert (await store.put([changed], API, NOW)).changed == ("Machine/pc1",)
    assert await claimed(store) == ["Machine/pc1"]


async def test_a_new_manager_takes_the_object_over(store: Store) -> None:
    await store.put([machine()], API, NOW)
    applied = await store.put([machine()], GIT, NOW)
    assert applied.changed == ("Machine/pc1",)
    meta = (await store.get("Machine/pc1")).metadata
    assert (meta.managed_by, meta.generation) == (GIT, 1)


async def test_an_object_of_git_is_changed_by_hand_only_by_force(store: Store) -> None:
    await store.put([machine()], GIT, NOW)
    with pytest.raises(Conflict, match=r"Machine/pc1 .*git:main"):
        await store.put([machine("pc0"), machine(mac=8)], API, NOW)
    assert [one.key for one in (await store.list())[0]] == ["Machine/pc1"]
    assert (await store.put([machine(mac=8)], API, NOW, force=True)).changed == ("Machine/pc1",)
    assert (await store.get("Machine/pc1")).metadata.managed_by == GIT, "its source's next commit wins it back"


async def test_an_object_given_twice_is_a_conflict(store: Store) -> None:
    with pytest.raises(Conflict, match="twice"):
        await store.put([machine(), machine(mac=8)], API, NOW)


async def test_a_dry_run_tells_what_would_happen_and_does_nothing(store: Store) -> None:
    await store.put([machine("pc1"), machine("pc2"), machine("pc3")], GIT, NOW)
    await claimed(store)
    before, wanted = await store.list(), [machine("pc0"), machine("pc1"), machine("pc2", mac=9)]
    would = await store.put(wanted, GIT, later(5), prune=True, dry_run=True)
    assert (await store.list(), await claimed(store), await store.changes(3)) == (before, [], [])
    assert await store.put(wanted, GIT, later(5), prune=True) == would
    assert would == Applied(("Machine/pc0",), ("Machine/pc2",), ("Machine/pc3",), 1, 6)


async def test_pruning_takes_what_the_same_manager_no_longer_declares(store: Store) -> None:
    await store.put([machine("pc1"), machine("pc2"), machine("kept", prune="disabled")], GIT, NOW)
    await store.put([machine("mine")], API, NOW)
    await claimed(store)
    applied = await store.put([machine("pc1")], GIT, later(5), prune=True)
    assert (applied.deleted, applied.unchanged) == (("Machine/pc2",), 1)
    gone = [one.key for one in (await store.list())[0] if one.metadata.deleted_at == later(5)]
    assert (gone, await claimed(store)) == (["Machine/pc2"], ["Machine/pc2"])
    assert (await store.put([machine("pc1")], GIT, later(6), prune=True)).deleted == ()


async def test_pruning_is_stopped_by_an_annotation_set_by_hand(store: Store) -> None:
    await store.put([machine("pc1")], GIT, NOW)
    await store.annotate("Machine/pc1", {"ggnet/prune": "disabled"})
    assert (await store.put([], GIT, NOW, prune=True)).deleted == ()


async def test_a_stale_reader_is_told_to_read_again(store: Store) -> None:
    await store.put([machine()], API, NOW)
    await store.put([machine(mac=8)], API, NOW)
    for stale in (1, 3):
        with pytest.raises(Conflict, match="Machine/pc1"):
            await store.put([machine(mac=9)], API, NOW, expect={"Machine/pc1": stale})
        with pytest.raises(Conflict, match="Machine/pc1"):
            await store.mark_deleted(["Machine/pc1"], NOW, expect={"Machine/pc1": stale})
    await store.put([machine(mac=9)], API, NOW, expect={"Machine/pc1": 2})
    await store.mark_deleted(["Machine/pc1"], NOW, expect={"Machine/pc1": 3})


async def test_zero_is_expected_of_an_object_that_must_not_exist(store: Store) -> None:
    await store.put([machine()], API, NOW, expect={"Machine/pc1": 0})
    with pytest.raises(Conflict, match="exists"):
        await store.put([machine(mac=8)], API, NOW, expect={"Machine/pc1": 0})
    with pytest.raises(Conflict, match="gone"):
        await store.put([machine("pc2")], API, NOW, expect={"Machine/pc2": 4})


async def test_a_status_that_moved_on_does_not_refuse_an_edit(store: Store) -> None:
    await store.put([machine()], API, NOW)
    uid = str((await store.get("Machine/pc1")).metadata.uid)
    await store.report(await leased(store), statuses=[StatusWrite("Machine/pc1", uid, {"phase": "Ready"})])
    assert (await store.get("Machine/pc1")).metadata.resource_version == 2
    await store.put([machine(mac=8)], API, NOW, expect={"Machine/pc1": 1})
    with pytest.raises(Conflict):
        await store.put([machine(mac=9)], API, NOW, expect={"Machine/pc1": 2})


async def test_a_deleted_object_is_served_until_it_is_removed(store: Store) -> None:
    await store.put([machine()], API, NOW)
    await claimed(store)
    assert await store.mark_deleted(["Machine/pc1"], later(5)) == Applied(deleted=("Machine/pc1",), resource_version=2)
    meta = (await store.get("Machine/pc1")).metadata
    assert (meta.deleted_at, meta.generation) == (later(5), 1)
    assert await claimed(store) == ["Machine/pc1"]
    assert await store.mark_deleted(["Machine/pc1"], later(6)) == Applied(unchanged=1, resource_version=2)
    assert (await store.get("Machine/pc1")).metadata.deleted_at == later(5)
    await store.remove("Machine/pc1", str(meta.uid), NOW)
    assert await store.list() == ([], 3)
    await store.remove("Machine/pc1", str(meta.uid), NOW)
    assert [entry.type for entry in await store.changes(0)] == ["ADDED", "MODIFIED", "DELETED"]


async def test_a_deletion_of_several_is_all_or_nothing(store: Store) -> None:
    await store.put([machine()], API, NOW)
    with pytest.raises(NotFound):
        await store.mark_deleted(["Machine/pc1", "Machine/pc2"], NOW)
    assert (await store.get("Machine/pc1")).metadata.deleted_at is None


async def test_put_again_a_deleted_object_is_wanted_again_and_not_removed(store: Store) -> None:
    await store.put([machine()], GIT, NOW)
    await store.annotate("Machine/pc1", {"ggnet/paused": "true"})
    uid = str((await store.get("Machine/pc1")).metadata.uid)
    await store.mark_deleted(["Machine/pc1"], NOW)
    assert (await store.put([machine()], API, NOW)).changed == ("Machine/pc1",)
    meta = (await store.get("Machine/pc1")).metadata
    assert (meta.uid, meta.generation, meta.deleted_at, meta.managed_by) == (uid, 2, None, API)
    assert meta.annotations == {}
    with pytest.raises(Conflict, match="wanted again"):
        await store.remove("Machine/pc1", uid, NOW)


async def test_an_object_of_another_uid_is_not_removed(store: Store) -> None:
    await store.put([machine()], API, NOW)
    await store.mark_deleted(["Machine/pc1"], NOW)
    await store.remove("Machine/pc1", "00000000-0000-4000-8000-ffffffffffff", NOW)
    assert [one.key for one in (await store.list())[0]] == ["Machine/pc1"]


async def test_a_name_used_anew_after_removal_is_another_object(store: Store) -> None:
    await store.put([machine()], API, NOW)
    old = (await store.get("Machine/pc1")).metadata
    await store.mark_deleted(["Machine/pc1"], NOW)
    await store.remove("Machine/pc1", str(old.uid), NOW)
    await store.put([machine()], API, later(9))
    new = (await store.get("Machine/pc1")).metadata
    assert new.uid != old.uid
    assert (new.generation, new.created_at) == (1, later(9))


async def test_a_disk_left_in_place_is_remembered_until_its_machine_has_a_session_again(store: Store) -> None:
    await store.put([session("s1", "pc1"), session("s2", "pc2")], API, NOW)
    for name, pc in (("s1", "pc1"), ("s2", "pc2")):
        await store.mark_deleted([f"Session/{name}"], NOW)
        await store.remove(f"Session/{name}", str((await store.get(f"Session/{name}")).metadata.uid), NOW, orphan=pc)
    assert await store.orphans() == {"pc1", "pc2"}
    await store.put([machine("pc1"), session("other", "pc2")], API, NOW, dry_run=True)
    assert await store.orphans() == {"pc1", "pc2"}
    await store.put([machine("pc1"), session("other", "pc2")], API, NOW)
    assert await store.orphans() == {"pc1"}


async def test_annotating_wakes_the_controller_without_a_new_generation(store: Store) -> None:
    await store.put([machine(prune="disabled")], API, NOW)
    await claimed(store)
    await store.annotate("Machine/pc1", {"ggnet/paused": "true", "ggnet/prune": None})
    meta = (await store.get("Machine/pc1")).metadata
    assert (meta.annotations, meta.generation, meta.resource_version) == ({"ggnet/paused": "true"}, 1, 2)
    assert await claimed(store) == ["Machine/pc1"]
    await store.annotate("Machine/pc1", {"ggnet/paused": "true", "other": None})
    assert (await store.list())[1] == 2
    assert await claimed(store) == []


async def test_what_was_suspended_by_hand_stays_so_after_the_next_commit(store: Store) -> None:
    await store.put([machine()], GIT, NOW)
    await store.annotate("Machine/pc1", {"ggnet/paused": "true"})
    assert (await store.put([machine()], GIT, NOW)).unchanged == 1
    await store.put([machine(mac=8)], GIT, NOW)
    assert (await store.get("Machine/pc1")).metadata.paused
    await store.annotate("Machine/pc1", {"ggnet/paused": None})
    await store.put([machine(mac=8, paused="true")], GIT, NOW)
    assert (await store.get("Machine/pc1")).metadata.paused


async def test_a_put_by_hand_says_all_annotations(store: Store) -> None:
    await store.put([machine()], API, NOW)
    await store.annotate("Machine/pc1", {"ggnet/paused": "true"})
    assert (await store.put([machine()], API, NOW)).changed == ("Machine/pc1",)
    assert not (await store.get("Machine/pc1")).metadata.paused


async def test_an_annotation_that_no_manifest_may_carry_is_refused(store: Store) -> None:
    await store.put([machine()], API, NOW)
    with pytest.raises(ValidationError, match="ggnet/paused"):
        await store.annotate("Machine/pc1", {"ggnet/paused": "maybe"})
    assert (await store.list())[1] == 1


async def test_a_status_is_written_once_and_wakes_nobody_but_watchers(store: Store) -> None:
    await store.put([machine(), machine("pc2")], API, NOW)
    await claimed(store)
    lease, objects = await leased(store), (await store.list())[0]
    writes = [StatusWrite(one.key, str(one.metadata.uid), {"phase": "Ready", "observedGeneration": 1}) for one in objects]
    assert await store.report(lease, statuses=writes) == 2
    assert await store.report(lease, statuses=writes) == 0
    found = await store.get("Machine/pc2")
    assert found.status is not None
    assert (found.status.phase, found.status.observed_generation) == ("Ready", 1)
    assert (found.metadata.generation, found.metadata.resource_version) == (1, 4)
    assert await claimed(store) == []
    assert await store.versions() == {"Machine/pc1": 1, "Machine/pc2": 2}
    changed = [LogEntry(3, "Machine/pc1", "MODIFIED"), LogEntry(4, "Machine/pc2", "MODIFIED")]
    assert (await store.changes(2), (await store.list())[1]) == (changed, 4)


async def test_a_status_of_a_uid_that_is_gone_is_skipped(store: Store) -> None:
    lease = await leased(store)
    await store.put([machine()], API, NOW)
    uid = str((await store.get("Machine/pc1")).metadata.uid)
    await store.report(lease, statuses=[StatusWrite("Machine/pc1", uid, {"phase": "Ready"})])
    await store.mark_deleted(["Machine/pc1"], NOW)
    await store.remove("Machine/pc1", uid, NOW)
    await store.put([machine()], API, NOW)
    assert await store.report(lease, statuses=[StatusWrite("Machine/pc1", uid, {"phase": "Active"})]) == 0
    assert (await store.get("Machine/pc1")).status is None


async def test_a_message_may_hold_what_no_database_can(store: Store) -> None:
    await store.put([machine()], API, NOW)
    uid = str((await store.get("Machine/pc1")).metadata.uid)
    condition = {"type": "Ready", "status": "False", "reason": "X", "message": "a\0b\N{SNOWMAN}", "observedGeneration": 1}
    status = {"conditions": [{**condition, "lastTransitionTime": "2026-01-05T12:00:00Z"}]}
    await store.report(await leased(store), statuses=[StatusWrite("Machine/pc1", uid, status)])
    found = (await store.get("Machine/pc1")).status
    assert found is not None
    assert found.conditions[0].message == "a\0b\N{SNOWMAN}"


async def test_the_change_log_is_read_in_pages(store: Store) -> None:
    await store.put([machine(f"pc{number}") for number in range(5)], API, NOW)
    assert [entry.resource_version for entry in await store.changes(1, limit=2)] == [2, 3]
    assert [entry.key for entry in await store.changes(3)] == ["Machine/pc3", "Machine/pc4"]
    assert await store.changes(5) == []


async def test_a_reader_who_missed_too_much_is_told(store: Store) -> None:
    await store.put([machine(f"pc{number}") for number in range(200)], API, NOW)
    with pytest.raises(Gone, match="list"):
        await store.changes(0)
    with pytest.raises(Gone, match="list"):
        await store.changes(201)
    assert [entry.resource_version for entry in await store.changes(200 - 64)] == list(range(137, 201))


async def test_the_older_of_two_controllers_writes_nothing(store: Store) -> None:
    """P7: once the newer epoch stands, no write of the older one takes effect."""
    await store.put([machine()], API, NOW)
    uid = str((await store.get("Machine/pc1")).metadata.uid)
    old = await leased(store)
    new = await store.acquire("server", "b", old.expires + timedelta(seconds=1), 30)
    assert new is not None
    write = [StatusWrite("Machine/pc1", uid, {"phase": "Ready"})]
    with pytest.raises(Fenced, match="epoch 1"):
        await store.report(old, statuses=write)
    with pytest.raises(Fenced):
        await store.report(old, statuses=[])
    with pytest.raises(Fenced):
        await store.report(old, observations={"Machine/pc1": "{}"})
    assert (await store.get("Machine/pc1")).status is None
    assert await store.observations() == {}
    assert await store.report(new, statuses=write) == 1
