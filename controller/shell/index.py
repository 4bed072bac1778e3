"""What is wanted of this boot server, kept between passes: small frozen clients and versions, never all objects.

The store is the truth; the index only remembers which version of each object it has digested, so that a pass reads
what changed, and a sweep one number an object, or one in all where nothing was written. ``turns`` counts how often
something had changed: at the same count the wishes are the same. ``guarded`` are those clients that have to know a
secret. ``read`` are the objects that the last refresh read, until its pass has told of them.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from controller.core.desired import Client, Desired, DhcpConfig, Golden
from controller.core.names import Site
from controller.core.resolve import day, dhcp, kept, resolve, shed, uid, uses
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
    guarded: dict[str, Client] = field(default_factory=dict)
    images: dict[str, Golden] = field(default_factory=dict)
    leaving: dict[str, int] = field(default_factory=dict)
    orphans: frozenset[str] = frozenset()
    turns: int = 0
    day: int = 0
    read: Mapping[str, Object] = field(default_factory=dict)
    _digested: dict[str, int] = field(default_factory=dict)
    _shared: dict[str, Network | Image] = field(default_factory=dict)
    _machine_of: dict[str, str] = field(default_factory=dict)
    _sessions_of: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    _kept: dict[str, str] = field(default_factory=dict)
    _shed: dict[str, frozenset[tuple[str, str]]] = field(default_factory=dict)
    _uses: dict[tuple[str, int], set[str]] = field(default_factory=dict)
    _uses_of: dict[str, frozenset[tuple[str, int]]] = field(default_factory=dict)
    _dhcp: DhcpConfig | None = None
    _founded: bool = False
    _pulse: int = -1

    async def refresh(self, store: Store, keys: Collection[str] | None, now: datetime) -> frozenset[str]:
        """Digests what changed among these keys (None: among all); the machines whose wishes were looked at anew."""
        if self.day != day(now):  # what was not due for collection yesterday may be today
            self.day, self.turns = day(now), self.turns + 1
        if keys is None:
            pulse = await store.pulse()
            if pulse == self._pulse:  # nothing was written since all versions were read
                self.read = {}
                return frozenset()
            current = await store.versions()
            # Versions rise by commit for all objects together, and what was noted may be that of a status: only a later
            # one says that the object has changed since it was read.
            known = self.versions
            stale = {key for key, version in current.items() if known.get(key, -1) < version}
            stale |= self.versions.keys() - current.keys()
            self.versions, self._pulse = dict(current), pulse
            self._founded = self._founded or bool(current) or (await store.list())[1] > 0
        else:
            stale = set(keys)
            self.forget(stale)
        self.read = {}
        if not stale:
            return frozenset()
        self.turns += 1
        self.orphans = await store.orphans()
        if any(key.startswith("Network/") for key in stale) or len(stale) > 1000:
            self.read = {one.key: one for one in (await store.list())[0]}
            return self._replace(self.read, now)
        return await self._update(store, stale, now)

    async def current(self, store: Store) -> bool:
        """Whether no Image and no Session has changed since all were read: a wish may have come in meanwhile."""
        found = await store.versions()
        return all(self.versions.get(key) == found[key] for key in found if key.startswith(("Image/", "Session/")))

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
            shed=frozenset(one for group in self._shed.values() for one in group),
            orphans=self.orphans,
            uses=self._uses,
            day=self.day,
            leaving=self.leaving,
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
                found |= {
                    m
                    for m, client in self.clients.items()
                    if client.boot and any(drive.image == name for drive in client.boot.drives)
                }
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
            self._pulse = -1

    def doubt(self) -> None:
        """What was read may not have been digested: all is read again."""
        self.versions, self._pulse = {}, -1

    def _replace(self, objects: Mapping[str, Object], now: datetime) -> frozenset[str]:
        before = frozenset(self.clients)
        for held in (self._digested, self._shared, self._machine_of, self._sessions_of, self._kept, self._shed):
            held.clear()
        self._uses.clear()
        self._uses_of.clear()
        for one in objects.values():
            self._note(one)
        wanted = resolve(objects.values(), self.site, now, complete=False)
        self.clients, self.images, self.leaving = dict(wanted.clients), dict(wanted.images), dict(wanted.leaving)
        self.guarded = {name: client for name, client in self.clients.items() if client.credential is not None}
        self._dhcp = None
        return before | self.clients.keys()

    async def _update(self, store: Store, stale: set[str], now: datetime) -> frozenset[str]:
        touched = set(self.machines(key for key in stale if not key.startswith("Image/")))
        asked = stale | self.parts(touched)
        fresh = await store.fetch(asked)
        for key in stale - fresh.keys():
            self._drop(key)
        for one in fresh.values():
            self._note(one)
        touched |= self.machines(key for key in stale if not key.startswith("Image/"))
        if more := self.parts(touched) - asked:
            fresh = {**fresh, **await store.fetch(more)}
        self.read = fresh
        wishes = resolve(
            [*self._shared.values(), *(one for key, one in fresh.items() if key not in self._shared)],
            self.site,
            now,
            complete=False,
        )
        self.images, self.leaving = dict(wishes.images), dict(wishes.leaving)
        for name in touched:
            self._settle(name, wishes.clients.get(name))
        return frozenset(touched)

    def parts(self, machines: Collection[str]) -> set[str]:
        """The keys of these machines and of their sessions."""
        return {f"Machine/{name}" for name in machines} | {key for name in machines for key in self.sessions(name)}

    def _settle(self, name: str, client: Client | None) -> None:
        before = self.clients.pop(name, None)
        self.guarded.pop(name, None)
        if client is not None:
            self.clients[name] = client
            if client.credential is not None:
                self.guarded[name] = client
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
            if kept(one):
                self._shed[one.key] = shed(one)
                if one.metadata.deleted_at is None:
                    self._kept[one.key] = uid(one)
            self._uses_of[one.key] = uses(one)
            for version in self._uses_of[one.key]:
                self._uses.setdefault(version, set()).add(one.key)

    def _drop(self, key: str) -> None:
        self._digested.pop(key, None)
        self._shared.pop(key, None)
        self._unlink(key)

    def _unlink(self, key: str) -> None:
        self._kept.pop(key, None)
        self._shed.pop(key, None)
        for version in self._uses_of.pop(key, ()):
            self._uses[version].discard(key)
            if not self._uses[version]:
                del self._uses[version]
        machine = self._machine_of.pop(key, None)
        if machine is not None:
            self._sessions_of[machine].discard(key)


def _generation(one: Object) -> int:
    """Below zero once it is deleted, which is no new generation."""
    generation = one.metadata.generation or 0
    return generation if one.metadata.deleted_at is None else -generation
