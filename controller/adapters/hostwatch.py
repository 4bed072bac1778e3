"""Who touched configfs, the TFTP tree or the DHCP include: hints from inotify, which works on configfs too."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import anyio

from controller.adapters.watch import paths

# A folder that is not there yet (configfs before its modules are loaded) is looked for this often, in seconds.
_RETRY = 5.0


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
            if folder.is_dir():
                with suppress(FileNotFoundError, RuntimeError):
                    async for burst in paths([folder]):
                        touched(burst)
            await anyio.sleep(_RETRY)
