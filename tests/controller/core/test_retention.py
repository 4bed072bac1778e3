"""Which versions go: never one that anything stands on, never one before its time; and what people are told of them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time, timedelta
from math import ceil

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.core.desired import Desired
from controller.core.names import OverlayName, golden_path
from controller.core.observed import Domain, ImageFile, Observed, OverlayFile, Stamp, TargetState
from controller.core.plan import plan
from controller.core.resolve import resolve
from controller.core.status import forgettable, statuses
from controller.core.steps import DeleteVersion, NoteUse, Plan, ReleaseVersion
from manifests.commits import COMMIT, CommitRequest
from manifests.image import Image, ImageStatus
from manifests.kinds import Object
from manifests.session import Session
from tests.controller.core.objects import GIB, NOW, POOL, SITE, host, machine, network, session, stored
from tests.controller.core.simulate import World, apply

TODAY = int(NOW.timestamp()) // 86400
UPLOAD = "{:032x}"
UID = "0b6f6a52-6a3c-4b1e-8a53-1f2a3c4d5e6f"
DAYS = {"1d": 1.0, "36h": 1.5, "14d": 14.0}


@dataclass(frozen=True)
class Pool:
    """An image win11 in a pool: ``used`` is the day of each version's last use, ``source`` the version of its upload;
    ``told`` what the channel stable pointed at, now and before; the rest are versions that something stands on."""

    used: Mapping[int, int]
    keep: int = 3
    unused: str = "14d"
    source: int | None = None
    protect: frozenset[int] = frozenset()
    channels: Mapping[str, int] = field(default_factory=dict)
    told: tuple[int, int | None] | None = None
    pinned: frozenset[int] = frozenset()
    had: frozenset[int] = frozenset()
    disks: frozenset[int] = frozenset()
    stores: frozenset[int] = frozenset()
    exported: frozenset[int] = frozenset()
    collect: bool = True
    paused: bool = False
    others: int = 0

    def image(self) -> Image:
        retention = {
            "keep": self.keep,
            "unused": self.unused,
            "protect": [f"v{v}" for v in sorted(self.protect)],
            "collect": self.collect,
        }
        spec = {"source": {"upload": UPLOAD.format(self.source or max(self.used))}, "retention": retention}
        spec |= {"channels": {name: f"v{v}" for name, v in self.channels.items()}} if self.channels else {}
        annotations = {"ggnet/paused": "true"} if self.paused else {}
        made = stored("Image", "win11", spec, annotations=annotations)
        if self.told is None:
            return made  # type: ignore[no-any-return]
        channel = {"version": self.told[0], "previous": self.told[1], "since": NOW}
        status = ImageStatus.model_validate({"channels": {"stable": channel}})
        return made.model_copy(update={"status": status})  # type: ignore[no-any-return]

    def objects(self) -> list[Object]:
        found: list[Object] = [network(), self.image()]
        for v in sorted(self.pinned):
            found += [machine(v), session(v, image=f"win11@v{v}", state="stopped")]
        for v in sorted(self.had):
            one = session(100 + v, persistence="readonly", state="stopped")
            told = {"status": type(one).model_validate({**one.wire(), "status": {"imageVersion": v}}).status}
            found += [machine(100 + v), one.model_copy(update=told)]
        return found

    def desired(self, now: datetime = NOW) -> Desired:
        return resolve(self.objects(), SITE, now)

    def observed(self) -> Observed:
        seen = host(["win11"]).observed
        versions = {
            v: ImageFile(v, 4 * GIB, f"{v:064x}", Stamp(1, 1), f"upload {UPLOAD.format(v)}", used=day, taken=GIB)
            for v, day in self.used.items()
        }
        others = {v: ImageFile(v, 4 * GIB, "0" * 64, Stamp(1, 1)) for v in range(1, self.others + 1)}
        overlays = {_overlay(v, "raw"): OverlayFile(4 * GIB, "reflink") for v in self.disks}
        overlays |= {_overlay(v, "cow"): OverlayFile(4 * GIB, "snapshot") for v in self.stores}
        targets = {
            SITE.target(f"old{v}"): TargetState({"backstore/path": golden_path(POOL, "win11", v)}) for v in self.exported
        }
        images = {"win11": versions, **({"others": others} if others else {})}
        return replace(seen, pool=replace(seen.pool, images=images, overlays=overlays), targets=targets)


def _overlay(version: int, form: str) -> str:
    return str(OverlayName(f"gone{version}", "os", "win11", version, UID, "cow" if form == "cow" else "raw"))


def gone(decided: Plan) -> set[int]:
    return {s.action.version for s in decided.due if isinstance(s.action, DeleteVersion) and s.action.image == "win11"}


def asked_for(pool: Pool) -> set[int]:
    """The versions that anything stands on, or somebody said to keep: told from the picture itself."""
    found = {*pool.protect, *pool.channels.values(), *pool.pinned, *pool.had, *pool.disks, *pool.stores, *pool.exported}
    found |= {v for v in pool.told or () if v is not None}
    found |= set(sorted(pool.used)[-max(1, pool.keep) :])
    found |= {pool.source} if pool.source else set()
    return found if pool.collect and not pool.paused else set(pool.used)


def left_since(pool: Pool, version: int) -> datetime:
    """Its last use was before this."""
    return datetime.combine(date(1970, 1, 1) + timedelta(days=pool.used[version] + 1), time(), UTC)


def wrong(pool: Pool, decided: Plan, *, now: datetime = NOW, whole: bool = True) -> list[str]:
    """What goes and should not. ``whole``: all could be read, and the source is imported."""
    early = {v for v in pool.used if not pool.used[v] or now < left_since(pool, v) + timedelta(days=DAYS[pool.unused])}
    found = [f"v{v} is asked for" for v in gone(decided) & asked_for(pool)]
    found += [f"v{v} goes before its time" for v in gone(decided) & early]
    if len(gone(decided)) > max(5, (len(pool.used) + pool.others) // 10):
        found.append("more go at once than is credible")
    return found if whole else [*found, *(f"v{v} goes blindly" for v in gone(decided))]


_some = st.frozensets(st.integers(1, 9), max_size=2)
pools = st.builds(
    Pool,
    used=st.dictionaries(st.integers(1, 9), st.just(0) | st.integers(TODAY - 20, TODAY + 1), min_size=1),
    keep=st.integers(0, 4),
    unused=st.sampled_from(sorted(DAYS)),
    source=st.none(),
    protect=_some,
    channels=st.dictionaries(st.sampled_from(["stable", "beta"]), st.integers(1, 9), max_size=2),
    told=st.none() | st.tuples(st.integers(1, 9), st.none() | st.integers(1, 9)),
    pinned=_some,
    had=_some,
    disks=_some,
    stores=_some,
    exported=_some,
    collect=st.sampled_from([True, True, True, False]),
    paused=st.sampled_from([False, False, False, True]),
)


@settings(max_examples=300, deadline=None)
@given(pools, st.data())
def test_nothing_that_is_asked_for_is_ever_collected_and_all_else_is_in_its_time(pool: Pool, data: st.DataObject) -> None:
    pool = replace(pool, source=data.draw(st.none() | st.sampled_from(sorted(pool.used))))
    decided = plan(pool.desired(), pool.observed(), SITE)
    assert wrong(pool, decided) == []
    due = {v for v, used in pool.used.items() if used and TODAY - used > ceil(DAYS[pool.unused])} - asked_for(pool)
    assert gone(decided) == (due if len(due) <= 5 else set())


@settings(max_examples=60, deadline=None)
@given(pools)
def test_what_was_collected_is_gone_and_a_second_pass_has_nothing_to_do(pool: Pool) -> None:
    world = apply(plan(pool.desired(), pool.observed(), SITE), World(pool.observed(), day=TODAY))
    again = plan(pool.desired(), world.observed, SITE)
    assert not [step for step in again.due if isinstance(step.action, DeleteVersion | NoteUse)]


def moment(day: int, seconds: int = 0) -> datetime:
    return datetime.fromtimestamp(day * 86400 + seconds, UTC)


OLD = Pool(dict.fromkeys(range(1, 6), TODAY))
_HOUR = 3600


@pytest.mark.parametrize(
    ("since", "collected"),
    [(timedelta(days=13, hours=23), False), (timedelta(days=14) - timedelta(seconds=1), False), (timedelta(days=14), True)],
)
def test_a_version_goes_fourteen_days_after_the_end_of_the_day_of_its_last_use(since: timedelta, collected: bool) -> None:
    now = left_since(OLD, 1) + since
    assert gone(plan(OLD.desired(now), OLD.observed(), SITE)) == ({1, 2} if collected else set())


@pytest.mark.parametrize("hour", [0, 12, 23])
def test_no_version_goes_within_fourteen_days_of_the_very_moment_of_its_last_use(hour: int) -> None:
    used = moment(TODAY, hour * _HOUR)
    assert gone(plan(OLD.desired(used + timedelta(days=14)), OLD.observed(), SITE)) == set()
    assert gone(plan(OLD.desired(used + timedelta(days=15)), OLD.observed(), SITE)) == {1, 2}


def test_a_clock_that_was_put_back_collects_nothing() -> None:
    assert gone(plan(OLD.desired(NOW - timedelta(days=400)), OLD.observed(), SITE)) == set()


def test_more_than_the_prune_guard_allows_is_shown_and_waits() -> None:
    many = Pool(dict.fromkeys(range(1, 11), TODAY - 99))
    decided = plan(many.desired(), many.observed(), SITE)
    held = [step for step in decided.steps if isinstance(step.action, DeleteVersion)]
    assert (len(held), gone(decided)) == (7, set())
    assert {step.held for step in held if step.held and "7 of 10 versions" in step.held} == {held[0].held}
    assert gone(plan(replace(many, keep=5).desired(), many.observed(), SITE)) == {1, 2, 3, 4, 5}


def test_images_that_nobody_declares_keep_their_versions() -> None:
    wanted = replace(OLD.desired(NOW + timedelta(days=99)), images={})
    assert gone(plan(wanted, OLD.observed(), SITE)) == set()


def test_a_read_only_pc_notes_its_use_once_a_day() -> None:
    pool = Pool({1: TODAY - 3, 2: TODAY}, exported=frozenset({1, 2}))
    notes = [step.action for step in plan(pool.desired(), pool.observed(), SITE).due if isinstance(step.action, NoteUse)]
    assert notes == [NoteUse("win11", 1)]


# --- each guard alone ---------------------------------------------------------------------------------------------

AGO = TODAY - 99
KEPT = Pool(
    {**dict.fromkeys(range(1, 10), AGO), 10: TODAY - 14, 11: 0, 12: AGO},
    keep=0,
    source=9,
    protect=frozenset({5}),
    channels={"beta": 3},
    told=(4, None),
    pinned=frozenset({1}),
    had=frozenset({2}),
    disks=frozenset({6}),
    stores=frozenset({7}),
    exported=frozenset({8}),
    others=50,
)
"""Twelve versions, each kept by another thing."""
Seen = tuple[Desired, Observed]


def _retaining(**changed: object) -> Callable[[Desired, Observed], Seen]:
    def change(desired: Desired, observed: Observed) -> Seen:
        image = desired.images["win11"]
        retention = image.retention.model_copy(update=changed)
        return replace(desired, images={"win11": replace(image, retention=retention)}), observed

    return change


def _imagining(**changed: object) -> Callable[[Desired, Observed], Seen]:
    def change(desired: Desired, observed: Observed) -> Seen:
        return replace(desired, images={"win11": replace(desired.images["win11"], **changed)}), observed  # type: ignore[arg-type]

    return change


def _pooling(**changed: object) -> Callable[[Desired, Observed], Seen]:
    return lambda desired, observed: (desired, replace(observed, pool=replace(observed.pool, **changed)))  # type: ignore[arg-type]


def _without(form: str) -> Callable[[Desired, Observed], Seen]:
    def change(desired: Desired, observed: Observed) -> Seen:
        left = {name: file for name, file in observed.pool.overlays.items() if not name.endswith(form)}
        return desired, replace(observed, pool=replace(observed.pool, overlays=left))

    return change


def _seeing(change: Callable[[ImageFile], ImageFile], more: int = 0) -> Callable[[Desired, Observed], Seen]:
    def changed(desired: Desired, observed: Observed) -> Seen:
        versions = {v: change(one) for v, one in observed.pool.images["win11"].items()}
        versions |= {99: replace(versions[12], version=99)} if more else {}
        images = {**observed.pool.images, "win11": versions}
        return desired, replace(observed, pool=replace(observed.pool, images=images))

    return changed


def _believing(**changed: object) -> Callable[[Desired, Observed], Seen]:
    return lambda desired, observed: (desired, replace(observed, **changed))  # type: ignore[arg-type]


def _wanting(**changed: object) -> Callable[[Desired, Observed], Seen]:
    return lambda desired, observed: (replace(desired, **changed), observed)  # type: ignore[arg-type]


_ALL: frozenset[Domain] = frozenset({"pool", "lio", "tftp", "dhcp"})
OPEN = Pool(dict.fromkeys(range(1, 6), AGO))
MANY = Pool(dict.fromkeys(range(1, 12), AGO))
ROOM = {v: ImageFile(v, 1, "0" * 64, Stamp(1, 1)) for v in range(1, 200)}
SEEDED: dict[str, tuple[Callable[[Desired, Observed], Seen], Pool]] = {
    "pins are not asked": (_wanting(uses={("win11", 2): {"Session/pc102"}}), KEPT),
    "what a session has is not asked": (_wanting(uses={("win11", 1): {"Session/pc1"}}), KEPT),
    "channels are not asked": (_imagining(channels={}), KEPT),
    "a channel is never moved back": (_imagining(former={}), KEPT),
    "protection is not asked": (_retaining(protect=()), KEPT),
    "whole disks are not asked": (_without(".raw"), KEPT),
    "snapshots are not asked": (_without(".cow"), KEPT),
    "targets are not asked": (_believing(targets={}), KEPT),
    "the source is not asked": (_imagining(source=UPLOAD.format(12)), KEPT),
    "a day less": (_wanting(day=TODAY + 1), KEPT),
    "an unknown use is an old one": (_seeing(lambda one: replace(one, used=one.used or 1)), KEPT),
    "the newest is like any other": (_seeing(lambda one: one, more=1), KEPT),
    "off is on": (_retaining(collect=True), replace(OPEN, collect=False)),
    "suspended is not asked": (_imagining(paused=False), replace(OPEN, paused=True)),
    "there is no guard": (_pooling(images={"win11": MANY.observed().pool.images["win11"], "more": ROOM}), MANY),
}


@pytest.mark.parametrize("bug", SEEDED)
def test_a_guard_that_is_left_out_is_noticed(bug: str) -> None:
    change, pool = SEEDED[bug]
    assert wrong(pool, plan(pool.desired(), pool.observed(), SITE)) == []
    assert wrong(pool, plan(*change(pool.desired(), pool.observed()), SITE)) != []


BLIND: dict[str, Seen] = {
    "a part of the objects": (replace(OPEN.desired(), complete=False), OPEN.observed()),
    "targets not listed": (OPEN.desired(), replace(OPEN.observed(), complete=_ALL - {"lio"})),
    "pool not listed": (OPEN.desired(), replace(OPEN.observed(), complete=_ALL - {"pool"})),
    "an overlay unreadable": (OPEN.desired(), replace(OPEN.observed(), unreadable={_overlay(1, "raw"): "EIO"})),
    "another image unreadable": (OPEN.desired(), replace(OPEN.observed(), unreadable={"debian": "EIO"})),
    "an import is due": (replace(OPEN, source=7).desired(), OPEN.observed()),
    "no day": (replace(OPEN.desired(), day=0), OPEN.observed()),
}


@pytest.mark.parametrize("case", BLIND)
def test_a_look_that_is_not_whole_collects_nothing(case: str) -> None:
    assert wrong(OPEN, plan(*BLIND[case], SITE), whole=False) == []
    whole = plan(OPEN.desired(), OPEN.observed(), SITE)
    assert wrong(OPEN, whole) == []
    assert wrong(OPEN, whole, whole=False) != []


# --- several disks ------------------------------------------------------------------------------------------------

HAD = {
    "lun": 2,
    "name": "data",
    "image": "data",
    "version": 3,
    "persistence": "readonly",
    "serial": "x",
    "state": "readonly",
}
BASE = CommitRequest("c" * 32, "os", "win11", 4, "api:ada")


def several(annotations: Mapping[str, str] | None = None, *, told: bool = True) -> Session:
    """Stopped, of three disks: one pinned, one of a channel, and one that was told what it has."""
    disks = [
        {"name": "os", "image": "win11@v1"},
        {"name": "games", "image": "games@beta"},
        {"name": "data", "image": "data", "persistence": "readonly"},
    ]
    one = session(1, meta={"annotations": annotations or {}}, image=None, disks=disks, state="stopped")
    status = {"status": {"imageVersion": 1, "disks": [{**HAD, "lun": 0, "name": "os", "image": "win11", "version": 1}, HAD]}}
    return one.model_copy(update={"status": Session.model_validate({**one.wire(), **status}).status}) if told else one


def shelves(one: Session, *names: str, **changed: object) -> Seen:
    """Of each of these images five versions that nobody has used for long."""
    images = [stored("Image", name, {"source": {"path": f"{name}.raw"}, "retention": {"keep": 1}}) for name in names]
    seen = host(list(names)).observed
    versions = {v: ImageFile(v, 4 * GIB, f"{v:064x}", seen.pool.sources[names[0]].stamp, used=AGO) for v in range(1, 6)}  # type: ignore[arg-type]
    seen = replace(seen, pool=replace(seen.pool, images=dict.fromkeys(names, versions)), **changed)  # type: ignore[arg-type]
    return resolve([network(), *images, machine(1), one], SITE, NOW), seen


def left(seen: Seen) -> dict[str, set[int]]:
    """The versions of each image that stay."""
    going = {(s.action.image, s.action.version) for s in plan(*seen, SITE).steps if isinstance(s.action, DeleteVersion)}
    return {name: {v for v in there if (name, v) not in going} for name, there in seen[1].pool.images.items()}


def test_each_disk_of_a_session_keeps_the_version_that_it_names_or_was_told_to_have() -> None:
    assert left(shelves(several(), "win11", "games", "data")) == {"win11": {1, 5}, "games": {5}, "data": {3, 5}}
    assert left(shelves(several(told=False), "win11", "games", "data")) == {"win11": {1, 5}, "games": {5}, "data": {5}}


def test_what_any_disk_of_a_target_stands_on_stays_and_is_noted() -> None:
    facts = {"backstore/path": golden_path(POOL, "win11", 2), "disk/games/path": golden_path(POOL, "games", 3)}
    seen = shelves(several(), "win11", "games", targets={SITE.target("old"): TargetState(facts)})
    assert left(seen) == {"win11": {1, 2, 5}, "games": {3, 5}}
    noted = {step.action for step in plan(*seen, SITE).due if isinstance(step.action, NoteUse)}
    assert noted == {NoteUse("win11", 2), NoteUse("games", 3)}


def test_the_base_of_a_commit_that_was_asked_for_stays() -> None:
    assert left(shelves(several({COMMIT: str(BASE)}), "win11")) == {"win11": {1, 4, 5}}


# --- images that are deleted --------------------------------------------------------------------------------------


def forsaken(
    released: int, *sessions: Session, used: int = AGO, count: int = 2, **changed: object
) -> tuple[Desired, Observed]:
    """Versions of an Image that is no more."""
    seen = host([]).observed
    versions = {
        v: ImageFile(v, 4 * GIB, f"{v:064x}", Stamp(1, 1), used=used, released=released) for v in range(1, count + 1)
    }
    seen = replace(seen, pool=replace(seen.pool, images={"win11": versions}), **changed)  # type: ignore[arg-type]
    return resolve([network(), machine(1), *sessions], SITE, NOW), seen


def told_to_pool(decided: Plan) -> list[object]:
    return [step.action for step in decided.due if isinstance(step.action, ReleaseVersion | DeleteVersion)]


def deleted(**spec: object) -> Image:
    meta = {"deletedAt": NOW, **({"annotations": spec.pop("annotations")} if "annotations" in spec else {})}
    one = stored("Image", "win11", {"source": {"path": "win11.raw"}, **spec}, **meta)
    assert isinstance(one, Image)
    return one


@pytest.mark.parametrize(("spec", "days"), [({}, 14), ({"retention": {"unused": "36h"}}, 2)])
def test_the_pool_is_told_of_a_deleted_image_before_its_row_goes(spec: dict[str, object], days: int) -> None:
    objects: list[Object] = [network(), deleted(**spec)]
    wanted, (_, seen) = resolve(objects, SITE, NOW), forsaken(0)
    decided = plan(wanted, seen, SITE)
    assert told_to_pool(decided) == [ReleaseVersion("win11", v, TODAY + days) for v in (1, 2)]
    assert not forgettable(objects[1], decided, seen, SITE)
    for hidden in ("pool", "win11"):
        dark = replace(seen, unreadable={hidden: "Input/output error"})
        assert not forgettable(objects[1], plan(wanted, dark, SITE), dark, SITE)
    _, told = forsaken(TODAY + days)
    assert told_to_pool(plan(wanted, told, SITE)) == []
    assert forgettable(objects[1], plan(wanted, told, SITE), told, SITE)


@pytest.mark.parametrize("spec", [{"retention": {"collect": False}}, {"annotations": {"ggnet/deletion-policy": "orphan"}}])
def test_what_a_deleted_image_was_to_leave_is_left(spec: dict[str, object]) -> None:
    one, (_, seen) = deleted(**spec), forsaken(0)
    decided = plan(resolve([network(), one], SITE, NOW), seen, SITE)
    assert told_to_pool(decided) == []
    assert forgettable(one, decided, seen, SITE)


def test_versions_of_a_deleted_image_go_after_their_time_the_newest_too() -> None:
    assert gone(plan(*forsaken(TODAY - 1), SITE)) == {1, 2}
    assert len(gone(plan(*forsaken(TODAY - 1, count=9), SITE))) == 9
    assert gone(plan(*forsaken(TODAY), SITE)) == set()
    assert gone(plan(*forsaken(TODAY - 1, used=TODAY), SITE)) == set()
    assert gone(plan(*forsaken(TODAY - 1, complete=frozenset({"pool"})), SITE)) == set()


def test_versions_of_which_nobody_knows_whether_their_image_was_deleted_stay() -> None:
    assert told_to_pool(plan(*forsaken(0), SITE)) == []


def test_versions_of_a_deleted_image_stay_for_whoever_stands_on_them() -> None:
    pinned = session(1, image="win11@v1", state="stopped")
    assert gone(plan(*forsaken(TODAY - 1, pinned), SITE)) == {2}
    facts = {SITE.target("old"): TargetState({"backstore/path": golden_path(POOL, "win11", 2)})}
    assert gone(plan(*forsaken(TODAY - 1, targets=facts), SITE)) == {1}
    wanted, seen = forsaken(TODAY - 1)
    disk = {_overlay(1, "cow"): OverlayFile(4 * GIB, "snapshot")}
    assert gone(plan(wanted, replace(seen, pool=replace(seen.pool, overlays=disk)), SITE)) == {2}


def test_an_image_that_is_declared_again_has_its_versions_again() -> None:
    _, seen = forsaken(TODAY - 1)
    one = stored("Image", "win11", {"source": {"path": "gone.raw"}})
    decided = plan(resolve([network(), one], SITE, NOW), seen, SITE)
    assert told_to_pool(decided) == [ReleaseVersion("win11", v, 0) for v in (1, 2)]


# --- what is told -------------------------------------------------------------------------------------------------


def told(pool: Pool, *, free: int = 900 * GIB) -> ImageStatus:
    wanted, seen = pool.desired(), pool.observed()
    seen = replace(seen, pool=replace(seen.pool, free=free))
    objects = pool.objects()
    status = statuses(objects, wanted, seen, plan(wanted, seen, SITE), {}, NOW, SITE)["Image/win11"]
    assert isinstance(status, ImageStatus)
    return status


def test_each_version_says_what_keeps_it_or_when_it_goes() -> None:
    found = {one.version: (one.kept_by, one.collected_after) for one in told(KEPT).versions}
    assert {v: kept for v, (kept, _) in found.items()} == {
        1: ("Session/pc1",),
        2: ("Session/pc102",),
        3: ("channel beta",),
        4: ("rollback of stable",),
        5: ("protected",),
        6: ("private disks",),
        7: ("private disks",),
        8: (),
        9: ("source",),
        10: (),
        11: ("unknown use",),
        12: ("newest",),
    }
    assert found[10][1] == NOW.date()
    assert told(OPEN).versions[4].kept_by == ("newest 3", "source")
    assert told(OPEN).versions[0].last_used == date(1970, 1, 1) + timedelta(days=AGO)


def test_an_image_is_as_ready_while_a_version_of_it_goes_as_before() -> None:
    ready = told(OPEN).condition("Ready")
    assert ready is not None
    assert (told(OPEN).phase, ready.status) == ("Ready", "True")


def test_a_pool_that_fills_up_says_what_collecting_would_free_and_collects_no_sooner() -> None:
    pool = Pool(dict.fromkeys(range(1, 6), TODAY - 1))
    assert told(pool).condition("DiskPressure") is None
    pressed = told(pool, free=1).condition("DiskPressure")
    assert pressed is not None
    assert pressed.message.startswith("the pool is nearly full: collecting v1, v2 would free up to 2048 MiB")
    seen = replace(pool.observed(), pool=replace(pool.observed().pool, free=1))
    assert gone(plan(pool.desired(), seen, SITE)) == set()
