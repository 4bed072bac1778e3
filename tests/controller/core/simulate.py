"""A host small enough to trust: what each step is meant to do, and nothing else.

It refuses what the real one must refuse, by assertion: cutting a live disk unasked, exporting a file that is not there,
deleting a file that is exported. ``texts`` remembers what the boot scripts say, by digest.
"""

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TypeVar

from controller.core import names
from controller.core.render import dhcpd
from controller.core.steps import (
    Blocked,
    CreateOverlay,
    DeleteBootFile,
    DeleteOverlay,
    Done,
    Failed,
    ImportImage,
    LoadDhcp,
    Outcome,
    Plan,
    PublishTarget,
    Step,
    WithdrawTarget,
    WriteBootFile,
)
from controller.core.targets import cutting, difference, facts
from controller.core.world import BootFileState, ImageFile, Login, Observed, OverlayFile, TargetState

K = TypeVar("K")
V = TypeVar("V")
_ADVERT = re.compile(r"initiator-iqn (\S+).*?iscsi:([0-9.]+):[^:]*:([0-9]+):0:(\S+)", re.DOTALL)


@dataclass(frozen=True)
class World:
    observed: Observed
    texts: Mapping[str, str] = field(default_factory=dict)
    refuses: frozenset[str] = frozenset()

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
            made = ImageFile(version, stamp.size, sha(f"{image} {stamp.mtime_ns}"), stamp)
            images = {**pool.images, image: {**pool.images.get(image, {}), version: made}}
            return world.with_(pool=replace(pool, images=images))
        case CreateOverlay(name, size):
            assert str(name) not in pool.overlays, "made twice"
            assert pool.images[name.image][name.version].size == size
            return world.with_(pool=replace(pool, overlays={**pool.overlays, str(name): OverlayFile(size, "copy")}))
        case DeleteOverlay(name):
            exported = {state.facts.get("backstore/path", "").rpartition("/")[2] for state in observed.targets.values()}
            assert str(name) not in exported, "deleted while a target stands on it"
            return world.with_(pool=replace(pool, overlays=without(pool.overlays, str(name))))
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


def _publish(action: PublishTarget, world: World) -> World:
    target, observed = action.target, world.observed
    name = target.path.rpartition("/")[2]
    golden = names.parse_golden(name)
    there = golden[1] in observed.pool.images.get(golden[0], {}) if golden else name in observed.pool.overlays
    assert there, f"{target.path} would be created empty"
    old = observed.targets.get(target.iqn, TargetState({}))
    cut = cutting(target.initiator, difference(facts(target), old.facts))
    assert action.cut or not cut or old.login is Login.NONE, f"a live disk was cut: {cut}"
    state = TargetState(facts(target)) if cut else TargetState(facts(target), old.login, old.peer)
    return world.with_(targets={**observed.targets, target.iqn: state})


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
    required = {
        "backstore/enable": "1",
        "tpg/enable": "1",
        "lun/0": state.facts.get("backstore", "no backstore"),
        f"acl/{initiator}": "1",
        f"acl/{initiator}/lun/0": "0",
        f"portal/{portal}": "1",
    }
    return required.items() <= state.facts.items()


def without(mapping: Mapping[K, V], key: K) -> dict[K, V]:
    return {name: value for name, value in mapping.items() if name != key}
