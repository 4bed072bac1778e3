"""qcow2, versions 2 and 3, as docs/interop/qcow2.txt of QEMU describes the header."""

from controller.adapters.images.reader import Reader
from controller.adapters.images.sniff import SECTOR

_V2_LENGTH = 72
_DIRTY, _CORRUPT, _DATA_FILE, _COMPRESSION, _EXTENDED_L2 = 1, 2, 4, 8, 16  # incompatible_features, byte 72
_END, _BACKING_FORMAT, _ENCRYPTION, _DATA_FILE_NAME = 0, 0xE2792ACA, 0x0537BE77, 0x44415441  # header extensions
_OFFSET, _COMPRESSED, _ZERO = 0x00FFFFFFFFFFFE00, 1 << 62, 1  # of table entries
_LEAST_COMPRESSED = 16  # bytes, whatever a cluster holds
_MOST_L1, _MOST_REFCOUNTS = 32 << 20, 8 << 20  # bytes of those tables that QEMU takes


def virtual_size(image: Reader) -> int:
    """Of an image that stands alone and whose tables lie within it. SourceProblem."""
    _, version, backing, backing_length, cluster_bits, size, encryption, l1_entries, l1_at, counts_at, counts, snapshots = (
        image.unpack(">IIQIIQIIQQII", 0)  # bytes 0 to 63
    )
    if version not in (2, 3):
        raise image.refused(f"has version {version}: 2 and 3 are known")
    if not 9 <= cluster_bits <= 21:
        raise image.corrupt(f"clusters of 2^{cluster_bits} bytes")
    cluster = 1 << cluster_bits
    if backing or backing_length:
        raise image.refused("builds on a backing file: join them first, with qemu-img convert -O qcow2")
    if encryption:
        raise image.refused("is encrypted: decrypt it first, with qemu-img convert")
    if snapshots:
        raise image.refused("has internal snapshots: leave them behind first, with qemu-img convert -O qcow2")
    extended = _features(image, cluster) if version == 3 else False
    needed = -(-size // (cluster * (cluster // (16 if extended else 8))))
    if l1_entries < needed:
        raise image.corrupt(f"a first-level table of {l1_entries} entries for {size} bytes")
    _table(image, "first-level", l1_at, l1_entries * 8, cluster, _MOST_L1)
    _table(image, "reference count", counts_at, counts * cluster, cluster, _MOST_REFCOUNTS)
    if image.tables:
        _claims(image, l1_at, needed, cluster_bits, 2 if extended else 1)
    return size


def _features(image: Reader, cluster: int) -> bool:
    """Whether second-level entries are long ones, in a header of version 3. SourceProblem."""
    incompatible, _, _, refcount_order, length = image.unpack(">QQQII", 72)
    if incompatible & _DATA_FILE:
        raise image.refused("keeps its data in another file: join them first, with qemu-img convert -O qcow2")
    if incompatible & (_DIRTY | _CORRUPT):
        raise image.refused("was not closed cleanly: qemu-img check -r all, and look at what it says")
    if incompatible & ~(_COMPRESSION | _EXTENDED_L2):
        raise image.refused(f"needs features that are not known here ({incompatible:#x})")
    if refcount_order > 6 or length < 104 or length % 8 or length > cluster:
        raise image.corrupt("lengths in its header that cannot be")
    if incompatible & _COMPRESSION and (length < 112 or image.bytes(104, 1)[0] > 1):
        raise image.refused("is compressed in a way that is not known here")
    _extensions(image, length, cluster)
    return bool(incompatible & _EXTENDED_L2)


def _extensions(image: Reader, at: int, cluster: int) -> None:
    while at + 8 <= cluster:
        kind, length = image.unpack(">II", at)
        if kind == _END:
            return
        if kind == _ENCRYPTION:
            raise image.refused("is encrypted (LUKS): decrypt it first, with qemu-img convert")
        if kind == _DATA_FILE_NAME:
            raise image.refused("names another file for its data: join them first, with qemu-img convert -O qcow2")
        if kind == _BACKING_FORMAT:
            raise image.refused("names the format of a backing file: join them first, with qemu-img convert -O qcow2")
        at += 8 + (length + 7) // 8 * 8
    if at > cluster:
        raise image.corrupt("header extensions that leave the header")


def _claims(image: Reader, at: int, count: int, bits: int, words: int) -> None:
    """That the tables lead to no more data than is there, and none after its end. ``words``: of 8 bytes, in an entry."""
    cluster, shift = 1 << bits, 62 - (bits - 8)
    seconds = [entry & _OFFSET for piece in image.entries(at, count, "Q", "big") for entry in piece if entry & _OFFSET]
    image.hold(len(seconds), cluster)
    plain = packed = end = 0
    for second in seconds:
        for piece in image.entries(second, cluster // 8, "Q", "big"):
            there = [entry for entry in piece[::words] if entry > _ZERO]
            sparse = [entry for entry in there if entry & _COMPRESSED]
            plain, packed = plain + len(there) - len(sparse), packed + len(sparse)
            whole = (
                (entry & _OFFSET for entry in there) if not sparse else (e & _OFFSET for e in there if not e & _COMPRESSED)
            )
            end = max(end, max(whole, default=-cluster) + cluster, max((_end(e, shift) for e in sparse), default=0))
    image.hold(plain, cluster)
    image.hold(packed, _LEAST_COMPRESSED)
    if end > -(-image.size // SECTOR) * SECTOR:
        mend = f"or, if only its last piece was left unfilled, truncate -s %{cluster}"
        raise image.corrupt(f"it ends before its data does: copy or download it again, {mend}")


def _end(entry: int, shift: int) -> int:
    """Where a compressed cluster ends: its first byte, and so many sectors more than the one that this is in."""
    return (entry & (1 << shift) - 1) // SECTOR * SECTOR + ((entry & _COMPRESSED - 1) >> shift) * SECTOR + SECTOR


def _table(image: Reader, name: str, at: int, length: int, cluster: int, most: int) -> None:
    if length > most or at % cluster or (length and at < cluster) or at + length > image.size:
        raise image.corrupt(f"its {name} table does not lie within it: copy or download it again")
