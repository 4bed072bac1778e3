"""The disk of a PC with Linux, as an operator would bring it: a qcow2 with GRUB for BIOS and UEFI and a root on ext4.

Kernel, iSCSI initiator, boot loader and shell are Debian's own, unpacked from the packages that ``.ci/setup`` has fetched.
What its two first processes do is described in ``boot/initramfs.sh`` and ``boot/counter.sh``.
"""

import gzip
import hashlib
import os
import re
import shutil
import struct
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from tests.lab import disk
from tests.lab.host import CACHE
from tests.lab.wire import environment

PACKAGES = CACHE / "packages"
CARD = "virtio-net-pci"  # the one that this kernel has a driver for
LABEL = "ggnet-linux"
MODULES = ("virtio_pci", "virtio_net", "iscsi_tcp", "iscsi_ibft", "sd_mod")
# Its time comes from clocks of a known rate: one that is measured is measured wrong where the machine has other work.
_KERNEL = f"console=ttyS0 quiet panic=-1 mitigations=off notsc noapictimer no_timer_check root=LABEL={LABEL}"
_GRUB = f"""search.fs_label {LABEL} root
linux%s /boot/vmlinuz {_KERNEL}
initrd%s /boot/initrd
boot
"""
_ESP = 2048  # sectors; before it, behind the MBR, lies GRUB
_ROOT = _ESP + disk.SIZE // disk.SECTOR
_ROOT_SIZE = 64 << 20
_SCRIPTS = (disk.SOURCES / "initramfs.sh", disk.SOURCES / "counter.sh")


def obstacles() -> list[str]:
    """Why no such disk can be made here; empty when it can."""
    return [] if (PACKAGES / "list").exists() else ["what Linux is made of was not fetched: run .ci/setup, with a network"]


def prepare(cache: Path = CACHE) -> Path:
    """The disk, made once for these sources and packages."""
    packages = sorted(PACKAGES.glob("*.deb"))
    sources = b"".join(path.read_bytes() for path in (Path(__file__), Path(disk.__file__), *_SCRIPTS))
    names = "".join(package.name for package in packages).encode()
    place = cache / f"linux-{hashlib.sha256(sources + names).hexdigest()[:16]}.qcow2"
    if not place.exists():
        made = place.with_suffix(f".{os.getpid()}")
        build(made, packages)
        made.rename(place)  # whole or not at all: another run may be doing the same
    return place


def build(path: Path, packages: Iterable[Path]) -> None:
    """Write the disk to ``path``."""
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        for package in packages:
            _run("dpkg-deb", "--extract", package, scratch / "debian")
        _root(scratch)
        raw = scratch / "disk.raw"
        bios = _loader(scratch, "i386-pc", "biosdisk", bits="16")  # 3 s less for an emulated processor than by 32 bits
        _assemble(raw, bios, _loader(scratch, "x86_64-efi"), scratch / "root.ext4")
        _run("qemu-img", "convert", "-O", "qcow2", raw, path)


def _run(*command: str | Path, **settings: str) -> str:
    done = subprocess.run(command, check=True, env=environment(**settings), stdout=subprocess.PIPE, text=True)
    return done.stdout


def _loader(scratch: Path, platform: str, *modules: str, bits: str = "") -> bytes:
    """GRUB's core with its whole configuration inside; ``bits``: by which of the kernel's doors it goes in."""
    debian, script, core = scratch / "debian", scratch / "grub.cfg", scratch / f"{platform}.img"
    script.write_text(_GRUB % (bits, bits))
    _run(
        *(debian / "usr/bin/grub-mkimage", "-O", platform, "-d", debian / "usr/lib/grub" / platform),
        *("-c", script, "-p", "/boot/grub", "-o", core),
        *("part_msdos", "ext2", "search_label", f"linux{bits}", *modules),
    )
    first = debian / f"usr/lib/grub/{platform}/boot.img"
    return (first.read_bytes().ljust(disk.SECTOR, b"\0") if first.exists() else b"") + core.read_bytes()


def _root(scratch: Path) -> None:
    """The ext4 root: kernel and initramfs, a shell, and the program that counts."""
    root, debian = scratch / "root", scratch / "debian"
    for name in ("boot", "bin", "sbin", "dev", "proc", "sys", "var"):
        (root / name).mkdir(parents=True)
    [kernel] = (debian / "boot").glob("vmlinuz-*")
    shutil.copy(kernel, root / "boot/vmlinuz")
    (root / "boot/initrd").write_bytes(_initramfs(scratch, kernel.name.partition("-")[2]))
    shutil.copy(debian / "bin/busybox", root / "bin/busybox")
    shutil.copy(_SCRIPTS[1], root / "sbin/init")
    (root / "sbin/init").chmod(0o755)
    options = f"hash_seed={'0' * 8}-0000-4000-8000-{'0' * 12},root_owner=0:0"
    _run(
        *(
            "mke2fs",
            "-q",
            "-t",
            "ext4",
            "-b",
            "4096",
            "-L",
            LABEL,
            "-U",
            "6c696e75-7800-4000-8000-67676e657400",
            "-E",
            options,
        ),
        *("-d", root, scratch / "root.ext4", f"{_ROOT_SIZE >> 10}k"),
        E2FSPROGS_FAKE_TIME="1",
    )


def _initramfs(scratch: Path, release: str) -> bytes:
    debian, tree = scratch / "debian", scratch / "initramfs"
    for name in ("bin", "dev", "etc/iscsi", "lib", "lib64", "modules", "proc", "root", "run/lock", "sys"):
        (tree / name).mkdir(parents=True)
    shutil.copy(debian / "bin/busybox", tree / "bin/busybox")
    shutil.copy(_SCRIPTS[0], tree / "init")
    (tree / "init").chmod(0o755)
    for number, module in enumerate(_modules(debian, release)):
        shutil.copy(module, tree / f"modules/{number:02}-{module.name}")
    program = debian / "sbin/iscsistart"
    shutil.copy(program, tree / "bin")
    for library in _libraries(program, debian / "usr/lib/x86_64-linux-gnu"):
        shutil.copy(library, tree / ("lib64" if library.name.startswith("ld-") else "lib"))
    return gzip.compress(b"".join(_cpio(tree)), mtime=0)


def _modules(debian: Path, release: str) -> list[Path]:
    """The kernel modules that are needed, each after those that it needs itself."""
    _run("depmod", "-b", debian, release)
    shown = _run("modprobe", "-d", debian, "-S", release, "--show-depends", "--all", *MODULES)
    return list(dict.fromkeys(Path(line.split()[1]) for line in shown.splitlines() if line.startswith("insmod ")))


def _libraries(program: Path, beside: Path) -> list[Path]:
    return [Path(found) for found in re.findall(r"(/\S+) \(", _run("ldd", program, LD_LIBRARY_PATH=str(beside)))]


def _cpio(tree: Path) -> Iterator[bytes]:
    """The archive that the kernel unpacks (its documentation: driver-api/early-userspace/buffer-format)."""
    for number, path in enumerate(sorted(tree.rglob("*"))):
        yield _member(str(path.relative_to(tree)), path.stat().st_mode, number, b"" if path.is_dir() else path.read_bytes())
    yield _member("TRAILER!!!", 0, 0, b"")


def _member(name: str, mode: int, number: int, data: bytes) -> bytes:
    fields = (number, mode, 0, 0, 1, 1, len(data), 0, 0, 0, 0, len(name) + 1, 0)
    head = b"070701" + b"".join(b"%08x" % field for field in fields) + name.encode() + b"\0"
    return head + bytes(-len(head) % 4) + data + bytes(-len(data) % 4)


def _assemble(raw: Path, bios: bytes, uefi: bytes, root: Path) -> None:
    """MBR and GRUB for BIOS, the partition that UEFI starts GRUB from, the root."""
    with raw.open("wb") as image:
        image.truncate(_ROOT * disk.SECTOR + _ROOT_SIZE)
        image.write(bios)
        image.seek(440)
        image.write(struct.pack("<IH", 0x67676E74, 0))
        image.write(_entry(0x00, 0xEF, _ESP, _ROOT - _ESP) + _entry(0x80, 0x83, _ROOT, _ROOT_SIZE // disk.SECTOR))
        image.write(bytes(32) + b"\x55\xaa")
        for sector, data in disk.filesystem(uefi, _ESP):
            image.seek((_ESP + sector) * disk.SECTOR)
            image.write(data)
    _run("dd", f"if={root}", f"of={raw}", f"seek={_ROOT}", "conv=notrunc,sparse", "status=none")


def _entry(active: int, kind: int, start: int, sectors: int) -> bytes:
    return struct.pack("<B3sB3sII", active, b"\xfe\xff\xff", kind, b"\xfe\xff\xff", start, sectors)
