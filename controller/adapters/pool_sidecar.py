"""``images/NAME@vN.json`` beside a version: what it is, and what it was made from. Without one a version is half-made."""

import json
import re
import stat
from dataclasses import replace
from pathlib import Path

from controller.adapters import files
from controller.core import names
from controller.core.observed import ImageFile, Stamp

DAY = 86400 * 10**9
_BLOCK = 512  # in which stat(2) tells what a file takes
_NOTED = "mtime"  # how uses are noted: a version of before that was done does not say so
_SHA256 = re.compile(r"[0-9a-f]{64}", re.ASCII).fullmatch


class Unreadable(Exception):
    """A version that is there and cannot be used: it is neither served nor replaced."""


def sidecar(golden: str) -> str:
    return f"{golden.removesuffix('.raw')}.json"


def read(folder: Path, image: str, version: int) -> ImageFile:
    """A complete version, as its sidecar tells and its file bears out. Unreadable."""
    golden = folder / names.golden(image, version)
    try:
        beside = folder / sidecar(golden.name)
        told = json.loads(files.read(beside, 1 << 16))
        there = golden.lstat()
        made = ImageFile(
            version,
            int(told["size"]),
            str(told["sha256"]),
            Stamp(int(told["source"]["size"]), int(told["source"]["mtime_ns"])),
            str(told.get("identity", "")),
            there.st_mtime_ns,
            told.get("author"),
            told.get("comment"),
            told.get("parent"),
            beside.lstat().st_mtime_ns // DAY if told.get("uses") == _NOTED else 0,
            there.st_blocks * _BLOCK,
            str(told.get("format") or "") or None,
            str(told.get("remark") or "") or None,
            tuple(map(str, told.get("layers", ()))),
            int(told.get("released", 0)),
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Unreadable(f"{golden}, or the .json beside it, cannot be read: {error}") from error
    if not _SHA256(made.sha256) or not stat.S_ISREG(there.st_mode) or there.st_size != made.size:
        raise Unreadable(f"{golden} is not the plain file of {made.size} bytes that the .json beside it tells of")
    return made


def vouch(folder: Path, version: ImageFile, image: str, source: Stamp, identity: str) -> None:
    """What the version is, and the source that it stands for now. OSError."""
    now = replace(version, stamp=source, identity=identity)
    told = {
        "sha256": now.sha256,
        "size": now.size,
        "source": {"size": now.stamp.size, "mtime_ns": now.stamp.mtime_ns},
        "identity": now.identity,
        "author": now.author,
        "comment": now.comment,
        "parent": now.parent,
        "format": now.format,
        "remark": now.remark,
        "layers": now.layers,
        "released": now.released,
        "uses": _NOTED,
    }
    files.replace(folder / sidecar(names.golden(image, version.version)), json.dumps(told).encode(), 0o440)
