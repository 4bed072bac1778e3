"""An observation as JSON texts, one a machine and one for each thing that all share, and back.

So that only what differs is stored, and the doors can plan from what the controller last saw.
"""

import json
from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import asdict, fields
from typing import Any

from controller.core.names import OverlayName
from controller.core.observed import (
    BootFileState,
    CredentialState,
    DhcpState,
    ImageFile,
    Login,
    Observed,
    OverlayFile,
    OverlayState,
    PoolState,
    SourceFile,
    Stamp,
    TargetState,
)
from manifests.types import Iqn

HOST, IMAGES, DHCP = "host", "images", "dhcp"
SWEEP = "sweep"  # beside the observation itself: {"at": when the last look at everything ended, "epoch": whose look}
METRICS = "metrics/"  # and a server's name: what its controller has counted
MACHINE = "machine/"
_OVERLAY = tuple(each.name for each in fields(OverlayFile))


def dumps(observed: Observed, machines: Collection[str] | None = None, told: Observed | None = None) -> Mapping[str, str]:
    """``machine/NAME``, ``images``, ``dhcp`` and ``host`` -> JSON, keys sorted; the same observation gives the same text.

    With ``machines`` only theirs and what is shared, and of a machine that has nothing left an empty text, so that
    what was stored of it can be removed. What dhcpd serves is as long as the list of hosts: it is left out where it is
    the same as in ``told``.
    """
    asked = None if machines is None else frozenset(machines)
    parts: dict[str, dict[str, dict[str, Any]]] = defaultdict(lambda: {"targets": {}, "boot": {}, "overlays": {}})
    for iqn, target in observed.targets.items():
        machine = iqn.rpartition(":")[2].partition(".")[0]
        if asked is not None and machine not in asked:
            continue
        parts[MACHINE + machine]["targets"][iqn] = _target(target)
    for path, file in observed.boot.items():
        if asked is not None and file.machine and file.machine not in asked:
            continue
        parts[MACHINE + file.machine if file.machine else HOST]["boot"][path] = [file.sha256, file.ours]
    for text, overlay in observed.pool.overlays.items():
        if asked is not None and text.partition(".")[0] not in asked and OverlayName.parse(text):
            continue
        name = OverlayName.parse(text)
        parts[MACHINE + name.machine if name else HOST]["overlays"][text] = [getattr(overlay, name) for name in _OVERLAY]
    loose = parts.pop(HOST, {})
    texts = {key: _text(part) for key, part in parts.items()}
    if asked is not None:
        texts = {key: texts.get(key, "") for key in (MACHINE + name for name in asked)}
    shared: dict[str, Mapping[str, Any]] = {HOST: _host(observed, loose), IMAGES: _images(observed.pool)}
    if told is None or told.dhcp != observed.dhcp:
        shared[DHCP] = {each.name: getattr(observed.dhcp, each.name) for each in fields(observed.dhcp)}
    return {**texts, **{key: _text(part) for key, part in shared.items()}}


def loads(texts: Mapping[str, str]) -> Observed:
    """The observation again. ValueError for what ``dumps`` did not write."""
    try:
        return _loads({key: json.loads(text) for key, text in texts.items() if text})
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        raise ValueError(f"not an observation that this version wrote: {error!r}") from error


def _loads(parts: Mapping[str, Any]) -> Observed:
    host, images = parts[HOST], parts[IMAGES]
    targets: dict[Iqn, TargetState] = {}
    boot: dict[str, BootFileState] = {}
    overlays: dict[str, OverlayFile] = {}
    for key, part in (*((key, part) for key, part in parts.items() if key.startswith(MACHINE)), (HOST, host)):
        machine = key.removeprefix(MACHINE) if key.startswith(MACHINE) else None
        for iqn, (facts, login, peer) in part["targets"].items():
            targets[Iqn.parse(iqn)] = TargetState(facts, Login(login), peer)
        boot |= {path: BootFileState(sha256, ours, machine) for path, (sha256, ours) in part["boot"].items()}
        overlays |= {name: _overlay(*values) for name, values in part["overlays"].items()}
    pool = PoolState(
        images={name: {v["version"]: _image(v) for v in versions} for name, versions in images["images"].items()},
        overlays=overlays,
        sources={
            name: SourceFile(Stamp(*stamp) if stamp else None, why) for name, (stamp, why) in images["sources"].items()
        },
        free=host["free"],
        total=host["total"],
        driver=host.get("driver", PoolState().driver),
        brought=frozenset(host.get("brought", ())),
    )
    state = parts[DHCP]
    return Observed(
        pool=pool,
        targets=targets,
        boot=boot,
        nbps=host["nbps"],
        dhcp=DhcpState(**{**state, "refused": {name: tuple(pair) for name, pair in state["refused"].items()}}),
        complete=frozenset(host["complete"]),
        unreadable=host["unreadable"],
        foreign=tuple(host["foreign"]),
        pool_dir=host["poolDir"],
        credentials={name: CredentialState(*found) for name, found in host.get("credentials", {}).items()},
        closed=host.get("closed", {}),
    )


def _target(state: TargetState) -> list[Any]:
    return [dict(state.facts), state.login.value, state.peer]


def _host(observed: Observed, loose: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "targets": loose.get("targets", {}),
        "boot": loose.get("boot", {}),
        "overlays": loose.get("overlays", {}),
        "nbps": dict(observed.nbps),
        "free": observed.pool.free,
        "total": observed.pool.total,
        "driver": observed.pool.driver,
        "brought": sorted(observed.pool.brought),
        "complete": sorted(observed.complete),
        "unreadable": dict(observed.unreadable),
        "foreign": list(observed.foreign),
        "poolDir": observed.pool_dir,
        "credentials": {name: [one.digest, one.problem] for name, one in observed.credentials.items()},
        "closed": dict(observed.closed),
    }


def _images(pool: PoolState) -> dict[str, Any]:
    return {
        "images": {name: [asdict(versions[v]) for v in sorted(versions)] for name, versions in pool.images.items()},
        "sources": {
            name: [[s.stamp.size, s.stamp.mtime_ns] if s.stamp else None, s.problem] for name, s in pool.sources.items()
        },
    }


def _overlay(
    size: int,
    method: str,
    used: int = 0,
    limit: int | None = None,
    state: str = OverlayState.READY,
    durable: bool | None = None,
) -> OverlayFile:
    return OverlayFile(size, method, used, limit, OverlayState(state), durable)


def _image(value: Mapping[str, Any]) -> ImageFile:
    return ImageFile(**{**value, "stamp": Stamp(**value["stamp"]), "layers": tuple(value.get("layers", ()))})


def _text(part: Mapping[str, Any]) -> str:
    return json.dumps(part, sort_keys=True, separators=(",", ":"))
