"""What is wanted of this boot server, kept between passes: small frozen clients and versions, never all objects.

The store is the truth; the index only remembers which version of each object it has digested, so that a pass reads
what changed and a quiet sweep reads one number an object. ``turns`` counts how often something had: at the same count
the wishes are the same.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from controller.core.names import Site
from controller.core.resolve import dhcp, resolve
from controller.core.world import Client, Desired, DhcpConfig, Golden
from controller.ports.store import Store
from manifests.image import Image
from manifests.kinds import Object
from manifests.network import Network
from manifests.session import Session


@dataclass(slots=True)
class Index:
    site: Site
    versions: dict[str, int] = field(default_factory=dict)
    clients: dict[str, Client] = field(default_factory=dict)
    images: dict[str, Golden] = field(default_factory=dict)
    orphans: frozenset[str] = frozenset()
    turns: int = 0
    _digested: dict[str, int] = field(default_factory=dict)
    _shared: dict[str, Network | Image] = field(default_factory=dict)
    _machine_of: dict[str, str] = field(default_factory=dict)
    _sessions_of: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    _kept: dict[str, str] = field(default_factory=dict)
    _dhcp: DhcpConfig | None = None
    _founded: bool = False

    async def refresh(self, store: Store, keys: Collection[str] | None, now: datetime) -> frozenset[str]:
        """Digests what changed among these keys (None: among all); the machines whose wishes were looked at anew."""
        if keys is None:
            current = await store.versions()
            # Versions rise by commit for all objects together, and what was noted may be that of a status: only a later
            # one says that the object has changed since it was read.
            known = self.versions
            stale = {key for key, version in current.items() if known.get(key, -1) < version}
            stale |= self.versions.keys() - current.keys()
            self.versions = dict(current)
            self._founded = self._founded or bool(current) or (await store.list())[1] > 0
        else:
            stale = set(keys)
            self.forget(stale)
        if not stale:
            return frozenset()
        self.turns += 1
        self.orphans = await store.orphans()
        if any(key.startswith("Network/") for key in stale) or len(stale) > 1000:
            objects, _ = await store.list()
            return self._replace({one.key: one for one in objects}, now)
        return await self._update(store, stale, now)

    def desired(self, machines: Collection[str] | None) -> Desired:
        """Everything, or with ``machines`` what concerns these: against a part of the wishes nothing is pruned.

        A store that never held an object is no wish either: it may be a lost one, beside disks that are not.
        """
        clients: Mapping[str, Client] = self.clients
        if machines is not None:
            clients = {name: self.clients[name] for name in machines if name in self.clients}
        if self._dhcp is None:
            served = [one for one in self._shared.values() if isinstance(one, Network) and one.metadata.deleted_at is None]
            self._dhcp = dhcp(served, self.clients.values())
        return Desired(
            clients=clients,
            images=self.images,
            dhcp=self._dhcp,
            keep=frozenset(self._kept.values()),
            orphans=self.orphans,
            complete=machines is None and self._founded,
        )

    def machines(self, keys: Iterable[str]) -> frozenset[str]:
        """The machines that these keys are about."""
        found: set[str] = set()
        for key in keys:
            kind, _, name = key.partition("/")
            if kind == "Machine":
                found.add(name)
            elif kind == "Session" and key in self._machine_of:
                found.add(self._machine_of[key])
            elif kind == "Image":
                found |= {m for m, client in self.clients.items() if client.boot is not None and client.boot.image == name}
        return frozenset(found)

    def sessions(self, machine: str) -> frozenset[str]:
        return frozenset(self._sessions_of.get(machine, ()))

    @property
    def shared(self) -> frozenset[str]:
        """The keys of the images and networks: few, and what all machines rest on."""
        return frozenset(self._shared)

    def digested(self, one: Object) -> bool:
        """Whether these wishes are those of this very generation: of a newer one nothing can be said from them."""
        return self._digested.get(one.key) == _generation(one)

    def forget(self, keys: Iterable[str]) -> None:
        """These have changed by our own hand (their status did): read them again when next looked at."""
        for key in keys:
            self.versions.pop(key, None)

    def _replace(self, objects: Mapping[str, Object], now: datetime) -> frozenset[str]:
        before = frozenset(self.clients)
        for held in (self._digested, self._shared, self._machine_of, self._sessions_of, self._kept):
            held.clear()
        for one in objects.values():
            self._note(one)
        wanted = resolve(objects.values(), self.site, now, orphans=self.orphans)
        self.clients, self.images = dict(wanted.clients), dict(wanted.images)
        self._dhcp = wanted.dhcp
        return before | self.clients.keys()

    async def _update(self, store: Store, stale: set[str], now: datetime) -> frozenset[str]:
        touched = set(self.machines(key for key in stale if not key.startswith("Image/")))
        fresh = await store.fetch(stale)
        for key in stale - fresh.keys():
            self._drop(key)
        for one in fresh.values():
            self._note(one)
        touched |= self.machines(key for key in stale if not key.startswith("Image/"))
        wanted = {f"Machine/{name}" for name in touched} | {key for name in touched for key in self.sessions(name)}
        fresh = {**fresh, **await store.fetch(wanted - fresh.keys())}
        wishes = resolve(
            [*self._shared.values(), *(one for key, one in fresh.items() if key not in self._shared)],
            self.site,
            now,
            complete=False,
        )
        self.images = dict(wishes.images)
        for name in touched:
            self._settle(name, wishes.clients.get(name))
        return frozenset(touched)

    def _settle(self, name: str, client: Client | None) -> None:
        before = self.clients.pop(name, None)
        if client is not None:
            self.clients[name] = client
        if (before.hosts if before else ()) != (client.hosts if client else ()):
            self._dhcp = None

    def _note(self, one: Object) -> None:
        self._digested[one.key] = _generation(one)
        if isinstance(one, Network | Image):
            self._shared[one.key] = one
        elif isinstance(one, Session):
            self._unlink(one.key)
            self._machine_of[one.key] = one.spec.machine
            self._sessions_of[one.spec.machine].add(one.key)
            if one.spec.persistence == "keep" and one.metadata.deleted_at is None:
                self._kept[one.key] = one.metadata.uid or ""

    def _drop(self, key: str) -> None:
        self._digested.pop(key, None)
        self._shared.pop(key, None)
        self._unlink(key)

    def _unlink(self, key: str) -> None:
        self._kept.pop(key, None)
        machine = self._machine_of.pop(key, None)
        if machine is not None:
            self._sessions_of[machine].discard(key)


def _generation(one: Object) -> int:
    """Below zero once it is deleted, which is no new generation."""
    generation = one.metadata.generation or 0
    return generation if one.metadata.deleted_at is None else -generation
