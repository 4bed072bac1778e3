"""Whole plans as text, kept in ``tests/golden``: what a person would be shown, word by word.

``python -m tests.controller.core.test_golden`` writes them anew, to be read as a diff.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from controller.core.observed import BootFileState, ImageFile, Login, Stamp
from controller.core.plan import plan
from controller.core.resolve import day, resolve
from controller.core.status import statuses
from controller.core.steps import DeleteVersion, Plan
from controller.core.wire import text
from manifests.kinds import Object
from tests.controller.core.objects import GIB, NOW, SITE, host, image, machine, network, room, session
from tests.controller.core.simulate import World, apply, without
from tests.controller.core.walks import imported, logged_in

FOLDER = Path(__file__).parents[2] / "golden"
EMPTY = imported(host(["win11", "debian"]))


def decide(objects: list[Object], world: World) -> Plan:
    return plan(resolve(objects, SITE, NOW), world.observed, SITE)


def served(*numbers: int) -> World:
    return apply(decide(room(*numbers), EMPTY), EMPTY)


def settled(*numbers: int) -> list[Object]:
    """The room once its status says that it is as it was asked to be: what differs from now on is drift."""
    objects, world = room(*numbers), served(*numbers)
    wanted = resolve(objects, SITE, NOW)
    told = statuses(objects, wanted, world.observed, plan(wanted, world.observed, SITE), {}, NOW, SITE)
    return [one.model_copy(update={"status": told[one.key]}) for one in objects]


def harmed(fact: str, value: str | None, login: Login = Login.NONE) -> World:
    world, iqn = logged_in(served(1), {1: login}), SITE.target("pc1")
    facts = without(world.observed.targets[iqn].facts, fact)
    state = replace(world.observed.targets[iqn], facts=facts if value is None else {**facts, fact: value})
    return world.with_(targets={iqn: state})


def first_import() -> Plan:
    return decide(room(1), host())


def create() -> Plan:
    return decide(room(1), EMPTY)


def nothing() -> Plan:
    return decide(room(1, 2), served(1, 2))


def stop() -> Plan:
    return decide([network(), image(), machine(1), session(1, state="stopped")], served(1))


def stop_while_running() -> Plan:
    objects: list[Object] = [network(), image(), machine(1), session(1, state="stopped")]
    return decide(objects, logged_in(served(1), {1: Login.ACTIVE}))


def _other_image(**annotations: str) -> list[Object]:
    pc = machine(1, meta={"annotations": {f"ggnet/{name}": value for name, value in annotations.items()}})
    return [network(), image(), image("debian"), pc, session(1, image="debian")]


def image_change() -> Plan:
    return decide(_other_image(), served(1))


def image_change_while_running() -> Plan:
    return decide(_other_image(), logged_in(served(1), {1: Login.ACTIVE}))


def image_change_by_force() -> Plan:
    return decide(_other_image(disruption="allowed"), logged_in(served(1), {1: Login.ACTIVE}))


def image_change_and_disabled_group() -> Plan:
    return decide(_other_image(), harmed("tpg/enable", "0", Login.ACTIVE))


def login_unknown() -> Plan:
    return decide(_other_image(), logged_in(served(1), {1: Login.UNKNOWN}))


def drift_mapped_lun() -> Plan:
    return decide(settled(1), harmed(f"acl/{SITE.initiator('pc1')}/lun/0", None, Login.ACTIVE))


def drift_foreign_lun() -> Plan:
    return decide(settled(1), harmed("lun/1", "somebody-elses", Login.ACTIVE))


def drift_target_gone() -> Plan:
    return decide(settled(1), served(1).with_(targets={}))


def drift_disk_removed() -> Plan:
    world = served(1)
    return decide(settled(1), world.with_(pool=replace(world.observed.pool, overlays={})))


def drift_scripts() -> Plan:
    world = served(1)
    path = next(path for path in world.observed.boot if "machines" in path)
    edited = {**without(world.observed.boot, "ggnet/boot.ipxe"), path: BootFileState("0" * 64, ours=False)}
    return decide(settled(1), world.with_(boot=edited))


def drift_dhcp_edited() -> Plan:
    world = served(1)
    return decide(settled(1), world.with_(dhcp=replace(world.observed.dhcp, file="0" * 64, hosts={})))


def dhcp_written_but_not_loaded() -> Plan:
    world = served(1)
    return decide(settled(1), world.with_(dhcp=replace(world.observed.dhcp, loaded="0" * 64)))


def machine_removed_beside_its_namesake() -> Plan:
    return decide(room(10), served(1, 10))


def paused() -> Plan:
    suspended = machine(1, meta={"annotations": {"ggnet/paused": "true"}})
    return decide([network(), image(), suspended, session(1)], harmed("tpg/enable", "0"))


def kept_session_deleted() -> Plan:
    kept: list[Object] = [network(), image(), machine(1), session(1, persistence="keep")]
    world = apply(decide(kept, EMPTY), EMPTY)
    gone = session(1, persistence="keep", meta={"deletedAt": NOW})
    return decide([*kept[:3], gone], world)


def poison_host() -> Plan:
    world = replace(EMPTY, refuses=frozenset({"ggnet-pc10-0"}))
    world = apply(decide(room(1, 10), world), world)
    return decide(room(1, 10), world)


def pool_full() -> Plan:
    pool = replace(EMPTY.observed.pool, free=1)
    return decide(room(1), EMPTY.with_(pool=pool))


def _aged(versions: int) -> World:
    """The room is served from the newest of so many versions, all of which were last used long ago."""
    pool, written = EMPTY.observed.pool, Stamp(4 * GIB, 1)
    old = {v: ImageFile(v, 4 * GIB, f"{v:064x}", written, used=day(NOW) - 99) for v in range(1, versions + 1)}
    world = EMPTY.with_(pool=replace(pool, images={**pool.images, "win11": old}))
    return apply(Plan(tuple(s for s in decide(room(1), world).steps if not isinstance(s.action, DeleteVersion))), world)


def collect() -> Plan:
    return decide(room(1), _aged(5))


def collect_too_many() -> Plan:
    return decide(room(1), _aged(9))


SCENARIOS: Mapping[str, Callable[[], Plan]] = {
    scene.__name__.replace("_", "-"): scene
    for scene in (
        first_import,
        create,
        nothing,
        stop,
        stop_while_running,
        image_change,
        image_change_while_running,
        image_change_by_force,
        image_change_and_disabled_group,
        login_unknown,
        drift_mapped_lun,
        drift_foreign_lun,
        drift_target_gone,
        drift_disk_removed,
        drift_scripts,
        drift_dhcp_edited,
        dhcp_written_but_not_loaded,
        machine_removed_beside_its_namesake,
        paused,
        kept_session_deleted,
        poison_host,
        pool_full,
        collect,
        collect_too_many,
    )
}


@pytest.mark.parametrize("name", SCENARIOS)
def test_the_plan_reads_as_it_did(name: str) -> None:
    assert text(SCENARIOS[name]()) == (FOLDER / f"{name}.txt").read_text()


def test_no_golden_file_is_left_over() -> None:
    assert {path.stem for path in FOLDER.glob("*.txt")} == set(SCENARIOS)


if __name__ == "__main__":
    for scenario, make in SCENARIOS.items():
        (FOLDER / f"{scenario}.txt").write_text(text(make()))
