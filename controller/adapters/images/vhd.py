"""VHD, fixed and dynamic, as Microsoft's "Virtual Hard Disk Image Format Specification" describes it."""

from controller.adapters.images.reader import Reader

_FIXED, _DYNAMIC, _DIFFERENCING = 2, 3, 4
_FOOTER, _HEADER = 512, 1024
_NOT_THERE = 0xFFFFFFFF
_MOST = 2040 << 30  # bytes: the largest that the format allows


def virtual_size(image: Reader) -> int:
    """Of an image that stands alone. SourceProblem."""
    footer_at = image.size - _FOOTER
    footer = _checked(image, footer_at, _FOOTER, b"conectix", 64, "footer")
    (data_at,) = image.unpack(">Q", footer_at + 16)
    size, _, kind = image.unpack(">Q4sI", footer_at + 48)  # current size, geometry, disk type
    if kind == _DIFFERENCING:
        raise image.refused("holds only the differences to another one: merge them first")
    if kind not in (_FIXED, _DYNAMIC):
        raise image.refused(f"is of type {kind}: fixed and dynamic ones are known")
    if size > _MOST:
        raise image.refused(f"claims {size} bytes, more than the format allows")
    if kind == _FIXED:
        if size != footer_at:
            raise image.corrupt(f"{footer_at} bytes of content where its footer tells of {size}: copy or download it again")
        return size
    if image.bytes(0, _FOOTER) != footer:
        raise image.corrupt("its first sector and its last one differ: copy or download it again")
    _dynamic(image, data_at, size)
    return size


def _dynamic(image: Reader, at: int, size: int) -> None:
    _checked(image, at, _HEADER, b"cxsparse", 36, "header")
    table_at, _, entries, block = image.unpack(">QIII", at + 16)
    if block < 512 or block & (block - 1) or block > 256 << 20:
        raise image.corrupt(f"blocks of {block} bytes")
    if entries * block < size or entries > (_MOST // 512):
        raise image.corrupt(f"a table of {entries} blocks for {size} bytes")
    needed = -(-size // block)
    if not image.tables:
        return
    bitmap = -(-block // 512 // 8 // 512) * 512
    used, last = 0, 0
    for piece in image.entries(table_at, needed, "I", "big"):
        there = [entry for entry in piece if entry != _NOT_THERE]
        used, last = used + len(there), max(last, max(there, default=0))
    if used and last * 512 + bitmap + block > image.size - _FOOTER:
        raise image.corrupt("blocks of it lie after its end: copy or download it again")
    image.hold(used, block)


def _checked(image: Reader, at: int, length: int, cookie: bytes, sum_at: int, name: str) -> bytes:
    """A structure with its cookie and its checksum: the ones' complement of the sum of all bytes but its own."""
    data = image.bytes(at, length)
    told = int.from_bytes(data[sum_at : sum_at + 4], "big")
    if not data.startswith(cookie) or told != ~(sum(data) - sum(data[sum_at : sum_at + 4])) & 0xFFFFFFFF:
        raise image.corrupt(f"its {name} is not whole: copy or download it again")
    return data
