"""VMDK in one file, monolithicSparse and streamOptimized, as VMware's "Virtual Disk Format 5.0" describes it.

Its description is text that may name other files, and QEMU follows them: one that names any is refused, wherever QEMU
would look for it.
"""

import re

from controller.adapters.images.reader import Reader
from controller.adapters.images.sniff import SECTOR

_ALONE = ("monolithicSparse", "streamOptimized")
_ALONE_CID = "ffffffff"
_QEMU_READS = (SECTOR, 20 * SECTOR)  # vmdk.c: desc_offset and DESC_SIZE, whatever the header says
_LARGEST_TEXT = 1 << 20
_GRAINS = range(8, 129)  # sectors; VMware makes 128, the format allows from 8
_AT_END = (1 << 64) - 1
_COMPRESSED = 1 << 16  # flags
_MARKER = 12  # bytes before the data of a compressed piece: its place, its length
_ZEROS = 1  # of a table's entries
_EXTENT = re.compile(r"^\s*(RW|RDONLY|NOACCESS)\s+(\d+)\s+(\S+)(.*)$")


def virtual_size(image: Reader) -> int:
    """Of an image that stands alone. SourceProblem."""
    version, flags, capacity, grain, text_at, text_length, entries, _, directory, _ = image.unpack("<IIQQQQIQQQ", 4)
    if version not in (1, 2, 3):
        raise image.refused(f"has version {version}: 1 to 3 are known")
    if image.bytes(73, 4) != b"\n \r\n":
        raise image.corrupt("its line ends were changed: it was copied as text")
    if capacity == 0:
        raise image.refused("has no content of its own, only a description of other files")
    if grain not in _GRAINS or grain & (grain - 1) or not 0 < entries <= 512:
        raise image.corrupt(f"pieces of {grain} sectors, {entries} a table")
    if directory != _AT_END and directory * SECTOR >= image.size:
        raise image.corrupt("its directory does not lie within it: copy or download it again")
    if text_at == 0 or text_length == 0 or text_length * SECTOR > _LARGEST_TEXT:
        raise image.refused("is one piece of several, without a description: join them first")
    _described(image, image.bytes(text_at * SECTOR, text_length * SECTOR), capacity)
    at, length = _QEMU_READS
    if b"parentFileNameHint" in image.bytes(at, min(length, image.size - at)):
        raise image.refused("builds on another one: join them first")
    if not image.tables:
        return capacity * SECTOR
    if directory == _AT_END:
        (directory,) = image.unpack("<Q", image.size - 2 * SECTOR + 56)  # the footer is a copy of the header, but for this
    count = -(-capacity // (grain * entries))
    _claims(image, directory, count, entries, None if flags & _COMPRESSED else grain * SECTOR)
    return capacity * SECTOR


def _claims(image: Reader, directory: int, count: int, entries: int, grain: int | None) -> None:
    """That the tables lead to no more data than is there, and none after its end. ``grain``: bytes; none if compressed."""
    tables = [table for piece in image.entries(directory * SECTOR, count, "I", "little") for table in piece if table]
    image.hold(len(tables), entries * 4)
    used = last = 0
    for table in tables:
        for piece in image.entries(table * SECTOR, entries, "I", "little"):
            used += len(piece) - piece.count(0) - piece.count(_ZEROS)
            last = max(last, *piece)
    image.hold(used, grain or SECTOR)
    if last <= _ZEROS:
        return
    length = grain or _MARKER + image.unpack("<QI", last * SECTOR)[1]
    if last * SECTOR + length > image.size:
        raise image.corrupt("it ends before its data does: copy or download it again")


def _described(image: Reader, data: bytes, capacity: int) -> None:
    text = data.partition(b"\0")[0].decode("latin-1")
    pairs = dict(_pair(line) for line in text.splitlines() if "=" in line and not line.startswith("#"))
    kind = pairs.get("createtype", "")
    if kind not in _ALONE:
        raise image.refused(f"is of the type {kind[:40]!a}: {' and '.join(_ALONE)} are known")
    if "parentfilenamehint" in pairs or pairs.get("parentcid", _ALONE_CID).lower() != _ALONE_CID:
        raise image.refused("builds on another one: join them first")
    if any(name.startswith("encryption") for name in pairs):
        raise image.refused("is encrypted: decrypt it first")
    extents = [found for line in text.splitlines() if (found := _EXTENT.match(line))]
    if len(extents) != 1 or extents[0][3] != "SPARSE":
        raise image.refused("has its data in several pieces: join them first")
    if int(extents[0][2][:20]) != capacity:
        raise image.corrupt("its description and its header tell of different sizes")


def _pair(line: str) -> tuple[str, str]:
    name, _, value = line.partition("=")
    return name.strip().lower(), value.strip().strip('"')
