"""A stand-in for the pool: files are their sizes. ``hook`` is called before and after each effect and may raise."""

import hashlib
from collections.abc import Collection
from dataclasses import dataclass, field

from controller.core.names import golden
from controller.core.steps import CreateOverlay, DeleteOverlay, ImportImage
from controller.core.world import Golden, ImageFile, OverlayFile, PoolState, SourceFile, Stamp
from controller.ports import EffectFailed, EffectRefused, PoolView
from tests.fakes_host import Hook, no_hook


@dataclass
class MemoryPool:
    """``sources`` by path below the import folder; ``made`` counts how often each overlay was created."""

    hook: Hook = no_hook
    sources: dict[str, Stamp] = field(default_factory=dict)
    images: dict[str, dict[int, ImageFile]] = field(default_factory=dict)
    overlays: dict[str, OverlayFile] = field(default_factory=dict)
    made: dict[str, int] = field(default_factory=dict)
    full: bool = False

    async def observe(self, images: Collection[Golden]) -> PoolView:
        sources = {one.name: self._source(one.source) for one in images}
        held = {name: dict(versions) for name, versions in self.images.items()}
        return PoolView(PoolState(held, dict(self.overlays), sources, free=90 << 30, total=100 << 30))

    def _source(self, path: str) -> SourceFile:
        stamp = self.sources.get(path)
        return SourceFile(stamp) if stamp else SourceFile(None, f"imports/{path} is not there: copy the image to it")

    async def import_image(self, action: ImportImage) -> str:
        self.hook("before", "pool.import_image", action)
        stamp = self.sources.get(action.source)
        if stamp is None:
            raise EffectRefused("SourceMissing", f"imports/{action.source} is not there")
        digest = hashlib.sha256(f"{action.source}{stamp}".encode()).hexdigest()
        self.images.setdefault(action.image, {}).setdefault(
            action.version, ImageFile(action.version, stamp.size, digest, stamp)
        )
        self.hook("after", "pool.import_image", action)
        return "copy"

    async def create_overlay(self, action: CreateOverlay) -> str:
        self.hook("before", "pool.create_overlay", action)
        name = str(action.name)
        if action.name.version not in self.images.get(action.name.image, {}):
            raise EffectRefused("ImageMissing", f"{golden(action.name.image, action.name.version)} is not in the pool")
        if self.full:
            raise EffectFailed("PoolFull", "no space left in the pool")
        if name not in self.overlays:
            self.overlays[name] = OverlayFile(action.size, "copy")
            self.made[name] = self.made.get(name, 0) + 1
        self.hook("after", "pool.create_overlay", action)
        return "copy"

    async def delete_overlay(self, action: DeleteOverlay) -> None:
        self.hook("before", "pool.delete_overlay", action)
        self.overlays.pop(str(action.name), None)
        self.hook("after", "pool.delete_overlay", action)
