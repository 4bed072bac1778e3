"""VHDX, fixed and dynamic, as [MS-VHDX] describes it; its section is named at each structure."""

import struct
from dataclasses import dataclass
from functools import cache
from uuid import UUID

from controller.adapters.images.reader import Reader

_HEADERS, _REGION_TABLES = (64 << 10, 128 << 10), (192 << 10, 256 << 10)  # 2.2
_BAT, _METADATA = UUID("2dc27766-f623-4200-9d64-115e9bfd4a08"), UUID("8b7ca206-4790-4b9a-b8fe-575f050f886e")  # 2.2.3.2
_PARAMETERS = UUID("caa16737-fa36-4d43-b3b6-33f0aa44e76b")  # 2.6.2
_DISK_SIZE = UUID("2fa54224-cd1b-4876-b211-5dbed83bf4b8")
_SECTOR_SIZE = UUID("8141bf1d-a96f-4709-ba47-f233a8faab5f")
_PARENT = UUID("a8d35f2d-b30b-454d-abf7-d3d84834ab0c")
_HAS_PARENT = 2
_PRESENT = 6  # 2.5.1.1: PAYLOAD_BLOCK_FULLY_PRESENT
_MOST_ENTRIES = 2047
_MOST = 64 << 40  # bytes: the largest that the format allows


@dataclass(frozen=True, slots=True)
class _Place:
    at: int
    length: int


def virtual_size(image: Reader) -> int:
    """Of an image that stands alone and was closed cleanly. SourceProblem."""
    _header(image)
    regions = _regions(image)
    if not {_BAT, _METADATA} <= regions.keys():
        raise image.corrupt("a table that it needs is missing")
    items = _items(image, regions[_METADATA])
    if not {_PARAMETERS, _DISK_SIZE, _SECTOR_SIZE} <= items.keys():
        raise image.corrupt("a description that it needs is missing")
    block, flags = image.unpack("<II", items[_PARAMETERS].at)
    (size,) = image.unpack("<Q", items[_DISK_SIZE].at)
    (sector,) = image.unpack("<I", items[_SECTOR_SIZE].at)
    if flags & _HAS_PARENT or _PARENT in items:
        raise image.refused("holds only the differences to another one: merge them first")
    if sector != 512:
        raise image.refused(f"has sectors of {sector} bytes: PCs are served disks of 512, and would not find its partitions")
    if not 1 << 20 <= block <= 256 << 20 or block & (block - 1):
        raise image.corrupt(f"blocks of {block} bytes")
    if size > _MOST:
        raise image.refused(f"claims {size} bytes, more than the format allows")
    _bat(image, regions[_BAT], block, size)
    return size


def _header(image: Reader) -> None:
    """The newer of the two that are whole (2.2.2): its log must be empty, or the content is not what it seems."""
    found = []
    for at in _HEADERS:
        data = image.bytes(at, 4096)
        if data.startswith(b"head") and _crc32c(data) == int.from_bytes(data[4:8], "little"):
            found.append((int.from_bytes(data[8:16], "little"), data))
    if not found:
        raise image.corrupt("neither of its headers is whole: copy or download it again")
    _, newest = max(found)
    log = newest[48:64]
    log_version, version, _, _ = struct.unpack_from("<HHIQ", newest, 64)
    if version != 1 or log_version != 0:
        raise image.refused(f"has version {version}.{log_version}: 1.0 is known")
    if any(log):
        raise image.refused("was not closed cleanly: attach and detach it once in Windows, or qemu-img check -r all")


def _regions(image: Reader) -> dict[UUID, _Place]:
    """2.2.3: of the two tables, which are the same, the first that is whole."""
    for at in _REGION_TABLES:
        data = image.bytes(at, 64 << 10)
        count = int.from_bytes(data[8:12], "little")
        if data.startswith(b"regi") and count <= _MOST_ENTRIES and _crc32c(data) == int.from_bytes(data[4:8], "little"):
            break
    else:
        raise image.corrupt("neither of its region tables is whole: copy or download it again")
    found: dict[UUID, _Place] = {}
    for guid, place, length, _ in struct.iter_unpack("<16sQII", data[16 : 16 + 32 * count]):
        name = UUID(bytes_le=guid)
        if place < 1 << 20 or place % (1 << 20) or place + length > image.size or name in found:
            raise image.corrupt("a region of it does not lie within it: copy or download it again")
        if name not in (_BAT, _METADATA):
            raise image.refused("has a region that is not known here")
        found[name] = _Place(place, length)
    return found


def _items(image: Reader, region: _Place) -> dict[UUID, _Place]:
    """2.6.1: where each description is."""
    (count,) = image.unpack("<H", region.at + 10)
    if image.bytes(region.at, 8) != b"metadata" or count > _MOST_ENTRIES or 32 + 32 * count > region.length:
        raise image.corrupt("its metadata are not whole")
    found: dict[UUID, _Place] = {}
    table = image.bytes(region.at + 32, 32 * count)
    for guid, at, length, _, _ in struct.iter_unpack("<16sIIII", table):
        name = UUID(bytes_le=guid)
        if at + length > region.length or name in found:
            raise image.corrupt("its metadata are not whole")
        found[name] = _Place(region.at + at, length)
    return found


def _bat(image: Reader, region: _Place, block: int, size: int) -> None:
    """2.5: as many entries as the size needs, one of a bitmap after each chunk."""
    chunk = (1 << 23) * 512 // block
    blocks = -(-size // block)
    entries = blocks + max(0, blocks - 1) // chunk
    if entries * 8 > region.length:
        raise image.corrupt(f"a table of {region.length} bytes for {blocks} blocks")
    if not image.tables:
        return
    used = 0
    for piece in image.entries(region.at, entries, "Q", "little"):
        used += sum(1 for entry in piece if entry & 7 == _PRESENT)
    image.hold(used, block)


def _crc32c(data: bytes) -> int:
    """Of a structure whose checksum, bytes 4 to 7, counts as zero (2.2.2, RFC 3720 appendix B.4)."""
    table, crc = _table(), 0xFFFFFFFF
    for byte in data[:4] + bytes(4) + data[8:]:
        crc = crc >> 8 ^ table[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF


@cache
def _table() -> tuple[int, ...]:
    found = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
        found.append(value)
    return tuple(found)
