"""A server that dies anywhere in an upload has lost nothing that it acknowledged, and in the end nothing lies about."""

import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import anyio
import pytest

from controller.adapters.store import SqlStore
from controller.adapters.uploads import FolderUploads
from controller.ports.audit import Actor, Entry
from controller.ports.uploads import Act, Checksum, NoUpload, Upload
from tests.contracts.pool_bench import SetClock
from tests.contracts.stores import NOW
from tests.crash.death import Death, dying
from tests.crash.explore import Dying

CONTENT = b"what somebody has on a laptop, for forty PCs"
PIECE = 16
DAY = timedelta(days=1)


def entry(act: Act, upload: Upload) -> Entry:
    return Entry(NOW, Actor("api:root"), act, f"Upload/{upload.id}")


class Mortal:
    """The rows, which die with their process: before a call, or when it has happened and nobody was told."""

    def __init__(self, store: SqlStore, death: Death) -> None:
        self._store, self._death = store, death

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        async def call(*words: object, **more: object) -> Any:
            self._death.strike(f"before {name}")
            found = await getattr(self._store, name)(*words, **more)
            self._death.strike(f"after {name}")
            return found

        return call


@dataclass
class Client:
    """Sends its file in pieces, every other one with a digest, and goes on where the server says that it stands."""

    id: str = ""
    acknowledged: int = 0
    wrong: list[str] = field(default_factory=list)

    async def send(self, uploads: FolderUploads, death: Death | None = None) -> None:
        if not self.id:
            self.id = (await uploads.create("", len(CONTENT), "", entry)).id
        while not (upload := await uploads.find(self.id)).complete:
            at, piece = upload.offset, CONTENT[upload.offset : upload.offset + PIECE]
            if at < self.acknowledged:
                self.wrong.append(f"it stands at {at}, and {self.acknowledged} were acknowledged")
            checksum = Checksum("sha256", hashlib.sha256(piece).digest()) if at // PIECE % 2 else None
            told = await uploads.append(self.id, at, _coming(piece, death), len(piece), entry, checksum)
            self.acknowledged = told.offset


async def _coming(piece: bytes, death: Death | None) -> AsyncIterator[bytes]:
    for byte in range(0, len(piece), PIECE // 2):
        if death is not None:
            death.strike("a piece comes")
        yield piece[byte : byte + PIECE // 2]


def process(folder: Path, rows: Any, days: float = 0) -> FolderUploads:
    clock = SetClock()
    clock.later(days=days)
    return FolderUploads(folder, rows, clock, life=DAY, quota=1 << 20, reserve=0.0)


async def left(folder: Path, store: SqlStore) -> list[str]:
    """What lies there beside what the rows tell of, once nobody has touched anything for long."""
    later = process(folder, store, days=30_000)  # after what the file system's own clock says
    await later.sweep()
    await later.sweep()
    known = {one.id for one in (await later.list(None, None, 500))[0]}
    there = {path.name for path in folder.iterdir() if not path.name.startswith(".")}
    return [f"{name} is left over or lost" for name in sorted(there ^ known)]


async def die_at(folder: Path, store: SqlStore, at: int, *, discard: bool) -> tuple[list[str], Death]:
    client = Client()
    if discard:
        await client.send(process(folder, store))
    with dying(folder, at) as death, Dying():
        uploads = process(folder, Mortal(store, death))
        await (uploads.remove(client.id, entry) if discard else client.send(uploads, death))
    after = process(folder, store)
    await after.sweep()
    if discard:
        with suppress(NoUpload):
            await after.remove(client.id, entry)
    else:
        await client.send(after)
        if (folder / client.id).read_bytes() != CONTENT:
            client.wrong.append("it is not what was sent")
    return [*client.wrong, *await left(folder, store)], death


@pytest.mark.parametrize("discard", [False, True], ids=["send", "discard"])
def test_a_death_at_any_call_of_an_upload_costs_nothing_that_was_acknowledged(
    discard: bool, tmp_path: Path, sqlite_url: str
) -> None:
    async def explore() -> tuple[list[str], int]:
        store, found, at, came = SqlStore(sqlite_url), list[str](), 0, True
        while came:
            at += 1
            wrong, death = await die_at(tmp_path / str(at), store, at, discard=discard)
            found += [f"dead at {at} ({death.calls[-1]}): {what}" for what in wrong]
            came = death.dead
        await store.close()
        return found, at

    found, moments = anyio.run(explore)
    assert found == []
    assert moments > (4 if discard else 40)
