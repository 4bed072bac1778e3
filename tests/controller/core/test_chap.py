"""A secret as the planner knows it: a name and a digest. What changes when, and for whom."""

from dataclasses import replace
from typing import Any

import pytest

from controller.core import snapshot, targets
from controller.core.observed import CredentialState, Login
from controller.core.plan import plan
from controller.core.render import ipxe
from controller.core.resolve import resolve
from controller.core.status import statuses
from controller.core.steps import DeleteBootFile, Effect, ImportImage, Plan, PublishTarget, Step, WriteBootFile
from controller.core.wire import text
from manifests.kinds import Object
from manifests.machine import Machine
from tests.controller.core.objects import NOW, SITE, host, image, machine, network, session
from tests.controller.core.simulate import World, apply, without
from tests.controller.core.walks import imported, logged_in

OLD, NEW = "0123456789abcdef", "fedcba9876543210"
IQN, ACL = SITE.target("pc1"), f"acl/{SITE.initiator('pc1')}"
EMPTY = imported(host())


def room(*, chap: bool = True, **meta: Any) -> list[Object]:
    spec = {"chap": {"credential": "pc1"}} if chap else {}
    return [network(), image(), machine(1, meta=meta or None, **spec), session(1)]


def kept(world: World, digest: str | None, problem: str | None = None) -> World:
    return world.with_(credentials={"pc1": CredentialState(digest, problem)})


def decide(objects: list[Object], world: World) -> Plan:
    return plan(resolve(objects, SITE, NOW), world.observed, SITE)


def told(objects: list[Object], world: World) -> list[Object]:
    """With the status that a pass would write now."""
    wanted, left = resolve(objects, SITE, NOW), decide(objects, world)
    found = statuses(objects, wanted, world.observed, left, {}, NOW, SITE)
    return [one.model_copy(update={"status": found[one.key]}) for one in objects]


def knowing(objects: list[Object], before: list[Object]) -> list[Object]:
    """With the status of before."""
    return [one.model_copy(update={"status": old.status}) for one, old in zip(objects, before, strict=True)]


def served(*, chap: bool = True) -> tuple[list[Object], World]:
    """A room that is as it was asked for, and knows it."""
    world = kept(EMPTY, OLD)
    world = apply(decide(room(chap=chap), world), world)
    return told(room(chap=chap), world), world


def facts_of(world: World) -> dict[str, str]:
    return dict(world.observed.targets[IQN].facts)


def harmed(world: World, **changes: str | None) -> World:
    facts: dict[str, str] = facts_of(world)
    for name, value in changes.items():
        fact = {"auth": f"{ACL}/auth", "asks": "tpg/attrib/authentication", "lun": f"{ACL}/lun/0"}[name]
        facts = without(facts, fact) if value is None else {**facts, fact: value}
    return world.with_(targets={IQN: replace(world.observed.targets[IQN], facts=facts)})


def publications(found: Plan) -> list[Step]:
    return [step for step in found.steps if isinstance(step.action, PublishTarget)]


def test_a_machine_with_a_secret_gets_a_target_that_asks_and_a_script_that_sends_it_on() -> None:
    objects, world = served()
    assert facts_of(world)["tpg/attrib/authentication"] == "1"
    assert facts_of(world)[f"{ACL}/auth"] == OLD
    [script] = [world.texts[file.sha256] for path, file in world.observed.boot.items() if "machines" in path]
    assert "\nchain --autofree http://10.77.0.1:8067/chap/pc1.ipxe || goto failed\nsanboot " in script
    assert decide(objects, world).steps == ()
    [pc] = [one for one in objects if isinstance(one, Machine)]
    assert pc.status is not None
    assert pc.status.chap_digest == OLD


def test_a_script_is_read_back_with_and_without_a_secret() -> None:
    for chap in (False, True):
        script = ipxe.machine_script(SITE, "pc1", SITE.initiator("pc1"), "10.77.0.1:3260", IQN, chap=chap)
        found = ipxe.parse_script(script)
        assert found is not None
        assert found.chap is chap
        assert ("8067" in script) is chap
    assert ipxe.parse_script(script.replace("pc1.ipxe", "pc2.ipxe")) is None


@pytest.mark.parametrize("state", [None, CredentialState(None, "it is missing")])
def test_without_a_usable_secret_nothing_is_published_and_what_stands_is_left(state: CredentialState | None) -> None:
    fresh = EMPTY.with_(credentials={"pc1": state} if state else {})
    asked = decide(room(), fresh)
    assert not publications(asked)
    assert not [one for one in asked.steps if isinstance(one.action, WriteBootFile) and "machines" in one.action.path]
    reason = "ChapSecretUnusable" if state else "ChapSecretUnseen"
    ready = told(room(), fresh)[-1].status
    assert ready is not None
    assert (ready.phase, ready.conditions[0].reason) == ("Pending", reason)
    objects, world = served()
    for standing in (world, logged_in(world, {1: Login.ACTIVE})):
        assert decide(objects, standing.with_(credentials=fresh.observed.credentials)).steps == ()


def test_another_secret_counts_at_once_for_a_pc_that_is_off() -> None:
    objects, world = served()
    world = kept(world, NEW)
    [step] = publications(decide(objects, world))
    assert (step.held, step.effect) == (None, Effect.NONE)
    world = apply(decide(objects, world), world)
    assert facts_of(world)[f"{ACL}/auth"] == NEW
    assert decide(told(objects, world), world).steps == ()


@pytest.mark.parametrize("before", [True, False], ids=["another", "the first"])
@pytest.mark.parametrize("after", [True, False], ids=["changed", "given up"])
@pytest.mark.parametrize("login", [Login.ACTIVE, Login.UNKNOWN])
def test_under_a_pc_that_runs_it_waits_with_its_script_and_every_repair_that_the_pc_does_not_feel_is_done(
    before: bool, after: bool, login: Login
) -> None:
    objects, world = served(chap=before)
    wanted = knowing(room(chap=after), objects)
    world = kept(logged_in(world, {1: login}), NEW)
    if before == after is False:
        assert decide(wanted, world).steps == ()
        return
    [step] = publications(decide(wanted, world))
    assert step.held is not None
    assert "pc1" in step.held
    assert step.effect is Effect.NEXT_BOOT
    scripts = [step for step in decide(wanted, world).due if isinstance(step.action, DeleteBootFile)]
    assert scripts == []
    assert apply(decide(wanted, world), world).observed.targets == world.observed.targets
    hurt = harmed(world, lun=None)
    mended = apply(decide(wanted, hurt), hurt)
    assert mended.observed.targets == world.observed.targets
    off = logged_in(mended, {1: Login.NONE})
    done = apply(decide(wanted, off), off)
    assert facts_of(done).get(f"{ACL}/auth") == (NEW if after else None)
    assert decide(told(wanted, done), done).steps == ()


def test_a_secret_that_was_given_up_keeps_its_script_until_the_pc_is_off() -> None:
    objects, world = served()
    without_chap = [
        one.model_copy(update={"status": old.status}) for one, old in zip(room(chap=False), objects, strict=True)
    ]
    world = logged_in(world, {1: Login.ACTIVE})
    steps = [step for step in decide(without_chap, world).steps if isinstance(step.action, WriteBootFile)]
    assert [step.held is not None for step in steps] == [True]


def test_somebody_who_asks_for_it_by_name_gets_it_at_once() -> None:
    objects, world = served()
    allowed = room(annotations={"ggnet/disruption": "allowed"})
    wanted = knowing(allowed, objects)
    world = kept(logged_in(world, {1: Login.ACTIVE}), NEW)
    [step] = publications(decide(wanted, world))
    assert (step.held, step.effect) == (None, Effect.NEXT_BOOT)


@pytest.mark.parametrize("login", Login)
@pytest.mark.parametrize(
    "harm", [{"auth": None}, {"auth": NEW}, {"auth": None, "asks": "0"}], ids=["removed", "changed", "switched off"]
)
def test_what_a_hand_changed_is_put_right_whether_the_pc_runs_or_not(harm: dict[str, str | None], login: Login) -> None:
    objects, world = served()
    world = harmed(logged_in(world, {1: login}), **harm)
    found = decide(objects, world)
    [step] = publications(found)
    assert (step.held, step.cause, step.effect) == (None, "drift", Effect.NONE)
    assert facts_of(apply(found, world))[f"{ACL}/auth"] == OLD


def test_a_mend_under_a_pc_that_runs_never_opens_a_target() -> None:
    objects, world = served()
    world = kept(harmed(logged_in(world, {1: Login.ACTIVE}), auth=None, lun=None), NEW)
    after = facts_of(apply(decide(objects, world), world))
    assert after["tpg/attrib/authentication"] == "1"


def test_a_leftover_secret_where_none_is_wanted_is_drift() -> None:
    objects, world = served(chap=False)
    world = harmed(logged_in(world, {1: Login.ACTIVE}), auth=OLD, asks="1")
    [step] = publications(decide(objects, world))
    assert (step.held, step.cause) == (None, "drift")


def test_an_observation_keeps_digests_and_closed_doors() -> None:
    _, world = served()
    seen = kept(world, None, "it is missing").with_(closed={"10.77.0.1": "no"}).observed
    again = snapshot.loads(snapshot.dumps(seen))
    assert (again.credentials, again.closed, again.targets) == (seen.credentials, seen.closed, seen.targets)
    old = {key: one.replace('"closed"', '"x"').replace('"credentials"', '"y"') for key, one in snapshot.dumps(seen).items()}
    assert (snapshot.loads(old).credentials, snapshot.loads(old).closed) == ({}, {})


def test_a_session_whose_pc_has_nobody_to_ask_is_not_ready_and_says_why() -> None:
    objects, world = served()
    said = told(objects, world.with_(closed={"10.77.0.1": "port 8067 is held"}))[-1].status
    assert said is not None
    ready = said.condition("Ready")
    assert ready is not None
    assert (ready.status, ready.reason, ready.message) == ("False", "ChapDoorClosed", "port 8067 is held")
    other = told(objects, world.with_(closed={"10.9.9.9": "port 8067 is held"}))[-1].status
    assert other is not None
    assert other.phase == "Ready"


def test_a_plan_tells_of_a_secret_by_its_digest() -> None:
    objects, world = served()
    assert f"{ACL}/auth: {OLD} -> {NEW}" in text(decide(objects, kept(world, NEW)))


def test_a_target_that_asks_is_never_taken_for_one_that_is_right_without() -> None:
    _, world = served()
    found = facts_of(world)
    size = int(found["backstore/size"])
    path, serial = found["backstore/path"], found["backstore/serial"]
    assert not targets.right(found, "pc1", serial, path, size, SITE.initiator("pc1"), "10.77.0.1:3260")


# --- several disks ------------------------------------------------------------------------------------------------


def disks(*names: str) -> list[Object]:
    """The same room, whose PC has these disks."""
    wanted = [{"name": name, "image": "win11" if name == "os" else "games"} for name in names]
    spec = {"chap": {"credential": "pc1"}}
    return [network(), image(), image("games"), machine(1, **spec), session(1, image=None, disks=wanted)]


def with_disks(*names: str) -> tuple[list[Object], World]:
    world = host(["win11", "games"])
    world = kept(
        apply(Plan(tuple(s for s in decide(disks(*names), world).due if isinstance(s.action, ImportImage))), world), OLD
    )
    for _ in range(2):
        world = apply(decide(disks(*names), world), world)
    return told(disks(*names), world), world


def test_one_secret_holds_for_the_target_with_all_its_disks_and_is_told_before_each_is_logged_in_to() -> None:
    objects, world = with_disks("os", "games")
    facts = facts_of(world)
    assert (facts["tpg/attrib/authentication"], facts[f"{ACL}/auth"]) == ("1", OLD)
    assert [facts[f"lun/{number}"] for number in (0, 1)] == ["ggnet-pc1-os", "ggnet-pc1-games"]
    assert [facts[f"{ACL}/lun/{number}"] for number in (0, 1)] == ["0", "1"]
    [script] = [world.texts[file.sha256] for path, file in world.observed.boot.items() if "machines" in path]
    words = [line.split()[0] for line in script.splitlines() if line.startswith(("chain", "san", ":"))]
    assert words == [":again", "chain", "sanhook", "sanboot", ":failed", "sanunhook", ":local"]
    found = ipxe.parse_script(script)
    assert found is not None
    assert (found.luns, found.chap) == (2, True)
    assert decide(objects, world).steps == ()


def test_a_disk_that_comes_under_a_pc_that_knows_its_secret_is_published_and_one_that_goes_waits() -> None:
    objects, world = with_disks("os")
    world = logged_in(world, {1: Login.ACTIVE})
    both = knowing_of(disks("os", "games"), objects)
    more = apply(decide(both, world), world)
    more = apply(decide(both, more), more)
    assert (facts_of(more)["lun/1"], facts_of(more)[f"{ACL}/auth"]) == ("ggnet-pc1-games", OLD)
    [step] = publications(decide(knowing_of(disks("os"), objects), more))
    assert step.held is not None


def test_a_disk_that_comes_with_another_secret_waits_with_it() -> None:
    objects, world = with_disks("os")
    world = kept(logged_in(world, {1: Login.ACTIVE}), NEW)
    both = knowing_of(disks("os", "games"), objects)
    assert facts_of(apply(decide(both, world), world)) == facts_of(world)
    off = logged_in(apply(decide(both, world), world), {1: Login.NONE})
    done = facts_of(apply(decide(both, off), off))
    assert (done["lun/1"], done[f"{ACL}/auth"]) == ("ggnet-pc1-games", NEW)


def test_a_disk_that_is_broken_does_not_open_a_target_that_asks() -> None:
    objects, world = with_disks("os", "games")
    facts = {name: value for name, value in facts_of(world).items() if not name.startswith(("disk/games", f"{ACL}/lun/1"))}
    hurt = logged_in(world, {1: Login.ACTIVE})
    hurt = hurt.with_(targets={IQN: replace(hurt.observed.targets[IQN], facts=facts)})
    assert facts_of(apply(decide(objects, hurt), hurt)) == facts_of(world)


def knowing_of(objects: list[Object], before: list[Object]) -> list[Object]:
    """With the status of before, by key."""
    known = {one.key: one.status for one in before}
    return [one.model_copy(update={"status": known.get(one.key)}) for one in objects]
