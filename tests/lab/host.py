"""What the lab takes from this machine: whether it is all there, and what is made of it once and kept in ``.lab``."""

import compileall
import hashlib
import os
import platform
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.lab import disk

HERE = Path(__file__).parent
CACHE = HERE.parents[1] / ".lab"
_MODULES = Path("/usr/lib/uml/modules")
_PROGRAMS = {
    "linux.uml": "user-mode-linux",
    "qemu-system-x86_64": "qemu-system-x86",
    "ip": "iproute2",
    "depmod": "kmod",
    "gcc": "gcc",
    "objcopy": "binutils",
    "setpriv": "util-linux",
    "dbus-daemon": "dbus",
    "targetcli": "targetcli-fb",
    "dhcpd": "isc-dhcp-server",
    "in.tftpd": "tftpd-hpa",
    "mkfs.xfs": "xfsprogs",
    "mkfs.ext4": "e2fsprogs",
    "dmsetup": "dmsetup",
    "git": "git",
}
_FILES = {
    "/usr/share/ovmf/OVMF.fd": "ovmf",
    "/usr/lib/ipxe/ipxe.efi": "ipxe",
    "/usr/lib/ipxe/qemu/efi-e1000.rom": "ipxe-qemu",
}
_PATH = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"


def obstacles() -> list[str]:
    """Why the lab cannot run on this machine; empty when it can."""
    found = []
    if platform.machine() != "x86_64" or platform.system() != "Linux":
        found.append(f"it needs x86-64 Linux, this is {platform.machine()} {platform.system()}")
    if os.geteuid() != 0:
        found.append("it needs root, for network namespaces and the boot server's kernel")
    elif not Path("/dev/net/tun").exists():
        found.append("/dev/net/tun is missing (modprobe tun)")
    missing = {package for program, package in _PROGRAMS.items() if not shutil.which(program, path=_PATH)}
    missing |= {package for file, package in _FILES.items() if not Path(file).exists()}
    if missing:
        found.append(f"packages are missing: apt-get install --no-install-recommends {' '.join(sorted(missing))}")
    return found


@dataclass(frozen=True, slots=True)
class Prepared:
    """``modules`` is a base for modprobe -d; ``preload`` goes before the kernel; the disks are templates, to be copied."""

    modules: Path
    preload: Path
    boot_disk: Path
    local_disk: Path


def prepare(cache: Path = CACHE) -> Prepared:
    """Everything that does not change from run to run, made once for these sources and this kernel package."""
    [release] = [folder.name for folder in _MODULES.iterdir()]
    sources = [*sorted((HERE / "boot").iterdir()), HERE / "disk.py"]
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()[:16]
    place = cache / f"{release}-{digest}"
    made = Prepared(place, place / "xstate.so", place / "boot.raw", place / "local.raw")
    for room in ("api", "controller", "manifests", "migrations"):
        compileall.compile_dir(HERE.parents[1] / room, quiet=2)  # ten times faster here than in the guest
    if place.exists():
        return made
    scratch = cache / f"{place.name}.{os.getpid()}"
    modules = scratch / "lib/modules" / release
    shutil.copytree(_MODULES / release, modules)
    subprocess.run(["depmod", "-b", scratch, release], check=True, env={"PATH": _PATH})
    subprocess.run(["gcc", "-O2", "-fPIC", "-shared", "-o", scratch / "xstate.so", HERE / "boot/xstate.c"], check=True)
    disk.build(scratch / "boot.raw")
    disk.build(scratch / "local.raw", marker="LOCAL-DISK")
    try:
        scratch.rename(place)  # whole or not at all: another run may be doing the same
    except OSError:
        shutil.rmtree(scratch)
    return made


def scratch_memory(size: int) -> Path:
    """A folder for the guest's memory: large enough, and allowed to hold code (a container's /dev/shm is neither)."""
    for folder in (Path("/dev/shm"), Path("/tmp"), Path("/var/tmp")):
        if folder.is_dir():
            found = os.statvfs(folder)
            if found.f_bavail * found.f_frsize > size and not found.f_flag & os.ST_NOEXEC:
                return folder
    raise OSError(f"no folder for {size >> 20} MB of memory among /dev/shm, /tmp and /var/tmp")
