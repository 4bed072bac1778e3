"""Backups taken apart and put together again, by the library that others would use."""

import gzip
import io
import json
import tarfile
from collections.abc import Callable, Mapping
from hashlib import sha256
from typing import Any

from controller.adapters.backup_archive import MANIFEST

Parts = dict[str, bytes]


def unpacked(archive: bytes) -> tuple[dict[str, Any], Parts]:
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        parts = {member.name: tar.extractfile(member).read() for member in tar.getmembers()}  # type: ignore[union-attr]
    return json.loads(parts.pop(MANIFEST)), parts


def member(name: str, data: bytes, kind: bytes = tarfile.REGTYPE, link: str = "") -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.size, info.type, info.linkname = len(data), kind, link
    return info, data


def packed(members: list[tuple[tarfile.TarInfo, bytes]], form: int = tarfile.USTAR_FORMAT) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as tar:
        for info, data in members:
            tar.addfile(info, io.BytesIO(data))
    return gzip.compress(out.getvalue(), mtime=0)


def changed(archive: bytes, change: Callable[[dict[str, Any], Parts], object], *, sums: bool = True) -> bytes:
    """The archive after ``change`` had its way with manifest and parts; ``sums`` makes sizes and digests fit again."""
    manifest, parts = unpacked(archive)
    change(manifest, parts)
    for told in [*manifest["tables"], *manifest["files"]] if sums else []:
        data = parts.get(told["name"], b"")
        told |= {"size": len(data), "sha256": sha256(data).hexdigest()}
    head = json.dumps(manifest).encode()
    return packed([member(MANIFEST, head), *(member(name, data) for name, data in parts.items())])


def table(manifest: Mapping[str, Any], name: str) -> dict[str, Any]:
    found: dict[str, Any] = next(one for one in manifest["tables"] if one["table"] == name)
    return found
