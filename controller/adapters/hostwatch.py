"""Who touched configfs, the TFTP tree or the DHCP include: hints from inotify, which works on configfs too."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import anyio

from controller.adapters.watch import follow

# A folder that is not there yet (configfs before its modules are loaded) is looked for this often, in seconds.
_RETRY = 1.0


@dataclass(frozen=True, slots=True)
class HostWatch:
    """Each folder is watched by its own task, so that one that is missing silences no other."""

    folders: tuple[Path, ...]

    async def run(self, touched: Callable[[frozenset[str]], None]) -> None:
        async with anyio.create_task_group() as tasks:
            for folder in self.folders:
                tasks.start_soon(self._one, folder, touched)

    async def _one(self, folder: Path, touched: Callable[[frozenset[str]], None]) -> None:
        while True:
            await follow([folder], touched)
            await anyio.sleep(_RETRY)
