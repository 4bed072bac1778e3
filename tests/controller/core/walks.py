"""Random wishes, random histories and random damage, for the laws."""

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from hypothesis import strategies as st

from controller.core.desired import Desired
from controller.core.observed import Login, Observed, OverlayState, TargetState
from controller.core.plan import plan
from controller.core.resolve import resolve
from controller.core.steps import ImportImage, Plan
from manifests.kinds import Object
from tests.controller.core.objects import NOW, SITE, image, mac, machine, network, session
from tests.controller.core.simulate import World, apply, sha

NUMBERS = (1, 10, 2)


@dataclass(frozen=True)
class Wish:
    """What is wanted of one machine; ``life`` tells a session from an earlier one of the same name."""

    number: int
    there: bool = True
    enabled: bool = True
    session: bool = True
    running: bool = True
    image: str = "win11"
    persistence: str = "ephemeral"
    games: str = ""
    life: int = 1
    cards: int = 1
    renamed: bool = False
    paused: bool = False
    disruption: bool = False

    def objects(self) -> list[Object]:
        if not self.there:
            return []
        annotations = {"ggnet/paused": "true"} if self.paused else {}
        if self.disruption:
            annotations["ggnet/disruption"] = "allowed"
        spec: dict[str, Any] = {"macs": [mac(self.number, card) for card in range(self.cards)], "enabled": self.enabled}
        if self.renamed:
            spec["initiator"] = f"iqn.2020-05.example.lab:pc{self.number}"
        state = "running" if self.running else "stopped"
        pc = machine(self.number, meta={"annotations": annotations}, **spec)
        wanted: dict[str, Any] = {"image": self.image, "state": state, "persistence": self.persistence}
        if self.games:
            games: dict[str, Any] = {"name": "games", "image": "debian"}
            if self.games == "keep":
                games["persistence"] = "keep"
            disks = [{"name": "os", "image": self.image}, games]
            wanted |= {"image": None, "disks": disks[::-1] if self.games == "first" else disks}
        return [pc, session(self.number, meta={"life": self.life}, **wanted)] if self.session else [pc]


_CHANGES = (
    ("there", False),
    ("there", False),
    ("enabled", False),
    ("session", False),
    ("running", False),
    ("image", "win11@v1"),
    ("image", "debian"),
    ("image", "absent"),
    ("games", "second"),
    ("games", "second"),
    ("games", "first"),
    ("games", "keep"),
    ("persistence", "keep"),
    ("persistence", "readonly"),
    ("life", 2),
    ("cards", 2),
    ("renamed", True),
    ("disruption", True),
    ("paused", True),
)


def wishes(*, paused: bool = True) -> st.SearchStrategy[tuple[Wish, ...]]:
    """For each machine the plain wish, a running session, with a few things different."""
    changes = st.lists(st.sampled_from(_CHANGES if paused else _CHANGES[:-1]), max_size=3)
    return st.tuples(*(st.builds(_changed, st.just(Wish(number)), changes) for number in NUMBERS))


def _changed(wish: Wish, changes: list[tuple[str, Any]]) -> Wish:
    return replace(wish, **dict(changes))


def objects(asked: tuple[Wish, ...]) -> list[Object]:
    return [network(), image("win11"), image("debian"), *(thing for wish in asked for thing in wish.objects())]


def desired(asked: tuple[Wish, ...]) -> Desired:
    return resolve(objects(asked), SITE, NOW + timedelta(minutes=1))


def decide(asked: tuple[Wish, ...], world: World) -> Plan:
    return plan(desired(asked), world.observed, SITE)


def imported(world: World) -> World:
    """The world once all images are imported, which is a pass of its own: what an import gives is not known before."""
    imports = tuple(step for step in decide((), world).steps if isinstance(step.action, ImportImage))
    return apply(Plan(imports), world)


def converged(asked: tuple[Wish, ...], world: World) -> World:
    for _ in range(4):
        world = apply(decide(asked, world), world)
    return world


_FACTS = (
    "backstore",
    "backstore/path",
    "backstore/serial",
    "backstore/attrib/emulate_3pc",
    "tpg",
    "tpg/attrib/authentication",
    "tpg/enable",
    "lun/0",
    "acl",
    "acl/lun/0",
    "acl/lun/0/write_protect",
    "portal",
    "disk/games",
    "disk/games/path",
    "lun/1",
    "acl/lun/1",
    "acl/lun/1/write_protect",
)
_EXTRA = ("lun/7", "disk/old", "acl/iqn.2020-05.example.other:x", "portal/10.9.9.9:3260", "odd")


@dataclass(frozen=True)
class Damage:
    """Something that a hand did to one target or one script: ``value`` None removes. ``store`` is what became of its
    snapshot, or how new disks are made from now on."""

    number: int
    fact: str
    value: str | None
    script: bool
    whole: bool
    lost: bool = False
    store: str | None = None

    def done(self, world: World) -> World:
        observed, iqn = world.observed, SITE.target(f"pc{self.number}")
        if self.store:
            return self._stored(world, self.store)
        if self.script:
            path = f"ggnet/machines/{mac(self.number).replace(':', '-')}.ipxe"
            if path not in observed.boot:
                return world
            kept = {name: file for name, file in observed.boot.items() if name != path}
            edited = {} if self.value is None else {path: replace(observed.boot[path], sha256=sha(self.value))}
            return world.with_(boot={**kept, **edited})
        if self.lost:
            pool = observed.pool
            left = {name: file for name, file in pool.overlays.items() if not name.startswith(f"pc{self.number}.")}
            return world.with_(pool=replace(pool, overlays=left))
        if iqn not in observed.targets:
            return world
        state = observed.targets[iqn]
        others = {name: target for name, target in observed.targets.items() if name != iqn}
        if self.whole:
            return world.with_(targets=others)
        name = next((f for f in sorted(state.facts) if f == self.fact or self._named(f)), self.fact)
        facts = {fact: value for fact, value in state.facts.items() if fact != name}
        if self.value is not None:
            facts[name] = self.value
        return world.with_(targets={**others, iqn: replace(state, facts=facts)})

    def _stored(self, world: World, what: str) -> World:
        observed, pool = world.observed, world.observed.pool
        if what in ("snapshot", "copy"):
            return world.with_(pool=replace(pool, driver=what))
        state = OverlayState(what)
        changed = {
            name: replace(file, state=state)
            for name, file in pool.overlays.items()
            if name.startswith(f"pc{self.number}.") and name.endswith(".cow")
        }
        gone = SITE.target(f"pc{self.number}") if state is OverlayState.INACTIVE and changed else None
        targets = {iqn: target for iqn, target in observed.targets.items() if iqn != gone}
        return world.with_(pool=replace(pool, overlays={**pool.overlays, **changed}), targets=targets)

    def _named(self, fact: str) -> bool:
        parts = fact.split("/")
        return "/".join([parts[0], *parts[2:]]) == self.fact if parts[0] in ("acl", "portal") else False


damages = st.lists(
    st.builds(
        Damage,
        number=st.sampled_from(NUMBERS),
        fact=st.sampled_from(_FACTS + _EXTRA),
        value=st.sampled_from([None, "0", "1", "other", "dangling"]),
        script=st.booleans(),
        whole=st.sampled_from([False, False, True]),
        lost=st.sampled_from([False, False, False, True]),
        store=st.sampled_from([None, None, None, "inactive", "full", "lost", "snapshot", "copy"]),
    ),
    max_size=4,
)
logins = st.fixed_dictionaries({number: st.sampled_from(list(Login)) for number in NUMBERS})


def logged_in(world: World, who: dict[int, Login]) -> World:
    found = dict(world.observed.targets)
    for number, login in who.items():
        iqn = SITE.target(f"pc{number}")
        if iqn in found:
            found[iqn] = TargetState(found[iqn].facts, login, "10.77.0.99" if login is Login.ACTIVE else None)
    return world.with_(targets=found)


def nobody(observed: Observed) -> dict[str, object]:
    """What stands outside, without who is logged in and how often dhcpd was loaded: what two ways to one end must share."""
    return {
        "targets": {iqn: dict(state.facts) for iqn, state in observed.targets.items()},
        "boot": {path: file.sha256 for path, file in observed.boot.items()},
        "hosts": dict(observed.dhcp.hosts),
        "loaded": observed.dhcp.loaded,
    }
