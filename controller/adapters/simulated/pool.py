"""A pool in memory: the same rules over dictionaries. ``hook`` is called before and after each effect and may raise."""

import hashlib
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from controller.adapters.simulated.services import Hook, no_hook
from controller.core import names
from controller.core.names import OverlayName
from controller.core.steps import CreateOverlay, DeleteOverlay, ImportImage
from controller.core.world import Golden, ImageFile, OverlayFile, PoolState, SourceFile, Stamp
from controller.ports.host import EffectFailed, EffectRefused, PoolView


@dataclass
class MemoryPool:
    """``sources`` by path below the import folder; ``space`` in bytes. ``root`` is what paths of its files start with.

    With ``blank`` every source is there, with so many bytes of zeros. ``made`` counts how often each overlay was created.
    """

    root: str = "/pool"
    hook: Hook = no_hook
    blank: int = 0
    method: str = "reflink"
    space: int = 1 << 40
    reserve: float = 0.15
    sources: dict[str, tuple[bytes, int]] = field(default_factory=dict)
    images: dict[tuple[str, int], tuple[bytes, Stamp]] = field(default_factory=dict)
    overlays: dict[str, bytearray] = field(default_factory=dict)
    made: Counter[str] = field(default_factory=Counter)

    def put(self, source: str, content: bytes) -> None:
        """The source's file is written anew."""
        self.sources[source] = (content, self.sources.get(source, (b"", 0))[1] + 1)

    def size_of(self, path: str) -> int:
        """A served file's size, for a target that has no disk to look at. FileNotFoundError."""
        folder, name = PurePosixPath(path).parent, PurePosixPath(path).name
        golden = names.parse_golden(name)
        if str(folder) == f"{self.root}/{names.OVERLAY_FOLDER}" and name in self.overlays:
            return len(self.overlays[name])
        if str(folder) == f"{self.root}/{names.GOLDEN_FOLDER}" and golden in self.images:
            return len(self.images[golden][0])
        raise FileNotFoundError(2, "No such file or directory", path)

    async def observe(self, images: Collection[Golden]) -> PoolView:
        found: dict[str, dict[int, ImageFile]] = {}
        for (image, version), (content, stamp) in sorted(self.images.items()):
            made = ImageFile(version, len(content), hashlib.sha256(content).hexdigest(), stamp)
            found.setdefault(image, {})[version] = made
        overlays = {name: OverlayFile(len(content), self.method) for name, content in self.overlays.items()}
        sources = {image.name: self._source(image) for image in images}
        return PoolView(PoolState(found, overlays, sources, self._free(), self.space))

    async def import_image(self, action: ImportImage) -> str:
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
        newest = max((version for image, version in self.images if image == action.image), default=None)
        if newest is not None and self.images[action.image, newest][0] == content:
            self.images[action.image, newest] = (content, source.stamp)
            return "unchanged"
        self.images[action.image, action.version] = (content, source.stamp)
        return self.method

    async def create_overlay(self, action: CreateOverlay) -> str:
        self.hook("before", "pool.create_overlay", action)
        done = self._create(action)
        self.hook("after", "pool.create_overlay", action)
        return done

    def _create(self, action: CreateOverlay) -> str:
        name = self._named(action.name)
        if name in self.overlays:
            if len(self.overlays[name]) != action.size:
                raise EffectRefused("OverlayInTheWay", f"{name} is there, and is not a plain file of {action.size} bytes")
            return self.method
        golden = self.images.get((action.name.image, action.name.version))
        if golden is None:
            raise EffectRefused("ImageMissing", f"{action.name.image}@v{action.name.version} is not in the pool")
        if action.size < len(golden[0]) or action.size % 512:
            raise EffectRefused("OverlaySize", f"{name}: {action.size} bytes cannot hold its image")
        self._keep_reserve()
        self.overlays[name] = bytearray(golden[0].ljust(action.size, b"\0"))
        self.made[name] += 1
        return self.method

    async def delete_overlay(self, action: DeleteOverlay) -> None:
        self.hook("before", "pool.delete_overlay", action)
        self.overlays.pop(self._named(action.name), None)
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
        if content.startswith(b"QFI\xfb") or image.format not in ("auto", "raw"):
            return SourceFile(
                None, f"{image.source} is a qcow2 image, not a raw disk: convert it first: qemu-img convert -O raw"
            )
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
