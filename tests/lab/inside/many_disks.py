"""Makes many private disks of one sparse image by one driver, writes at random to each, compares digests, removes them.

Prints one JSON object: ``made``, ``removed`` (seconds for all), ``space`` (bytes that the file system lost to them),
``mixed`` (disks that do not read as the image with their own writes on it), ``golden`` (whether that is unchanged),
``left`` (what is still there at the end), ``copied`` and ``cloned`` (seconds to copy and to clone the image once with cp).

    many_disks.py FOLDER DRIVER COUNT [MIB-OF-DATA]
"""

import hashlib
import json
import os
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path

import anyio

from controller.adapters import devmapper
from controller.adapters.pool import PoolDir
from controller.core import names
from controller.core.names import OverlayName
from controller.core.steps import CreateOverlay, DeleteOverlay

SIZE = 10 << 30
AREA = 1 << 20  # where there is data, and where is written
BLOCK = 4096
UID = "0b6f6a52-6a3c-4b1e-8a53-1f2a3c4d5e6f"


def golden(folder: Path, data_mib: int) -> bytes:
    """An imported version as it lies in a pool; what the first of its data is."""
    path = Path(names.golden_path(str(folder), "big", 1))
    path.parent.mkdir(parents=True, exist_ok=True)
    data = random.Random(0).randbytes(AREA)
    with path.open("wb") as file:
        for _ in range(data_mib):
            file.write(data)
        file.truncate(SIZE)
    told = {"sha256": "0" * 64, "size": SIZE, "source": {"size": SIZE, "mtime_ns": 0}}
    path.with_suffix(".json").write_text(json.dumps(told))
    return data


def used(folder: Path) -> int:
    os.sync()
    space = os.statvfs(folder)
    return (space.f_blocks - space.f_bfree) * space.f_frsize


def written(path: str, number: int, data: bytes) -> str:
    """Some blocks, at random; the digest that the area must have from now on."""
    dice, expected = random.Random(number), bytearray(data)
    with Path(path).open("r+b") as file:
        for _ in range(4):
            at = dice.randrange(AREA // BLOCK) * BLOCK
            block = dice.randbytes(BLOCK)
            file.seek(at)
            file.write(block)
            expected[at : at + BLOCK] = block
    return hashlib.sha256(expected).hexdigest()


def digest(path: str) -> str:
    with Path(path).open("rb") as file:
        return hashlib.sha256(file.read(AREA)).hexdigest()


def once(folder: Path) -> dict[str, float]:
    """The image copied and cloned by ``cp``, as an administrator would."""
    found = {}
    for name, flag in (("copied", "--reflink=never"), ("cloned", "--reflink=always")):
        began = time.monotonic()
        subprocess.run(["cp", flag, names.golden_path(str(folder), "big", 1), folder / "peer"], check=True)
        found[name] = time.monotonic() - began
        (folder / "peer").unlink()
    return found


async def main(folder: Path, driver: str, count: int, data_mib: int) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    data = golden(folder, data_mib)
    pool = PoolDir(folder, folder, reserve=0.0, driver=driver)
    form: names.Form = "cow" if driver == "snapshot" else "raw"
    overlays = [OverlayName(f"pc{number}", names.SYSTEM_DISK, "big", 1, UID, form) for number in range(count)]
    await pool.observe([])
    before, began = used(folder), time.monotonic()
    async with anyio.create_task_group() as tasks:
        for name in overlays:
            tasks.start_soon(pool.create_overlay, CreateOverlay(name, SIZE))
    made = time.monotonic() - began
    space = used(folder) - before
    paths = [names.overlay_path(str(folder), name) for name in overlays]
    expected = [written(path, number, data) for number, path in enumerate(paths)]
    mixed = [path for path, wanted in zip(paths, expected, strict=True) if digest(path) != wanted]
    whole = digest(names.golden_path(str(folder), "big", 1)) == hashlib.sha256(data).hexdigest()
    began = time.monotonic()
    async with anyio.create_task_group() as tasks:
        for name in overlays:
            tasks.start_soon(pool.delete_overlay, DeleteOverlay(name))
    removed = time.monotonic() - began
    left = [*filter(names.is_device, devmapper.listing()), *(path.name for path in (folder / "overlays").iterdir())]
    left += [path for path in map(Path.read_text, Path("/sys/block").glob("loop*/loop/backing_file")) if str(folder) in path]
    told = {"made": made, "removed": removed, "space": space, "mixed": mixed, "golden": whole, "left": left}
    print(json.dumps(told | once(folder)))
    shutil.rmtree(folder)


if __name__ == "__main__":
    anyio.run(main, Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4]) if len(sys.argv) > 4 else 1)
