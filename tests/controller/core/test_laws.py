"""What must hold whatever is wished, whatever happened before and whatever a hand did (docs: P2 P5 P8 to P13)."""

from dataclasses import replace

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from controller.core.desired import Desired
from controller.core.observed import BootFileState, Login
from controller.core.plan import plan
from controller.core.resolve import resolve
from controller.core.steps import (
    ActivateOverlay,
    CreateOverlay,
    DeleteBootFile,
    DeleteOverlay,
    DeleteVersion,
    DiscardSource,
    Effect,
    ImportImage,
    LoadDhcp,
    NoteUse,
    PublishTarget,
    ReleaseVersion,
    Step,
    WithdrawTarget,
    WriteBootFile,
)
from controller.core.wire import subject
from tests.controller.core import walks
from tests.controller.core.objects import NOW, SITE, host
from tests.controller.core.simulate import World, apply, broken, do, run
from tests.controller.core.walks import (
    Damage,
    Wish,
    converged,
    damages,
    decide,
    desired,
    imported,
    logged_in,
    logins,
    wishes,
)

START = imported(host(["win11", "debian"]))
CASES = settings(max_examples=60, deadline=None)


def past(before: tuple[Wish, ...], who: dict[int, Login], harm: list[Damage]) -> World:
    """A world with a history: it was converged, PCs logged in, and somebody did something to it by hand."""
    snapshots = START.with_(pool=replace(START.observed.pool, driver="snapshot"))
    world = logged_in(converged(before, snapshots if any(damage.store for damage in harm) else START), who)
    for damage in harm:
        world = damage.done(world)
    return world


@CASES
@given(wishes(), wishes(), logins, damages)
def test_a_second_pass_has_nothing_to_do(
    before: tuple[Wish, ...], asked: tuple[Wish, ...], who: dict[int, Login], harm: list[Damage]
) -> None:
    world = past(before, who, harm)
    world = apply(decide(asked, world), world)
    assert decide(asked, world).due == ()


@CASES
@given(wishes(), wishes(), logins, damages)
def test_no_script_ever_leads_to_a_target_that_is_not_whole(
    before: tuple[Wish, ...], asked: tuple[Wish, ...], who: dict[int, Login], harm: list[Damage]
) -> None:
    world = past(before, who, harm)
    excused = set(broken(world))

    def look(now: World, step: Step) -> None:
        excused.intersection_update(broken(now))
        assert set(broken(now)) <= excused, f"after {step.action}"

    first = decide(asked, world)
    world = apply(first, world, look)
    waiting = {owner for step in first.steps if step.held for owner in step.owners}
    scripts = {path: world.observed.boot[path].machine for path in broken(world)}
    assert {machine for machine in scripts.values() if f"Machine/{machine}" not in waiting} == set()


@CASES
@given(wishes(), wishes(), logins, damages)
def test_a_live_disk_is_never_cut_unasked(
    before: tuple[Wish, ...], asked: tuple[Wish, ...], who: dict[int, Login], harm: list[Damage]
) -> None:
    world = past(before, who, harm)
    allowed = {f"pc{wish.number}" for wish in asked if wish.disruption and wish.there}
    for step in decide(asked, world).due:
        if isinstance(step.action, PublishTarget | WithdrawTarget) and step.action.cut:
            assert {f"Machine/{name}" for name in allowed} & step.owners
        world = do(step, world)  # the simulated host refuses every cut that was not allowed


@CASES
@given(wishes(), wishes(), logins)
def test_what_is_not_ours_stays_as_it_is(before: tuple[Wish, ...], asked: tuple[Wish, ...], who: dict[int, Login]) -> None:
    world = past(before, who, [])
    foreign = {
        "ggnet/machines/notes.txt": BootFileState("1" * 64, ours=False),
        "ggnet/machines/02-00-00-00-00-77.ipxe": BootFileState("2" * 64, ours=False, machine="pc1"),
    }
    world = world.with_(boot={**world.observed.boot, **foreign})
    world = apply(decide(asked, world), world)
    assert {path: world.observed.boot[path] for path in foreign} == foreign


@CASES
@given(wishes(), wishes(), logins, st.sets(st.sampled_from(["pool", "lio", "tftp", "dhcp"])))
@example((Wish(1), Wish(10)), (Wish(10),), {}, {"tftp"})
@example((Wish(1), Wish(10)), (Wish(10),), {}, {"lio"})
@example((Wish(1), Wish(10)), (Wish(10),), {}, {"pool"})
def test_an_incomplete_look_deletes_nothing_that_no_object_disowns(
    before: tuple[Wish, ...], asked: tuple[Wish, ...], who: dict[int, Login], missing: set[str]
) -> None:
    world = past(before, who, [])
    seen = replace(world.observed, complete=world.observed.complete - missing)
    known = desired(asked)
    for step in plan(known, seen, SITE).due:
        owner = next((key.removeprefix("Machine/") for key in step.owners if key.startswith("Machine/")), None)
        match step.action:
            case DeleteOverlay(name):
                disowned = name.machine in known.clients and (
                    name.uid in known.clients[name.machine].idle or known.clients[name.machine].boot is not None
                )
                assert disowned or not missing & {"pool", "lio"}
            case WithdrawTarget():
                assert owner in known.clients or not missing & {"lio", "tftp"}
            case DeleteBootFile():
                assert owner in known.clients or "tftp" not in missing
            case LoadDhcp():
                assert "dhcp" not in missing
            case (
                ImportImage()
                | CreateOverlay()
                | ActivateOverlay()
                | DiscardSource()
                | DeleteVersion()
                | NoteUse()
                | ReleaseVersion()
            ):
                assert "pool" not in missing
            case PublishTarget() | WriteBootFile():
                pass
        world = do(step, world)


@CASES
@given(wishes(), wishes(), logins, st.data())
def test_what_cannot_be_read_is_left_alone(
    before: tuple[Wish, ...], asked: tuple[Wish, ...], who: dict[int, Login], data: st.DataObject
) -> None:
    world = past(before, who, [])
    keys = sorted({*world.observed.targets, *world.observed.boot, *world.observed.pool.overlays, "lio", "tftp", "pool"})
    hidden = data.draw(st.sets(st.sampled_from(keys), min_size=1, max_size=3))
    pool = world.observed.pool
    seen = replace(
        world.observed,
        unreadable=dict.fromkeys(hidden, "Input/output error"),
        targets={iqn: state for iqn, state in world.observed.targets.items() if not {iqn, "lio"} & hidden},
        boot={path: file for path, file in world.observed.boot.items() if not {path, "tftp"} & hidden},
        pool=replace(pool, overlays={name: file for name, file in pool.overlays.items() if not {name, "pool"} & hidden}),
    )
    for step in plan(desired(asked), seen, SITE).due:
        assert subject(step.action) not in hidden
        match step.action:
            case PublishTarget() | WithdrawTarget():
                assert "lio" not in hidden
            case WriteBootFile() | DeleteBootFile():
                assert "tftp" not in hidden
            case CreateOverlay() | ActivateOverlay() | DeleteOverlay() | ImportImage():
                pass
            case DiscardSource() | DeleteVersion() | NoteUse() | ReleaseVersion():
                assert "pool" not in hidden
            case LoadDhcp():
                pass
        if isinstance(step.action, DeleteOverlay):
            assert SITE.target(step.action.name.machine) not in hidden
            assert "lio" not in hidden
        world = do(step, world)


@CASES
@given(wishes(), wishes(), wishes())
def test_an_older_picture_never_names_a_newer_disk(
    before: tuple[Wish, ...], later: tuple[Wish, ...], asked: tuple[Wish, ...]
) -> None:
    old = converged(before, START)
    new = converged(later, old)
    newer = new.observed.pool.overlays.keys() - old.observed.pool.overlays.keys()
    stale = decide(asked, old)
    assert not {str(s.action.name) for s in stale.steps if isinstance(s.action, DeleteOverlay)} & newer


@CASES
@given(wishes(), wishes())
def test_a_part_of_the_objects_deletes_no_disk_of_a_session_that_it_does_not_know(
    before: tuple[Wish, ...], asked: tuple[Wish, ...]
) -> None:
    world = converged(before, START)
    part = resolve(walks.objects(asked), SITE, NOW, complete=False)
    known = {uid for client in part.clients.values() for uid in client.idle}
    known |= {client.boot.uid for client in part.clients.values() if client.boot}
    steps = plan(part, world.observed, SITE).steps
    assert {s.action.name.uid for s in steps if isinstance(s.action, DeleteOverlay)} <= known
    assert not any(isinstance(step.action, LoadDhcp) for step in steps)


@CASES
@given(st.lists(wishes(paused=False), max_size=3), wishes(paused=False))
def test_the_end_does_not_depend_on_the_way(walk: list[tuple[Wish, ...]], asked: tuple[Wish, ...]) -> None:
    asked = tuple(
        replace(w, image="win11" if w.image == "absent" else w.image, persistence="ephemeral", games=w.games and "second")
        for w in asked
    )
    world = START
    for step in walk:
        world = converged(step, world)
    there, straight = converged(asked, world).observed, converged(asked, START).observed
    assert walks.nobody(there) == walks.nobody(straight)
    wanted = desired(asked)
    known = _known(wanted)
    uids = {name: name.rpartition("+")[2].removesuffix(".raw") for name in there.pool.overlays}
    assert {name for name, uid in uids.items() if uid in known - wanted.keep} == set(straight.pool.overlays)


def _known(wanted: Desired) -> set[str]:
    """The uids of all sessions that are asked for or have stopped."""
    booting = {client.boot.uid for client in wanted.clients.values() if client.boot}
    return booting | {uid for client in wanted.clients.values() for uid in client.idle}


@CASES
@given(wishes(), wishes())
def test_a_disk_of_a_session_that_nobody_knows_is_shown_and_left(before: tuple[Wish, ...], asked: tuple[Wish, ...]) -> None:
    world = converged(before, START)
    wanted = desired(asked)
    known = _known(wanted)
    steps = [s for s in decide(asked, world).steps if isinstance(s.action, DeleteOverlay) and s.action.name.uid not in known]
    assert all(step.held and step.effect is Effect.DATA_LOSS for step in steps)


@CASES
@given(wishes(paused=False), logins)
def test_a_wish_that_cannot_be_met_leaves_the_last_good_state_serving(
    asked: tuple[Wish, ...], who: dict[int, Login]
) -> None:
    asked = tuple(replace(wish, image="win11", there=True, enabled=True, session=True, running=True) for wish in asked)
    good = logged_in(converged(asked, START), who)
    bad = tuple(replace(wish, image="absent") for wish in asked)
    assert decide(bad, good).due == ()
    assert decide(asked, good).due == ()


@CASES
@given(wishes(paused=False), st.sampled_from([CreateOverlay, PublishTarget, WriteBootFile]))
def test_one_broken_machine_keeps_no_other_from_its_disk(asked: tuple[Wish, ...], kind: type) -> None:
    asked = tuple(replace(wish, image="win11", there=True, enabled=True, session=True, running=True) for wish in asked)

    def breaks(step: Step) -> bool:
        return isinstance(step.action, kind) and "Machine/pc10" in step.owners

    world = START
    for _ in range(2):
        world, _outcomes = run(decide(asked, world), world, breaks)
    left = decide(asked, world).due
    assert {owner for step in left for owner in step.owners if owner.startswith("Machine/")} <= {"Machine/pc10"}
    assert not any(isinstance(step.action, LoadDhcp) for step in left)
    assert {SITE.target("pc1"), SITE.target("pc2")} <= world.observed.targets.keys()


@given(wishes(paused=False))
@settings(max_examples=30, deadline=None)
@example((Wish(1), Wish(10), Wish(2)))
def test_a_host_that_dhcpd_refuses_is_left_out_and_tried_no_more(asked: tuple[Wish, ...]) -> None:
    asked = tuple(replace(wish, there=True, enabled=True) for wish in asked)
    world = replace(START, refuses=frozenset({"ggnet-pc10-0"}))
    world = apply(decide(asked, world), world)
    assert "ggnet-pc10-0" not in world.observed.dhcp.hosts
    assert {"ggnet-pc1-0", "ggnet-pc2-0"} <= world.observed.dhcp.hosts.keys()
    assert decide(asked, world).due == ()
    renamed = tuple(replace(wish, cards=3 - wish.cards) for wish in asked)
    assert any(isinstance(step.action, LoadDhcp) for step in decide(renamed, world).due)


@pytest.mark.parametrize("complete", [True, False])
def test_the_same_input_gives_the_same_plan(complete: bool) -> None:
    asked = (Wish(1), Wish(10, running=False), Wish(2, image="debian"))
    world = converged((Wish(1, life=2), Wish(10), Wish(2)), START)
    wanted = resolve(walks.objects(asked), SITE, NOW, complete=complete)
    backwards = resolve(reversed(walks.objects(asked)), SITE, NOW, complete=complete)
    shuffled = replace(world.observed, boot=dict(reversed(list(world.observed.boot.items()))))
    assert plan(wanted, world.observed, SITE) == plan(backwards, shuffled, SITE)
