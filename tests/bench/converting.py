"""Disk images to raw: in the confined child, beside the same program without a confinement, by the clock."""

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from controller.adapters import confine
from controller.adapters.command import find
from controller.adapters.images import examine, qemu, sniff
from controller.adapters.images.examine import Examined
from controller.adapters.images.sniff import Format
from tests.bench.rows import Goal, Row, Turns

_KINDS: dict[str, tuple[Format, tuple[str, ...]]] = {
    "qcow2": ("qcow2", ()),
    "qcow2, compressed": ("qcow2", ("-c",)),
    "VHDX": ("vhdx", ()),
}
_PIECE, _PIECES = 4 << 20, 256
_PROGRAM = "/bin/true"


def convert_rows(times: int) -> Iterator[Row]:
    """A disk of 2 GiB, half of it data, from memory to memory where there is room: no slow disk hides what is added."""
    if find(qemu.PROGRAM) is None:
        return
    with tempfile.TemporaryDirectory(prefix="ggnet-bench-", dir=_memory()) as folder:
        disk = _disk(Path(folder) / "disk.raw")
        for name, (form, options) in _KINDS.items():
            source = disk.with_suffix(f".{form}")
            subprocess.run(["qemu-img", "convert", "-f", "raw", *options, "-O", form, disk, source], check=True)
            yield from _rows(name, form, source, times)
            source.unlink()
    yield _start(times)


def _memory() -> Path | None:
    """Where files are kept in memory, if five of them have room there."""
    shared = Path("/dev/shm")
    return shared if shared.is_dir() and shutil.disk_usage(shared).free > 5 << 30 else None


def _disk(path: Path) -> Path:
    """Half of each piece says something new, the other half repeats it, as files do."""
    with path.open("wb") as file:
        for place in range(_PIECES):
            file.seek(2 * place * _PIECE)
            file.write(os.urandom(_PIECE // 2) + bytes(range(256)) * (_PIECE // 512))
        file.truncate(2 * _PIECES * _PIECE)
    return path


def _rows(name: str, form: Format, source: Path, times: int) -> Iterator[Row]:
    turns = Turns()
    with source.open("rb") as file:
        fd, size = file.fileno(), source.stat().st_size
        for _ in range(times):
            turns.take("look", _seconds(lambda: examine.examine(fd, sniff.sniff(fd, size))))
            turns.take("ours", _clocked(source.with_name("ours"), partial(_ours, fd, form)))
            turns.take("plain", _clocked(source.with_name("plain"), partial(_plain, source, form)))
    yield Row(
        f"convert 2 GiB of {name}",
        1,
        turns.samples["ours"],
        turns.samples["plain"],
        Goal("ratio", 1 / 0.9),
        "plain qemu-img convert of the same file",
        note="conversions are timed by the clock, in turns, in memory where there is room; half of each disk is holes",
    )
    yield Row(f"examine it ({name})", 1, turns.samples["look"], floor_is="no floor: twice a confined qemu-img")


def _start(times: int) -> Row:
    turns = Turns()
    for _ in range(times * 3):
        turns.take("ours", _seconds(lambda: confine.run([_PROGRAM], {}, limits=confine.Limits())))
        turns.take("peer", _seconds(lambda: subprocess.run([_PROGRAM], check=True)))
    return Row("start a confined program", 1, turns.samples["ours"], peer=turns.samples["peer"], peer_is="without")


def _ours(fd: int, form: Format, made: int) -> None:
    image = Examined(form, examine.header(fd, form))
    examine.convert(fd, image, made, progress=lambda part: None, check=confine.idle)


def _plain(source: Path, form: str, made: int) -> None:
    subprocess.run(["qemu-img", "convert", "-f", form, "-O", "raw", source, f"/proc/{os.getpid()}/fd/{made}"], check=True)


def _clocked(path: Path, work: Callable[[int], None]) -> float:
    """To a new file each time."""
    made = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL)
    try:
        return _seconds(lambda: work(made))
    finally:
        os.close(made)
        path.unlink()


def _seconds(work: Callable[[], object]) -> float:
    began = time.monotonic()
    work()
    return time.monotonic() - began
