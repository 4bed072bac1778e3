"""Is this host able to serve? Each check looks at one thing that a boot needs and says what to do when it is missing."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from controller.adapters import confine, dhcp_probe, doctor_chap, doctor_uploads, listeners, pool_driver
from controller.adapters.chap import SecretFiles
from controller.adapters.command import CommandMissing
from controller.adapters.confine import Limits, OverTime, Unconfined
from controller.adapters.finding import Finding
from controller.adapters.images import qemu
from controller.adapters.workers import Job
from controller.core import space
from controller.settings import Settings

_TOOLS = {
    "dhcpd": "apt install isc-dhcp-server",
    "in.tftpd": "apt install tftpd-hpa",
    "git": "apt install git",
}
_LAYERS = {
    "user": "user: CAP_SETUID and CAP_SETGID, as the unit has them",
    "network": "network: as root outside the unit, or a kernel that lets users make namespaces",
    "landlock": "landlock: a kernel with it, and lsm=landlock,... at boot",
    "system-calls": "system-calls: let it call seccomp, as the unit does",
    "opened-files": "opened-files: let it call seccomp, as the unit does; Linux 5.14",
}
_PROGRAMS = ("undionly.kpxe", "ipxe.efi")
_PROBE_SECONDS = 1.5
_RESTORERS = ("target.service", "rtslib-fb-targetctl.service")


def examine(settings: Settings) -> list[Finding]:
    """All findings, in the order in which a boot needs the things; reads only, but for a trial in the pool that leaves
    nothing."""
    return [
        *_tools(),
        *_conversion(),
        *_kernel(settings.configfs),
        *_pool(settings),
        *doctor_uploads.examine(settings),
        *_tftp(settings),
        *_secrets(settings),
        *_dhcp(settings),
        *_ports(settings.configfs),
        *doctor_chap.examine(settings),
        *_foreign_dhcp(),
    ]


def _tools() -> Iterator[Finding]:
    for tool, remedy in _TOOLS.items():
        path = shutil.which(tool)
        yield Finding(f"tool {tool}", "ok", path) if path else Finding(f"tool {tool}", "error", "not found", remedy)


def _conversion() -> Iterator[Finding]:
    """By doing it: what holds a program that is confined is known when one was."""
    try:
        ran = confine.run([qemu.PROGRAM, "--version"], {}, limits=Limits(seconds=20))
    except CommandMissing:
        yield Finding("tool qemu-img", "warning", "not found", "apt install qemu-utils (needed only to convert images)")
        return
    except (Unconfined, OverTime) as problem:
        yield Finding("image confinement", "error", str(problem), "other formats than raw are refused until it can be had")
        return
    yield Finding("tool qemu-img", "ok", ran.result.text.partition("\n")[0])
    wanted = [layer for layer in confine.LAYERS if layer != "user" or os.geteuid() == 0]
    missing = [layer for layer in wanted if layer not in ran.layers]
    held = ", ".join(ran.layers)
    if missing:
        remedy = "; ".join(_LAYERS.get(layer, f"{layer}: a newer kernel") for layer in missing)
        yield Finding("image confinement", "warning", f"{held}; not to be had here: {', '.join(missing)}", remedy)
    else:
        yield Finding("image confinement", "ok", held)


def _kernel(configfs: Path) -> Iterator[Finding]:
    target = configfs / "target"
    if not target.is_dir():
        remedy = "mount -t configfs none /sys/kernel/config; modprobe iscsi_target_mod target_core_file"
        yield Finding("kernel target", "error", f"{target} is not there", remedy)
        return
    iscsi = target / "iscsi"
    if not iscsi.is_dir():
        yield Finding("iSCSI fabric", "error", f"{iscsi} is not there", "modprobe iscsi_target_mod")
    elif not os.access(iscsi, os.W_OK):
        yield Finding("iSCSI fabric", "error", f"{iscsi} may not be written", "run the controller as root or by its unit")
    else:
        yield Finding("iSCSI fabric", "ok", str(iscsi))
    crc = Path("/proc/crypto").read_text(errors="replace")
    if "crc32c" in crc:
        yield Finding("crc32c", "ok", "loaded")
    else:
        yield Finding("crc32c", "error", "every login would fail", "modprobe crc32c_generic")
    for unit in _RESTORERS:
        if any((Path(folder) / unit).exists() for folder in ("/etc/systemd/system/multi-user.target.wants",)):
            yield Finding(unit, "warning", "restores and clears the kernel's targets on its own", f"systemctl mask {unit}")


def _pool(settings: Settings) -> Iterator[Finding]:
    for what, folder in (("pool", settings.pool), ("import folder", settings.imports)):
        if not folder.is_dir():
            yield Finding(what, "error" if what == "pool" else "warning", f"{folder} is not there", f"mkdir -p {folder}")
        else:
            yield Finding(what, "ok", str(folder))
    if settings.pool.is_dir():
        yield _driver(settings)
        usage = shutil.disk_usage(settings.pool)
        used = 100 * (usage.total - usage.free) // usage.total
        level: Literal["ok", "warning", "error"] = "error" if used > 85 else "warning" if used >= space.NEARLY_FULL else "ok"
        yield Finding(
            "pool space",
            level,
            f"{used} % used, {usage.free >> 30} GiB free",
            "" if level == "ok" else "add space or delete overlays",
        )


def _driver(settings: Settings) -> Finding:
    """How private disks are made here, and why so."""
    try:
        chosen = pool_driver.choose(settings.pool, settings.pool_driver, Job())
    except OSError as error:
        return Finding("pool driver", "warning", f"not tried: {error.strerror}", "run the doctor as root")
    told = f"{chosen.driver}: {chosen.why}"
    if not chosen.usable:
        return Finding("pool driver", "error", told, "set GGNET_POOL_DRIVER to auto, or make that work")
    if chosen.driver == "copy" and settings.pool_driver == pool_driver.AUTO:
        remedy = "modprobe -a loop dm_mod dm_snapshot, or a pool on XFS with reflink: each disk is a full copy now"
        return Finding("pool driver", "warning", told, remedy)
    block = Path("/sys/module/target_core_iblock")
    if chosen.driver == "snapshot" and not block.exists():
        return Finding("pool driver", "warning", f"{told}; {block} is not there", "modprobe target_core_iblock")
    return Finding("pool driver", "ok", told)


def _tftp(settings: Settings) -> Iterator[Finding]:
    root = settings.tftp_root
    if not root.is_dir():
        yield Finding("TFTP root", "error", f"{root} is not there", f"mkdir -p {root}, and serve it with in.tftpd --secure")
    elif not os.access(root, os.W_OK):
        yield Finding("TFTP root", "error", f"{root} may not be written", "run the controller as root or by its unit")
    else:
        yield Finding("TFTP root", "ok", str(root))
    for program in _PROGRAMS:
        path = settings.nbp_dir / program
        yield (
            Finding(program, "ok", str(path))
            if path.is_file()
            else Finding(program, "error", f"{path} is not there", "apt install ipxe")
        )


def _secrets(settings: Settings) -> Iterator[Finding]:
    """Each file of the folder, if there is one; what systemd gives the controller's unit is not here to be seen."""
    folder = settings.secrets_dir
    try:
        names = sorted(path.name for path in folder.iterdir()) if folder.exists() else []
    except OSError as error:
        yield Finding("secrets", "warning", f"{folder}: {error.strerror}", "run the doctor as root")
        return
    kept = SecretFiles(b"", folder)
    problems = {name: kept.problem(name) for name in names}
    for name, problem in problems.items():
        if problem:
            yield Finding(f"secret {ascii(name)[1:-1]}", "error", problem, "see docs/chap.md")
    if not any(problems.values()):
        yield Finding("secrets", "ok", f"{len(names)} in {folder}")


def _dhcp(settings: Settings) -> Iterator[Finding]:
    try:
        text = settings.dhcpd_conf.read_text(errors="replace")
    except OSError as error:
        yield Finding(
            "dhcpd.conf",
            "error",
            f"{settings.dhcpd_conf}: {error.strerror}",
            "apt install isc-dhcp-server, or set GGNET_DHCPD_CONF",
        )
        return
    line = f'include "{settings.dhcpd_include}";'
    included = any(row.split("#")[0].strip() == line for row in text.splitlines())
    yield (
        Finding("dhcpd include", "ok", line)
        if included
        else Finding(
            "dhcpd include", "error", f"{settings.dhcpd_conf} does not include our file", f"add this line to it: {line}"
        )
    )


def _ports(configfs: Path) -> Iterator[Finding]:
    dhcp = listeners.packet_listeners() | listeners.holders(67, "udp")
    yield _served("port 67/udp", dhcp, ("dhcpd",), "start dhcpd")
    yield _served("port 69/udp", listeners.holders(69, "udp"), ("in.tftpd", "xinetd", "systemd"), "start tftpd-hpa")
    holders = listeners.holders(3260, "tcp")
    if holders - {listeners.KERNEL}:
        names = ", ".join(sorted(holders))
        yield Finding("port 3260/tcp", "error", f"{names} has it; the kernel's target cannot", f"stop {names}")
    else:
        portals = any((configfs / "target/iscsi").glob("iqn.*/tpgt_1/np/*:3260"))
        yield Finding("port 3260/tcp", "ok", "the kernel's target serves" if portals else "free")


def _served(subject: str, holders: frozenset[str], known: tuple[str, ...], remedy: str) -> Finding:
    strange = sorted(holders - {*known})
    if holders & {*known}:
        return Finding(subject, "ok", f"served by {', '.join(sorted(holders & {*known}))}")
    if strange:
        return Finding(subject, "warning", f"held by {', '.join(strange)}, not by {known[0]}", f"stop it, and {remedy}")
    return Finding(subject, "warning", "nobody listens", remedy)


def _foreign_dhcp() -> Iterator[Finding]:
    ours = dhcp_probe.interfaces()
    for name, address in ours.items():
        try:
            others = dhcp_probe.offers(name, _PROBE_SECONDS) - set(ours.values())
        except dhcp_probe.ProbeError as error:
            yield Finding(
                "other DHCP servers", "warning", f"not asked: {error}", "run the doctor as root, with no DHCP client running"
            )
            continue
        if others:
            remedy = "stop it, or set the network's dhcp to external"
            yield Finding(
                "other DHCP servers", "error", f"{', '.join(sorted(others))} answers on {name} ({address}) too", remedy
            )
        else:
            yield Finding("other DHCP servers", "ok", f"none on {name} ({address})")
