"""A pool in memory: the same rules over dictionaries. ``hook`` is called before and after each effect and may raise."""

import hashlib
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from controller.adapters.clock import SystemClock
from controller.adapters.simulated.services import Hook, no_hook
from controller.core import names
from controller.core.desired import Golden, committed
from controller.core.names import OverlayName
from controller.core.observed import ImageFile, OverlayFile, OverlayState, PoolState, SourceFile, Stamp
from controller.core.steps import (
    ActivateOverlay,
    CommitOverlay,
    CreateOverlay,
    DeleteOverlay,
    DeleteVersion,
    DiscardSource,
    ImportImage,
    NoteUse,
    ReleaseVersion,
)
from controller.ports.clock import Clock
from controller.ports.host import EffectFailed, EffectRefused, Fetched, PoolView


@dataclass
class MemoryPool:
    """``sources`` by path below the import folder, upload's id, or URL; ``space`` in bytes. ``root`` is what paths of its
    files start with. ``identities`` are those of the images' sources that have one, ``brought`` as of ``PoolState``.

    With ``blank`` every source is there, with so many bytes of zeros. ``made`` counts how often each overlay was created.
    Of snapshots: ``devices`` are the kernel's, name -> overlay; those in ``full`` take no more; ``asked`` is how much they
    hold, and whether they are written through; ``opened`` tells whether a target stands on a path. ``used`` is the day of
    each version's last use, ``released`` as of ``ImageFile``.
    """

    root: str = "/pool"
    hook: Hook = no_hook
    blank: int = 0
    driver: str = "reflink"
    space: int = 1 << 40
    reserve: float = 0.15
    sources: dict[str, tuple[bytes, int]] = field(default_factory=dict)
    images: dict[tuple[str, int], tuple[bytes, Stamp]] = field(default_factory=dict)
    identities: dict[tuple[str, int], str] = field(default_factory=dict)
    brought: set[str] = field(default_factory=set)
    overlays: dict[str, bytearray] = field(default_factory=dict)
    devices: dict[str, str] = field(default_factory=dict)
    full: set[str] = field(default_factory=set)
    asked: dict[str, tuple[int, bool]] = field(default_factory=dict)
    opened: Callable[[str], bool] = lambda path: False
    used: dict[tuple[str, int], int] = field(default_factory=dict)
    released: dict[tuple[str, int], int] = field(default_factory=dict)
    clock: Clock = field(default_factory=SystemClock)
    made: Counter[str] = field(default_factory=Counter)

    @property
    def method(self) -> str:
        """How images are copied; a snapshot is none."""
        return "copy" if self.driver == "snapshot" else self.driver

    def restart(self) -> None:
        """The kernel has forgotten all devices."""
        self.devices.clear()

    def put(self, source: str, content: bytes) -> None:
        """The source's file is written anew."""
        self.sources[source] = (content, self.sources.get(source, (b"", 0))[1] + 1)

    def size_of(self, path: str) -> int:
        """A served file's size, for a target that has no disk to look at. FileNotFoundError."""
        folder, name = PurePosixPath(path).parent, PurePosixPath(path).name
        golden = names.parse_golden(name)
        if str(folder) == names.DEVICE_FOLDER and self.devices.get(name) in self.overlays:
            return len(self.overlays[self.devices[name]])
        if str(folder) == f"{self.root}/{names.OVERLAY_FOLDER}" and name in self.overlays:
            return len(self.overlays[name])
        if str(folder) == f"{self.root}/{names.GOLDEN_FOLDER}" and golden in self.images:
            return len(self.images[golden][0])
        raise FileNotFoundError(2, "No such file or directory", path)

    def serves(self, path: str) -> bool:
        try:
            return self.size_of(path) > 0
        except FileNotFoundError:
            return False

    async def observe(self, images: Collection[Golden], machines: Collection[str] | None = None) -> PoolView:
        found: dict[str, dict[int, ImageFile]] = {}
        for (image, version), (content, stamp) in sorted(self.images.items()):
            identity, used = self.identities.get((image, version), ""), self.used.get((image, version), 0)
            sha256, size = hashlib.sha256(content).hexdigest(), len(content)
            released = self.released.get((image, version), 0)
            made = ImageFile(version, size, sha256, stamp, identity, used=used, taken=size, released=released)
            found.setdefault(image, {})[version] = made
        named = {text: name for text in (*self.overlays, *self.devices.values()) if (name := OverlayName.parse(text))}
        asked = [text for text, name in named.items() if machines is None or name.machine in machines]
        sources = {image.name: self._source(image) for image in images}
        overlays = {text: self._overlay(text) for text in asked}
        carried = {} if machines is None else names.carried(self.overlays)
        brought = frozenset(self.brought)
        return PoolView(PoolState(found, overlays, sources, self._free(), self.space, self.driver, carried, brought))

    def _overlay(self, text: str) -> OverlayFile:
        name = OverlayName.parse(text)
        if name is None or name.form == "raw":
            return OverlayFile(len(self.overlays[text]), self.method)
        if text not in self.overlays:
            return OverlayFile(0, "snapshot", state=OverlayState.LOST)
        limit, durable = self.asked[text]
        state = OverlayState.READY if self.devices.get(name.device) == text else OverlayState.INACTIVE
        if state is OverlayState.INACTIVE and (name.image, name.version) not in self.images:
            state = OverlayState.STRANDED
        if state is OverlayState.READY and text in self.full:
            state = OverlayState.FULL
        used = limit if text in self.full else 0
        return OverlayFile(len(self.overlays[text]), "snapshot", used, limit, state, durable)

    async def import_image(self, action: ImportImage, told: Callable[[float], None] = lambda part: None) -> str:
        self.hook("before", "pool.import_image", action)
        done = self._import(action)
        self.hook("after", "pool.import_image", action)
        return done

    def _import(self, action: ImportImage) -> str:
        source = self._source(Golden(action.image, action.source))
        if source.stamp is None:
            raise EffectRefused("SourceMissing", str(source.problem))
        done = self.images.get((action.image, action.version))
        if done:
            if done[1] != source.stamp:
                raise EffectFailed("VersionTaken", f"{action.image}@v{action.version} is there already, from another source")
            return self.method
        content = self._content(action.source)[0] or b""
        self._keep_reserve()
        self.identities[action.image, action.version] = action.identity
        newest = max((version for image, version in self.images if image == action.image), default=None)
        same = newest is not None and self.images[action.image, newest][0] == content
        if newest is not None and same and not committed(self.identities.get((action.image, newest), "")):
            self.images[action.image, newest] = (content, source.stamp)
            self.identities[action.image, newest] = self.identities.pop((action.image, action.version))
            return "unchanged"
        self._note(action.image, action.version)
        self.hook("after", "pool.vouch", action)
        self.images[action.image, action.version] = (content, source.stamp)
        return self.method

    async def delete_version(self, action: DeleteVersion) -> int:
        self.hook("before", "pool.delete_version", action)
        taken = self._take(action.image, action.version)
        self.hook("after", "pool.delete_version", action)
        return taken

    def _take(self, image: str, version: int) -> int:
        self._version(image, version)
        self.keep_standing(image, version)
        self.used.pop((image, version), None)
        self.released.pop((image, version), None)
        self.identities.pop((image, version), None)
        return len(self.images.pop((image, version), (b"",))[0])

    def keep_standing(self, image: str, version: int) -> None:
        """EffectFailed."""
        for text in self.overlays:
            overlay = OverlayName.parse(text)
            if overlay and (overlay.image, overlay.version) == (image, version):
                raise EffectFailed("InUse", f"{image}@v{version}: {text} stands on it")
        if self.opened(names.golden_path(self.root, image, version)):
            raise EffectFailed("InUse", f"{image}@v{version} is open: a target stands on it")

    async def note_use(self, action: NoteUse) -> None:
        self.hook("before", "pool.note_use", action)
        self._version(action.image, action.version)
        self._note(action.image, action.version)
        self.hook("after", "pool.note_use", action)

    async def release_version(self, action: ReleaseVersion) -> None:
        self.hook("before", "pool.release_version", action)
        self._version(action.image, action.version)
        if (action.image, action.version) in self.images:
            self.released[action.image, action.version] = action.until
            self._note(action.image, action.version)
        self.hook("after", "pool.release_version", action)

    def _version(self, image: str, version: int) -> None:
        name = names.golden(image, version)
        if names.parse_golden(name) != (image, version):
            raise EffectRefused("Invalid", f"{name!a} is not the name of an image's version")

    def _note(self, image: str, version: int) -> None:
        self.used[image, version] = int(self.clock.now().timestamp()) // 86400

    async def fetch_source(self, action: ImportImage, told: Callable[[Fetched], None]) -> None:
        if action.origin != "url":
            return
        self.hook("before", "pool.fetch_source", action)
        if self._content(action.source)[0] is None:
            raise EffectRefused("DownloadRefused", f"{action.label} is not there")
        self.brought.add(action.identity)
        self.hook("after", "pool.fetch_source", action)

    async def discard_source(self, action: DiscardSource) -> None:
        self.hook("before", "pool.discard_source", action)
        kind, _, name = action.identity.partition(" ")
        if kind == "upload":
            if action.identity not in self.identities.values():
                raise EffectRefused("SourceNeeded", f"upload {name} is kept: no version was made of it")
            self.sources.pop(name, None)
        self.brought.discard(action.identity)
        self.hook("after", "pool.discard_source", action)

    async def create_overlay(self, action: CreateOverlay) -> str:
        self.hook("before", "pool.create_overlay", action)
        done = self._create(action)
        self.hook("after", "pool.create_overlay", action)
        return done

    def _create(self, action: CreateOverlay) -> str:
        name, cow = self._named(action.name), action.name.form == "cow"
        again = ActivateOverlay(action.name, action.limit or action.size, action.durable)
        if name in self.overlays:
            if len(self.overlays[name]) != action.size:
                raise EffectRefused("OverlayInTheWay", f"{name} is there, and is not a plain file of {action.size} bytes")
            return self._activated(again) if cow else self.method
        golden = self.images.get((action.name.image, action.name.version))
        if golden is None:
            raise EffectRefused("ImageMissing", f"{action.name.image}@v{action.name.version} is not in the pool")
        if action.size < len(golden[0]) or action.size % 512 or (cow and action.size != len(golden[0])):
            raise EffectRefused("OverlaySize", f"{name}: {action.size} bytes cannot hold its image")
        self._keep_reserve()
        self._note(action.name.image, action.name.version)
        self.overlays[name] = bytearray(golden[0].ljust(action.size, b"\0"))
        self.made[name] += 1
        if not cow:
            return self.method
        self.asked[name] = (again.limit, again.durable)
        self.hook("after", "pool.create_store", action)
        return self._activated(again)

    async def activate_overlay(self, action: ActivateOverlay) -> None:
        self.hook("before", "pool.activate_overlay", action)
        if self._named(action.name) not in self.overlays or action.name.form != "cow":
            raise EffectRefused("OverlayMissing", f"{action.name} is not there")
        self._activated(action)
        self.hook("after", "pool.activate_overlay", action)

    def _activated(self, action: ActivateOverlay) -> str:
        name = str(action.name)
        if (action.name.image, action.name.version) not in self.images:
            raise EffectRefused("ImageMissing", f"{action.name.image}@v{action.name.version} is not in the pool")
        if name in self.full or self.devices.get(action.name.device, name) not in self.overlays:
            self._let_go(action.name)
            self.full.discard(name)
        self.asked[name] = (max(action.limit, self.asked[name][0]), action.durable)
        self.devices[action.name.device] = name
        return "snapshot"

    def _let_go(self, name: OverlayName) -> None:
        if self.opened(f"{names.DEVICE_FOLDER}/{name.device}"):
            raise EffectFailed("InUse", f"{name} is open: a target stands on it")
        self.devices.pop(name.device, None)

    async def commit_overlay(self, action: CommitOverlay, told: Callable[[float], None] = lambda part: None) -> str:
        self.hook("before", "pool.commit_overlay", action)
        done = self._commit(action)
        self.hook("after", "pool.commit_overlay", action)
        return done

    def _commit(self, action: CommitOverlay) -> str:
        name, made = self._named(action.name), (action.name.image, action.version)
        if made in self.images:
            if self.identities.get(made) != action.identity:
                raise EffectFailed("VersionTaken", f"{made[0]}@v{made[1]} is there already, from another source")
            return self.method
        if name not in self.overlays:
            raise EffectRefused("OverlayMissing", f"{name} is not there")
        if self.opened(names.overlay_path(self.root, action.name)):
            raise EffectFailed("InUse", f"{name} is open: a target stands on it")
        self._keep_reserve()
        self._note(action.name.image, action.name.version)
        if action.name.form == "cow":
            self._activated(ActivateOverlay(action.name, action.limit or 0, action.durable))
            self.hook("after", "pool.activate_overlay", action)
        base = self.images[action.name.image, action.name.version]
        self.identities[made] = action.identity
        self._note(*made)
        self.hook("after", "pool.vouch", action)
        self.images[made] = bytes(self.overlays[name]), base[1]
        return self.method

    async def delete_overlay(self, action: DeleteOverlay) -> None:
        self.hook("before", "pool.delete_overlay", action)
        name = self._named(action.name)
        if action.name.form == "cow":
            self._let_go(action.name)
            self.hook("after", "pool.remove_device", action)
        self._note(action.name.image, action.name.version)
        self.overlays.pop(name, None)
        self.full.discard(name)
        self.hook("after", "pool.delete_overlay", action)

    def _named(self, name: OverlayName) -> str:
        if OverlayName.parse(str(name)) != name:
            raise EffectRefused("Invalid", f"{str(name)!a} is not an overlay's name")
        return str(name)

    def _source(self, image: Golden) -> SourceFile:
        content, mtime = self._content(image.source)
        if content is None:
            return SourceFile(None, f"{image.source} is not there")
        if not content:
            return SourceFile(None, f"{image.source} is empty")
        if content.startswith(b"QFI\xfb"):
            return SourceFile(None, f"{image.source} is a qcow2 image: only raw disks are simulated")
        if image.format not in ("auto", "raw"):
            return SourceFile(None, f"{image.source}: its content is raw, not {image.format}: change spec.format")
        if len(content) % 512:
            return SourceFile(None, f"{image.source} has {len(content)} bytes, which is not a multiple of 512")
        return SourceFile(Stamp(len(content), mtime))

    def _content(self, source: str) -> tuple[bytes | None, int]:
        return self.sources.get(source, (bytes(self.blank) if self.blank else None, 0))

    def _free(self) -> int:
        return self.space - sum(map(len, self.overlays.values())) - sum(len(content) for content, _ in self.images.values())

    def _keep_reserve(self) -> None:
        if self._free() < self.space * self.reserve:
            raise EffectRefused("PoolReserve", f"the pool {self.root} has {self._free()} of {self.space} bytes left")
