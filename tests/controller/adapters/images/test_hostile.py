"""Images made to harm, and images that came to harm, are refused with the reason, soon, and with nothing read but them."""

import os
import random
import resource
import struct
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from controller.adapters import confine
from controller.adapters.command import find
from controller.adapters.images import examine, qemu, sniff
from controller.adapters.images.examine import Examined
from controller.adapters.images.problem import SourceProblem
from controller.adapters.images.sniff import Format
from controller.adapters.images.vhdx import _crc32c
from tests.controller.adapters.images.disks import KINDS, MIB, QEMU, digest, image, opened, raw_disk

pytestmark = QEMU
SECRET = "/etc/shadow"
SOON = 20.0
PLAIN = {"qcow2": "qcow2-v3", "vhd": "vhd-dynamic", "vhdx": "vhdx-dynamic", "vmdk": "vmdk-sparse"}


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """One sound image of each kind, to be spoilt."""
    folder = tmp_path_factory.mktemp("good")
    disk = raw_disk(folder / "disk.raw", 16 * MIB, pieces=4)
    return {kind: image(disk, kind, folder).read_bytes() for kind in KINDS}


def judged(path: Path) -> Examined | str:
    """What it is taken for, or the refusal; soon, and with no name of this host in it."""
    began = time.monotonic()
    try:
        with opened(path) as fd:
            return examine.examine(fd, sniff.sniff(fd, path.stat().st_size))
    except SourceProblem as problem:
        told = f"{problem.reason}: {problem}"
        assert not any(name in told for name in ("/dev/fd", str(path.parent), "driver=")), told
        return told
    finally:
        assert time.monotonic() - began < SOON


def spoilt(folder: Path, data: bytes, *places: tuple[int, bytes]) -> Path:
    changed = bytearray(data)
    for at, new in places:
        changed[at : at + len(new)] = new
    path = folder / "image"
    path.write_bytes(changed)
    return path


def qemu_img(*words: str | Path) -> None:
    subprocess.run(["qemu-img", *words], check=True, capture_output=True)


def u32(value: int) -> bytes:
    return struct.pack(">I", value)


def u64(value: int) -> bytes:
    return struct.pack(">Q", value)


# --- what QEMU would follow ---------------------------------------------------------------------------------


def backing(path: Path) -> None:
    qemu_img("create", "-u", "-f", "qcow2", "-b", SECRET, "-F", "raw", path, "1M")


def data_file(path: Path) -> None:
    qemu_img("create", "-f", "qcow2", "-o", f"data_file={path}.data", path, "1M")


def snapshot(path: Path) -> None:
    qemu_img("create", "-f", "qcow2", path, "1M")
    qemu_img("snapshot", "-c", "before", path)


def pieces(path: Path) -> None:
    qemu_img("create", "-f", "vmdk", "-o", "subformat=twoGbMaxExtentSparse", path, "3G")


def flat(path: Path) -> None:
    qemu_img("create", "-f", "vmdk", "-o", "subformat=monolithicFlat", path, "1M")
    path.write_text(path.read_text().replace("image-flat.vmdk", SECRET))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (backing, "SourceRefused: it is a qcow2 image that builds on a backing file"),
        (data_file, "SourceRefused: it is a qcow2 image that keeps its data in another file"),
        (snapshot, "SourceRefused: it is a qcow2 image that has internal snapshots"),
        (pieces, "SourceForeign: it is the description of a VMDK"),
        (flat, "SourceForeign: it is the description of a VMDK"),
    ],
)
def test_what_leads_elsewhere_or_hides_its_content_is_refused(
    tmp_path: Path, make: Callable[[Path], None], words: str
) -> None:
    make(tmp_path / "image")
    found = judged(tmp_path / "image")
    assert isinstance(found, str)
    assert found.startswith(words)


DESCRIPTION = b'# Disk DescriptorFile\nversion=1\nCID=1\nparentCID=%s\ncreateType="%s"\n%s\n%s'
ONE = b'RW 32768 SPARSE "image.vmdk"'
SHADOW = b'RW 1 FLAT "/etc/shadow" 0'


@pytest.mark.parametrize(
    ("parent", "kind", "extents", "more", "capacity", "words"),
    [
        (b"ffffffff", b"monolithicFlat", SHADOW, b"", 32768, "of the type 'monolithicFlat'"),
        (b"ffffffff", b"monolithicSparse", SHADOW, b"", 32768, "in several pieces"),
        (b"ffffffff", b"monolithicSparse", ONE + b"\n" + SHADOW, b"", 32768, "in several pieces"),
        (b"ffffffff", b"monolithicSparse", ONE, b"", 0, "no content of its own"),
        (b"12345678", b"monolithicSparse", ONE, b"", 32768, "builds on another"),
        (b"ffffffff", b"monolithicSparse", ONE, b'parentFileNameHint="/etc/shadow"\n', 32768, "builds on another"),
        (b"ffffffff", b"monolithicSparse", ONE, b'\0parentFileNameHint="/etc/shadow"\n', 32768, "builds on another"),
        (b"ffffffff", b"monolithicSparse", ONE, b'encryption.keySafe = "vmware:key"\n', 32768, "is encrypted"),
        (b"ffffffff", b"monolithicSparse", b'RW 99 SPARSE "x"', b"", 32768, "different sizes"),
    ],
)
def test_a_vmdk_whose_description_names_other_files_is_refused(
    tmp_path: Path,
    good: dict[str, bytes],
    parent: bytes,
    kind: bytes,
    extents: bytes,
    more: bytes,
    capacity: int,
    words: str,
) -> None:
    text = (DESCRIPTION % (parent, kind, extents, more)).ljust(20 * 512, b"\0")
    found = judged(spoilt(tmp_path, good["vmdk-sparse"], (512, text), (12, struct.pack("<Q", capacity))))
    assert isinstance(found, str)
    assert words in found


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has files that others may not read")
def test_qemu_itself_would_have_followed_it_and_confined_it_cannot(tmp_path: Path) -> None:
    backing(tmp_path / "image")
    qemu_img("convert", "-f", "qcow2", "-O", "raw", tmp_path / "image", tmp_path / "leaked")
    assert (tmp_path / "leaked").read_bytes().startswith(Path(SECRET).read_bytes()[:100])
    with opened(tmp_path / "image") as fd, opened(tmp_path / "made", os.O_RDWR | os.O_CREAT) as made:
        os.ftruncate(made, MIB)
        with pytest.raises(SourceProblem, match="Permission denied"):
            qemu.convert(fd, "qcow2", made, MIB, progress=lambda part: None, check=confine.idle)
        assert not any(os.pread(made, MIB, 0))


def test_a_format_that_is_not_the_one_told_is_not_guessed(tmp_path: Path) -> None:
    backing(tmp_path / "image")
    for form in ("vhd", "vhdx", "vmdk"):
        with opened(tmp_path / "image") as fd, pytest.raises(SourceProblem):
            qemu.info(fd, form, confine.idle)


# --- sizes --------------------------------------------------------------------------------------------------


def vhd_size(data: bytes, size: int) -> list[tuple[int, bytes]]:
    """The same in both copies of the footer, with its checksum."""
    changed = data[:48] + u64(size) + data[56:64]
    total = ~(sum(changed) + sum(data[68:512])) & 0xFFFFFFFF
    footer = changed + u32(total) + data[68:512]
    return [(0, footer), (len(data) - 512, footer)]


def vhdx_item(data: bytes, guid: str) -> int:
    """Where its value is."""
    region = data.index(b"metadata")
    entry = data.index(bytes.fromhex(guid), region)
    return region + int.from_bytes(data[entry + 16 : entry + 20], "little")


DISK_SIZE, SECTOR_SIZE, PARAMETERS = (
    "2442a52f1bcd7648b2115dbed83bf4b8",
    "1dbf41816fa90947ba47f233a8faab5f",
    "3767a1ca36fa434db3b633f0aa44e76b",
)


def sized(form: Format, data: bytes, size: int) -> list[tuple[int, bytes]]:
    """The changes that make an image claim ``size``."""
    if form == "qcow2":
        return [(24, u64(size))]
    if form == "vhd":
        return vhd_size(data, size)
    if form == "vhdx":
        return [(vhdx_item(data, DISK_SIZE), struct.pack("<Q", size))]
    text = data[512:10752].replace(b"RW 32768 ", b"RW %d " % (size // 512))[:10240]
    return [(12, struct.pack("<Q", size // 512)), (512, text)]


@pytest.mark.parametrize("size", [(1 << 64) - 512, 1 << 63, (64 << 40) + 512, 1 << 50])
@pytest.mark.parametrize("form", PLAIN)
def test_an_absurd_size_is_refused_before_anything_is_started(
    tmp_path: Path, good: dict[str, bytes], form: Format, size: int
) -> None:
    data = good[PLAIN[form]]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    found = judged(spoilt(tmp_path, data, *sized(form, data, size)))
    assert resource.getrusage(resource.RUSAGE_CHILDREN) == before
    assert isinstance(found, str)
    assert found.split(":")[0] in ("SourceTooLarge", "SourceRefused", "SourceCorrupt")


def test_a_limit_that_is_given_is_kept(tmp_path: Path, good: dict[str, bytes]) -> None:
    with opened(spoilt(tmp_path, good["qcow2-v3"])) as fd:
        assert examine.header(fd, "qcow2", largest=16 * MIB) == 16 * MIB
        with pytest.raises(SourceProblem, match="more than the 16776704 that are allowed"):
            examine.header(fd, "qcow2", largest=16 * MIB - 512)


def test_a_size_that_is_no_multiple_of_a_sector_says_how_to_mend_it(tmp_path: Path, good: dict[str, bytes]) -> None:
    found = judged(spoilt(tmp_path, good["qcow2-v3"], (24, u64(16 * MIB - 1))))
    assert found == ("SourceUneven: it has 16777215 bytes, which is not a multiple of 512: qemu-img resize, to 16777216")


def test_a_small_file_that_would_fill_a_disk_is_refused(tmp_path: Path) -> None:
    """Every entry of the first table leads to the same second one, and all of that to one cluster: 8 TiB of data."""
    path = tmp_path / "image"
    qemu_img("create", "-f", "qcow2", path, "8T")
    with path.open("r+b") as file:
        file.seek(40)
        (table,) = struct.unpack(">Q", file.read(8))
        end = path.stat().st_size // 65536 * 65536 + 65536
        file.seek(table)
        file.write(u64(end | 1 << 63) * (8 << 40 >> 29))
        file.seek(end)
        file.write(u64(end + 65536 | 1 << 63) * 8192 + b"x" * 65536)
    found = judged(path)
    assert isinstance(found, str)
    assert "its tables lead to the same places" in found


# --- tables that lie, images that were not closed, images that were cut ---------------------------------------


def vhdx_header(data: bytes, at: int, new: bytes) -> list[tuple[int, bytes]]:
    """The same change to both headers, with their checksums."""
    places = []
    for start in (64 << 10, 128 << 10):
        header = bytearray(data[start : start + 4096])
        header[at : at + len(new)] = new
        header[4:8] = struct.pack("<I", _crc32c(bytes(header)))
        places.append((start, bytes(header)))
    return places


def test_tables_outside_of_a_qcow2_are_found_in_its_header(tmp_path: Path, good: dict[str, bytes]) -> None:
    data = good["qcow2-v3"]
    for at, new, name in (
        (40, u64(1 << 40), "first-level"),
        (40, u64(0), "first-level"),
        (36, u32(1 << 31), "first-level"),
        (48, u64(1 << 62), "reference count"),
        (56, u32(1 << 30), "reference count"),
        (40, u64(513), "first-level"),
    ):
        assert f"its {name} table does not lie within it" in str(judged(spoilt(tmp_path, data, (at, new))))
    assert "entries for" in str(judged(spoilt(tmp_path, data, (36, u32(0)))))


def test_a_second_level_outside_of_a_qcow2_is_found_by_its_check(tmp_path: Path, good: dict[str, bytes]) -> None:
    data = good["qcow2-v3"]
    (table,) = struct.unpack(">Q", data[40:48])
    assert str(judged(spoilt(tmp_path, data, (table, u64(1 << 50 | 1 << 63))))).startswith("SourceCorrupt: ")


@pytest.mark.parametrize(
    ("kind", "place", "words"),
    [
        ("qcow2-v3", (72, u64(2)), "was not closed cleanly"),
        ("qcow2-v3", (72, u64(1)), "was not closed cleanly"),
        ("qcow2-v3", (72, u64(1 << 20)), "needs features that are not known"),
        ("qcow2-v3", (4, u32(1)), "has version 1"),
        ("qcow2-v2", (32, u32(1)), "is encrypted"),
        ("qcow2-v3", (32, u32(2)), "is encrypted"),
        ("qcow2-v3", (104 + 8, u32(0x44415441) + u32(8) + b"/etc/foo"), "names another file for its data"),
        ("qcow2-v3", (104 + 8, u32(0x0537BE77) + u32(16)), "is encrypted (LUKS)"),
        ("vmdk-sparse", (73, b"\n \n\n"), "was copied as text"),
        ("vmdk-sparse", (20, struct.pack("<Q", 3)), "pieces of 3 sectors"),
    ],
)
def test_a_header_that_says_so_is_believed(
    tmp_path: Path, good: dict[str, bytes], kind: str, place: tuple[int, bytes], words: str
) -> None:
    assert words in str(judged(spoilt(tmp_path, good[kind], place)))


def test_a_vhdx_with_a_log_to_replay_is_refused(tmp_path: Path, good: dict[str, bytes]) -> None:
    data = good["vhdx-dynamic"]
    assert "was not closed cleanly" in str(judged(spoilt(tmp_path, data, *vhdx_header(data, 48, os.urandom(16)))))


def test_a_vhdx_that_builds_on_another_or_has_large_sectors_is_refused(tmp_path: Path, good: dict[str, bytes]) -> None:
    data = good["vhdx-dynamic"]
    parent = (vhdx_item(data, PARAMETERS) + 4, struct.pack("<I", 2))
    assert "the differences to another one" in str(judged(spoilt(tmp_path, data, parent)))
    sectors = (vhdx_item(data, SECTOR_SIZE), struct.pack("<I", 4096))
    assert "has sectors of 4096 bytes" in str(judged(spoilt(tmp_path, data, sectors)))


def test_a_vhd_that_builds_on_another_is_refused(tmp_path: Path, good: dict[str, bytes]) -> None:
    data = good["vhd-dynamic"]
    differencing = data[:60] + u32(4) + data[64:]
    ((_, footer), _) = vhd_size(differencing, 16 * MIB)
    found = judged(spoilt(tmp_path, data, (0, footer), (len(data) - 512, footer)))
    assert "the differences to another one" in str(found)


@pytest.mark.parametrize("part", [0.001, 0.1, 0.5, 0.9, 0.999])
@pytest.mark.parametrize("kind", ["qcow2-v2", "qcow2-zlib", "vhd-dynamic", "vhdx-dynamic", "vmdk-sparse", "vmdk-stream"])
def test_a_cut_image_is_refused_unless_nothing_is_missing(
    tmp_path: Path, good: dict[str, bytes], kind: str, part: float
) -> None:
    data = good[kind]
    path = spoilt(tmp_path, data[: int(len(data) * part)])
    found = judged(path)
    if isinstance(found, Examined):
        assert kind == "vmdk-stream", "the one that has filling after its data"
        _to_the_end(tmp_path, found)
        assert digest(tmp_path / "made") == digest(raw_disk(tmp_path / "disk", 16 * MIB, pieces=4))
    else:
        assert found.split(":")[0] in ("SourceCorrupt", "SourceRefused")


# --- bits that were flipped ---------------------------------------------------------------------------------


def header_bits(form: str, data: bytes) -> list[int]:
    """Of the bytes that decide: headers, footers, tables and descriptions."""
    metadata, end = data.find(b"metadata"), len(data) - 512
    places = {
        "qcow2": range(160),
        "vhd": [*range(100), *range(512, 600), *range(end, end + 100)],
        "vhdx": [*range(8), *range(65536, 65616), *range(196608, 196688), *range(metadata, metadata + 240)],
        "vmdk": [*range(80), *range(512, 900)],
    }
    step = 17 if form == "vhdx" else 1  # its checksums take long
    return [at * 8 + bit for at in places[form] for bit in range(8)][::step]


def flipped(data: bytes, bits: list[int]) -> list[tuple[int, bytes]]:
    return [(bit // 8, bytes([data[bit // 8] ^ 1 << bit % 8])) for bit in bits]


@pytest.mark.parametrize("form", PLAIN)
def test_any_flipped_bit_of_a_header_is_refused_or_harmless(tmp_path: Path, good: dict[str, bytes], form: Format) -> None:
    """Each bit by our own reading; of those that it lets pass, some by qemu-img too, to the end."""
    data = good[PLAIN[form]]
    bits, chance = header_bits(form, data), random.Random(form)
    with opened(spoilt(tmp_path, data), os.O_RDWR) as fd:
        passed = [bit for bit in bits if passes(fd, data, form, bit)]
    assert len(passed) < len(bits) * {"vhd": 0.001, "vhdx": 0.9}.get(form, 0.8)  # a VHDX has two of most, a VHD a checksum
    for bit in chance.sample(passed, min(6, len(passed))):
        found = judged(spoilt(tmp_path, data, *flipped(data, [bit])))
        if isinstance(found, Examined):
            _to_the_end(tmp_path, found)


def passes(fd: int, data: bytes, form: Format, bit: int) -> bool:
    ((at, new),) = flipped(data, [bit])
    os.pwrite(fd, new, at)
    try:
        return examine.header(fd, form) % 512 == 0
    except SourceProblem as problem:
        return not problem.reason
    finally:
        os.pwrite(fd, data[at : at + 1], at)


def _to_the_end(folder: Path, found: Examined) -> None:
    if found.format == "raw":  # its very name was hit
        assert "no PC boots from it" in found.remark
        return
    made = folder / "made"
    made.unlink(missing_ok=True)
    with opened(folder / "image") as fd, opened(made, os.O_RDWR | os.O_CREAT) as out:
        with suppress(SourceProblem):
            examine.convert(fd, found, out, progress=lambda done: None, check=confine.idle)
        assert os.fstat(out).st_size == found.virtual_size


@pytest.mark.parametrize("form", PLAIN)
def test_random_damage_ends_in_a_refusal_or_an_image(tmp_path: Path, good: dict[str, bytes], form: Format) -> None:
    data, chance = good[PLAIN[form]], random.Random(form)
    for _ in range(4):
        places = [(chance.randrange(len(data) - 64), chance.randbytes(chance.randrange(1, 64))) for _ in range(200)]
        path = spoilt(tmp_path, data, *[place for place in places if place[0] > 1024])
        found = judged(path)
        if isinstance(found, Examined):
            _to_the_end(tmp_path, found)


def test_qemu_img_is_the_one_of_the_path_that_programs_are_looked_for_on() -> None:
    assert find(qemu.PROGRAM)
