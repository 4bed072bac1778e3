"""A host small enough to trust: what each step is meant to do, and nothing else.

It refuses what the real one must refuse, by assertion: cutting a live disk unasked, exporting a file that is not there,
deleting a file that is exported. ``texts`` remembers what the boot scripts say, by digest; ``day`` is today.
"""

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TypeVar

from controller.core import names
from controller.core.observed import BootFileState, ImageFile, Login, Observed, OverlayFile, OverlayState, TargetState
from controller.core.render import dhcpd
from controller.core.steps import (
    ActivateOverlay,
    Blocked,
    CommitOverlay,
    CreateOverlay,
    DeleteBootFile,
    DeleteOverlay,
    DeleteVersion,
    DiscardSource,
    Done,
    Failed,
    ImportImage,
    LoadDhcp,
    NoteUse,
    Outcome,
    Plan,
    PublishTarget,
    ReleaseVersion,
    Step,
    WithdrawTarget,
    WriteBootFile,
)
from controller.core.targets import cutting, difference, facts

K = TypeVar("K")
V = TypeVar("V")
_ADVERT = re.compile(r"initiator-iqn (\S+).*?iscsi:([0-9.]+):[^:]*:([0-9]+):0:(\S+)", re.DOTALL)


@dataclass(frozen=True)
class World:
    observed: Observed
    texts: Mapping[str, str] = field(default_factory=dict)
    refuses: frozenset[str] = frozenset()
    day: int = 0

    def with_(self, **parts: object) -> "World":
        return replace(self, observed=replace(self.observed, **parts))  # type: ignore[arg-type]


def sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def apply(plan: Plan, world: World, after: Callable[[World, Step], None] = lambda world, step: None) -> World:
    """Every due step in its order; ``after`` looks at the world behind each."""
    for step in plan.due:
        world = do(step, world)
        after(world, step)
    return world


def run(plan: Plan, world: World, breaks: Callable[[Step], bool]) -> tuple[World, dict[str, Outcome]]:
    """As the shell does it: what ``breaks`` blocks what comes after it for its owners. The worst by owner."""
    outcomes: dict[str, Outcome] = {}
    for step in plan.due:
        bad = sorted(owner for owner in step.owners if not isinstance(outcomes.get(owner, Done()), Done))
        outcome: Outcome = Blocked(bad[0]) if bad else Failed("Broken", "it broke") if breaks(step) else Done()
        if isinstance(outcome, Done):
            world = do(step, world)
        for owner in step.owners:
            if isinstance(outcomes.get(owner, Done()), Done):
                outcomes[owner] = outcome
    return world, outcomes


def do(step: Step, world: World) -> World:
    observed = world.observed
    pool = observed.pool
    match step.action:
        case ImportImage(image, version, _):
            stamp = pool.sources[image].stamp
            assert stamp is not None
            made = ImageFile(version, stamp.size, sha(f"{image} {stamp.mtime_ns}"), stamp, step.action.identity)
            images = {**pool.images, image: {**pool.images.get(image, {}), version: made}}
            return world.with_(pool=replace(pool, images=images))
        case DeleteVersion(image, version):
            on = {(name.image, name.version) for text in pool.overlays if (name := names.OverlayName.parse(text))}
            on |= {golden for name in _exported(world) if (golden := names.parse_golden(name))}
            assert (image, version) not in on, "deleted while something stands on it"
            images = {**pool.images, image: without(pool.images[image], version)}
            return world.with_(pool=replace(pool, images=images))
        case ReleaseVersion(image, version, until):
            told = replace(pool.images[image][version], released=until)
            images = {**pool.images, image: {**pool.images[image], version: told}}
            return world.with_(pool=replace(pool, images=images))
        case NoteUse(image, version):
            return _note(image, version, world)
        case CreateOverlay(name, size, limit, durable):
            there = pool.overlays.get(str(name))
            assert there is None or there.state is OverlayState.LOST, "made twice"
            assert pool.images[name.image][name.version].size == size
            assert name.exported not in _exported(world), "made anew while a target stands on what was there"
            made_so = OverlayFile(size, "snapshot", 0, limit, durable=durable)
            file = made_so if name.form == "cow" else OverlayFile(size, "copy")
            return world.with_(pool=replace(pool, overlays={**pool.overlays, str(name): file}))
        case ActivateOverlay(name, limit, durable):
            old = pool.overlays[str(name)]
            assert old.state is not OverlayState.FULL or name.exported not in _exported(world), "mended while it is open"
            file = replace(old, limit=max(limit, old.limit or 0), durable=durable, state=OverlayState.READY)
            return world.with_(pool=replace(pool, overlays={**pool.overlays, str(name): file}))
        case CommitOverlay(name, version, identity):
            assert name.exported not in _exported(world), "committed while a target stands on it"
            versions = pool.images[name.image]
            assert version not in versions, "a version was made anew"
            made = replace(versions[name.version], version=version, sha256=sha(identity), identity=identity)
            return world.with_(pool=replace(pool, images={**pool.images, name.image: {**versions, version: made}}))
        case DeleteOverlay(name):
            assert name.exported not in _exported(world), "deleted while a target stands on it"
            return world.with_(pool=replace(pool, overlays=without(pool.overlays, str(name))))
        case DiscardSource(identity):
            return world.with_(pool=replace(pool, brought=pool.brought - {identity}))
        case PublishTarget():
            return _publish(step.action, world)
        case WithdrawTarget(iqn, cut):
            assert cut or observed.targets[iqn].login is Login.NONE, "a live disk was cut"
            return world.with_(targets=without(observed.targets, iqn))
        case WriteBootFile():
            return _write(step.action, step.owners, world)
        case DeleteBootFile(path):
            return world.with_(boot=without(observed.boot, path))
        case LoadDhcp():
            return _load(step.action, world)


def _note(image: str, version: int, world: World) -> World:
    versions = world.observed.pool.images[image]
    noted = {**versions, version: replace(versions[version], used=world.day)}
    return world.with_(pool=replace(world.observed.pool, images={**world.observed.pool.images, image: noted}))


def _exported(world: World) -> set[str]:
    paths = (value for state in world.observed.targets.values() for fact, value in state.facts.items() if _is_path(fact))
    return {path.rpartition("/")[2] for path in paths}


def _is_path(fact: str) -> bool:
    return fact.endswith("/path") and fact.startswith(("backstore/", "disk/"))


def _publish(action: PublishTarget, world: World) -> World:
    target, observed = action.target, world.observed
    for lun in target.luns:
        assert _there(lun.path, observed), f"{lun.path} would be created empty"
    names_of = [lun.backstore for lun in target.luns]
    assert len(set(names_of)) == len(names_of), "one disk twice"
    old = observed.targets.get(target.iqn, TargetState({}))
    cut = cutting(target.initiator, difference(facts(target), old.facts))
    assert action.cut or not cut or old.login is Login.NONE, f"a live disk was cut: {cut}"
    state = TargetState(facts(target)) if cut else TargetState(facts(target), old.login, old.peer)
    return world.with_(targets={**observed.targets, target.iqn: state})


def _there(path: str, observed: Observed) -> bool:
    name = path.rpartition("/")[2]
    golden = names.parse_golden(name)
    ready = {
        overlay.exported
        for text, file in observed.pool.overlays.items()
        if (overlay := names.OverlayName.parse(text)) and file.state is OverlayState.READY
    }
    return golden[1] in observed.pool.images.get(golden[0], {}) if golden else name in ready


def _write(action: WriteBootFile, owners: frozenset[str], world: World) -> World:
    machine = next((key.removeprefix("Machine/") for key in owners if key.startswith("Machine/")), None)
    digest = sha(action.text) if action.text is not None else world.observed.nbps[action.nbp or ""]
    world = replace(world, texts={**world.texts, digest: action.text or ""})
    return world.with_(boot={**world.observed.boot, action.path: BootFileState(digest, ours=True, machine=machine)})


def _load(action: LoadDhcp, world: World) -> World:
    texts = dhcpd.stanzas(action.config)
    bad = {name: text for name, text in texts.items() if name in world.refuses}
    taken = replace(action.config, hosts=tuple(h for h in action.config.hosts if h.name not in bad))
    digest = dhcpd.digest(taken)
    state = replace(
        world.observed.dhcp,
        file=digest,
        loaded=digest,
        running=True,
        generation=action.generation,
        hosts=dhcpd.stanzas(taken),
        refused={**world.observed.dhcp.refused, **{name: (text, "semicolon expected") for name, text in bad.items()}},
    )
    return world.with_(dhcp=state)


def adverts(world: World) -> list[tuple[str, str, str, str]]:
    """(path, target, initiator, portal) of every boot script that stands."""
    found = []
    for path, state in sorted(world.observed.boot.items()):
        if match := _ADVERT.search(world.texts.get(state.sha256, "")):
            found.append((path, match[4], match[1], f"{match[2]}:{match[3]}"))
    return found


def broken(world: World) -> list[str]:
    """The scripts that lead a PC to something that is not a whole disk: judged apart from the planner's own rule."""
    return [path for path, iqn, initiator, portal in adverts(world) if not _gets_a_disk(world, iqn, initiator, portal)]


def _gets_a_disk(world: World, iqn: str, initiator: str, portal: str) -> bool:
    state = {str(name): state for name, state in world.observed.targets.items()}.get(iqn)
    if state is None:
        return False
    booted = state.facts.get("lun/0", "nothing")
    device = "backstore" if booted.endswith("-os") else f"disk/{booted.rpartition('-')[2]}"
    required = {
        device: booted,
        f"{device}/enable": "1",
        "tpg/enable": "1",
        f"acl/{initiator}": "1",
        f"acl/{initiator}/lun/0": "0",
        f"portal/{portal}": "1",
    }
    return required.items() <= state.facts.items()


def without(mapping: Mapping[K, V], key: K) -> dict[K, V]:
    return {name: value for name, value in mapping.items() if name != key}
