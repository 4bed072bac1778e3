"""A source of manifests whose readings are set by hand."""

from collections.abc import Callable
from dataclasses import dataclass

from controller.ports.sources import Snapshot, SourceError
from manifests.dump import dump
from tests.crash.sites import Pc, site


@dataclass
class Folder:
    """``files`` None: it cannot be read. Each reading is a revision of its own."""

    files: dict[str, bytes] | None = None
    name: str = "site"
    readings: int = 0

    async def read(self) -> Snapshot:
        self.readings += 1
        if self.files is None:
            raise SourceError("the repository does not answer")
        return Snapshot(f"{self.readings:040x}", "Ada <ada@example.org>", "a change", self.files)

    async def watch(self, wake: Callable[[], None]) -> None:
        wake()


def written(*pcs: Pc) -> dict[str, bytes]:
    return {"site.yaml": dump(site(*pcs)).encode()}
