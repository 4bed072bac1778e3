"""The kernel's target in memory: the answers of configfs as a 6.1 kernel gave them, no more.

``hook(when, call, path)`` is called with ``before`` and ``after`` every operation, so that a test may raise or block
there. ``calls`` counts operations, ``writes`` those that change something.
"""

import errno
import os
import re
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

_FABRIC = re.compile(r"iscsi")
_HBA = re.compile(r"core/(fileio|iblock|rd_mcp|pscsi|user)_\d+")
_DEVICE = re.compile(r"core/\w+_\d+/[^/]+")
_TARGET = re.compile(r"iscsi/[^/]+")
_TPG = re.compile(r"iscsi/[^/]+/tpgt_\d+")
_LUN = re.compile(r"iscsi/[^/]+/tpgt_\d+/lun/lun_\d+")
_ACL = re.compile(r"iscsi/[^/]+/tpgt_\d+/acls/[^/]+")
_MAPPED = re.compile(r"iscsi/[^/]+/tpgt_\d+/acls/[^/]+/lun_\d+")
_PORTAL = re.compile(r"iscsi/[^/]+/tpgt_\d+/np/[^/]+")
_ATTRIB = re.compile(r".*/attrib/[^/]+")

_FILES: tuple[tuple[re.Pattern[str], Mapping[str, str]], ...] = (
    (_FABRIC, {"lio_version": "v4.1.0", "cpus_allowed_list": "", "discovery_auth/enforce_discovery_auth": "0"}),
    (_HBA, {"hba_info": "HBA Index: 1 plugin: fileio version: v5.0", "hba_mode": "0"}),
    (
        _DEVICE,
        {
            "alias": "",
            "udev_path": "",
            "control": "",
            "enable": "0",
            "info": "",
            "wwn/vpd_unit_serial": "",
            "attrib/block_size": "512",
            "attrib/emulate_3pc": "1",
            "attrib/emulate_write_cache": "0",
            "attrib/emulate_tpu": "0",
            "alua/default_tg_pt_gp/members": "",
        },
    ),
    (_TARGET, {"fabric_statistics/none": ""}),
    (
        _TPG,
        {
            "attrib/authentication": "1",
            "attrib/cache_dynamic_acls": "0",
            "attrib/demo_mode_discovery": "1",
            "attrib/demo_mode_write_protect": "1",
            "attrib/generate_node_acls": "0",
            "attrib/prod_mode_write_protect": "0",
            "dynamic_sessions": "",
            "enable": "0",
        },
    ),
    (_LUN, {"alua_tg_pt_gp": "", "alua_tg_pt_offline": "0", "statistics/none": ""}),
    (_MAPPED, {"write_protect": "", "statistics/none": ""}),
    (
        _ACL,
        {
            "attrib/authentication": "-1",
            "attrib/nopin_timeout": "15",
            "attrib/nopin_response_timeout": "30",
            "auth/userid": "",
            "auth/password": "",
            "auth/userid_mutual": "",
            "auth/password_mutual": "",
            "info": "",
            "tag": "",
        },
    ),
    (_PORTAL, {"iser": "0", "cxgbit": "0"}),
)
_READ_ONLY = ("/info", "/hba_info", "/members", "/dynamic_sessions")


def _blank(path: str) -> None:
    """What the kernel does where a device's file is missing."""
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600))


class FakeConfigFs:
    def __init__(
        self, create_file: Callable[[str], None] = _blank, is_device: Callable[[str], bool] = os.path.exists
    ) -> None:
        self.calls = 0
        self.writes = 0
        self.hook: Callable[[str, str, str], None] = lambda when, call, path: None
        self.absent: str | None = None
        self._create_file, self._is_device = create_file, is_device
        self._one_at_a_time = threading.Lock()
        self.clear()

    def clear(self) -> None:
        """The boot server restarts: the kernel remembers nothing."""
        self._tree: dict[str, set[str]] = {"": set()}  # folder -> names in it
        self._made: set[str] = set()
        self._files: dict[str, str] = {}
        self._links: dict[str, str] = {}
        self._led: dict[str, set[str]] = {}  # folder -> the links that lead to it
        self._portals: Counter[str] = Counter()
        self._mappings: dict[str, str] = {}  # a mapped LUN's folder -> its write_protect, while the kernel has the mapping
        self._configured: dict[str, dict[str, str]] = {}
        self._sessions: dict[str, str] = {}  # an ACL's folder -> the text of its info
        self._broken: set[str] = set()
        self._add_folder("core/alua")
        self._add_file("version", "")
        self._mkdir("iscsi")

    def opens(self, path: str) -> bool:
        """Whether a device that is enabled stands on this file or block device."""
        return any(self._path(device) == path and self._files[f"{device}/enable"] == "1" for device in self._configured)

    # --- what tests do to it --------------------------------------------------------------------------------

    def login(self, acl: str, address: str = "10.77.0.57", state: str = "LOGGED_IN") -> None:
        """The ACL's initiator is logged in from an address."""
        self._sessions[acl] = (
            f"InitiatorName: {acl.rpartition('/')[2]}\nInitiatorAlias: \nLIO Session ID: 1   SessionType: Normal\n"
            f"Session State: TARG_SESS_STATE_{state}\nCID: 0  Connection State: TARG_CONN_STATE_LOGGED_IN\n"
            f"   Address {address} TCP  StatSN: 0x8d73d5bc\n"
        )

    def logout(self, acl: str) -> None:
        self._sessions.pop(acl, None)

    def login_without_acl(self, tpg: str, initiator: str) -> None:
        self._files[f"{tpg}/dynamic_sessions"] = f"{initiator}\n\0"

    def fail_reading(self, path: str) -> None:
        """EIO from now on."""
        self._broken.add(path)

    def live(self) -> frozenset[str]:
        """The ACLs whose initiators are logged in."""
        return frozenset(self._sessions)

    def disk(self, acl: str, portal: str | None = None, lun: int = 0) -> tuple[str, bool] | None:
        """What an initiator gets, if it asks at this portal: the file behind its LUN, and whether it may write.

        Told from the kernel's own tables, not from what a reader of configfs makes of them.
        """
        tpg = acl.rpartition("/acls/")[0]
        led = next((to for link, to in self._links.items() if link.startswith(f"{tpg}/lun/lun_{lun}/")), None)
        mapped = any(
            to == f"{tpg}/lun/lun_{lun}" for link, to in self._links.items() if link.startswith(f"{acl}/lun_{lun}/")
        )
        if led is None or not mapped or f"{acl}/lun_{lun}" not in self._mappings:
            return None
        if portal is not None and f"{tpg}/np/{portal}" not in self._tree:
            return None
        if self._files[f"{tpg}/enable"] != "1" or self._files[f"{led}/enable"] != "1":
            return None
        return self._path(led), self._mappings[f"{acl}/lun_{lun}"] == "0"

    def disks(self, acl: str) -> dict[int, tuple[str, bool]]:
        """By LUN."""
        numbers = (int(folder.rpartition("_")[2]) for folder in self._mappings if folder.startswith(f"{acl}/lun_"))
        return {number: disk for number in sorted(numbers) if (disk := self.disk(acl, lun=number))}

    def below(self, folder: str) -> dict[str, str]:
        """Everything in a folder: path -> a file's content, a link's goal, or nothing."""
        return {path: self._links.get(path, self._files.get(path, "")) for path in sorted(self._below(folder))}

    # --- the door -------------------------------------------------------------------------------------------

    def mkdir(self, path: str) -> None:
        self._do("mkdir", path, lambda: self._mkdir(path))

    def rmdir(self, path: str) -> None:
        self._do("rmdir", path, lambda: self._rmdir(path))

    def symlink(self, source: str, path: str) -> None:
        self._do("symlink", path, lambda: self._symlink(source, path))

    def unlink(self, path: str) -> None:
        self._do("unlink", path, lambda: self._unlink(path))

    def write(self, path: str, value: str) -> None:
        self._do("write", path, lambda: self._write(path, value))

    def readlink(self, path: str) -> str:
        return self._see("readlink", path, lambda: self._readlink(path))

    def read(self, path: str) -> str:
        return self._see("read", path, lambda: self._read(path))

    def listdir(self, path: str) -> tuple[str, ...]:
        return self._see("list", path, lambda: self._listdir(path))

    def exists(self, path: str) -> bool:
        return self._see("stat", path, lambda: self._is(path))

    def problem(self) -> str | None:
        return self.absent

    def _do(self, call: str, path: str, effect: Callable[[], None]) -> None:
        self.calls += 1
        if self.absent:
            raise _answer(errno.ENOENT, path)
        self.hook("before", call, path)
        with self._one_at_a_time:
            effect()
            self.writes += 1
        self.hook("after", call, path)

    def _see(self, call: str, path: str, look: Callable[[], T]) -> T:
        self.calls += 1
        self.hook("before", call, path)
        if self.absent:
            raise _answer(errno.ENOENT, path)
        if path in self._broken:
            raise _answer(errno.EIO, path)
        with self._one_at_a_time:
            seen = look()
        self.hook("after", call, path)
        return seen

    # --- what it answers ------------------------------------------------------------------------------------

    def _is(self, path: str) -> bool:
        return path in self._tree or path in self._files or path in self._links

    def _add_folder(self, path: str) -> None:
        if path not in self._tree:
            parent, _, name = path.rpartition("/")
            self._add_folder(parent)
            self._tree[parent].add(name)
            self._tree[path] = set()

    def _add_file(self, path: str, value: str) -> None:
        parent, _, name = path.rpartition("/")
        self._add_folder(parent)
        self._tree[parent].add(name)
        self._files[path] = value

    def _below(self, folder: str) -> Iterator[str]:
        for name in self._tree.get(folder, ()):
            node = f"{folder}/{name}"
            yield node
            yield from self._below(node)

    def _mkdir(self, path: str) -> None:
        parent, _, name = path.rpartition("/")
        if self._is(path):
            raise _answer(errno.EEXIST, path)
        if parent not in self._tree:
            raise _answer(errno.ENOENT, path)
        shapes = (_FABRIC, _HBA, _DEVICE, _TARGET, _TPG, _LUN, _ACL, _MAPPED, _PORTAL)
        if not any(shape.fullmatch(path) for shape in shapes) or (_PORTAL.fullmatch(path) and not self._bindable(name)):
            raise _answer(errno.EINVAL, path)
        self._made.add(path)
        self._add_folder(path)
        if _PORTAL.fullmatch(path):
            self._portals[name] += 1
        for shape, files in _FILES:
            if shape.fullmatch(path):
                for file, value in files.items():
                    self._add_file(f"{path}/{file}", value)
        for group in ("acls", "lun", "np", "param", "auth") if _TPG.fullmatch(path) else ():
            self._add_folder(f"{path}/{group}")

    def _bindable(self, portal: str) -> bool:
        address, colon, port = portal.rpartition(":")
        same = {other for other in self._portals if other.endswith(f":{port}") and other != portal}
        return bool(colon) and not any("0.0.0.0" in (address, other.rpartition(":")[0]) for other in same)

    def _rmdir(self, path: str) -> None:
        if path not in self._tree:
            raise _answer(errno.ENOTDIR if self._is(path) else errno.ENOENT, path)
        if path not in self._made:
            raise _answer(errno.EPERM, path)
        below = list(self._below(path))
        if any(node in self._made or node in self._links for node in below):
            raise _answer(errno.ENOTEMPTY, path)
        if self._led.get(path):
            raise _answer(errno.EBUSY, path)
        parent, _, name = path.rpartition("/")
        self._tree[parent].discard(name)
        self._made.discard(path)
        for node in (path, *below):
            self._tree.pop(node, None)
            self._files.pop(node, None)
        self._configured.pop(path, None)
        self._mappings.pop(path, None)
        self._sessions.pop(path, None)
        if _PORTAL.fullmatch(path):
            self._portals -= Counter([name])

    def _symlink(self, source: str, path: str) -> None:
        parent = path.rpartition("/")[0]
        if parent not in self._tree or not self._is(source):
            raise _answer(errno.ENOENT, path)
        if self._is(path):
            raise _answer(errno.EEXIST, path)
        if _LUN.fullmatch(parent):
            self._export(source, parent, path)
        elif _MAPPED.fullmatch(parent):
            self._map(source, parent, path)
        else:
            raise _answer(errno.EPERM, path)
        self._links[path] = source
        self._led.setdefault(source, set()).add(path)
        self._tree[parent].add(path.rpartition("/")[2])

    def _export(self, device: str, lun: str, path: str) -> None:
        if not _DEVICE.fullmatch(device):
            raise _answer(errno.EFAULT, path)
        if self._files[f"{device}/enable"] != "1":
            raise _answer(errno.ENODEV, path)
        if self._linked(lun):
            raise _answer(errno.EEXIST, path)

    def _map(self, lun: str, mapped: str, path: str) -> None:
        tpg = mapped.rpartition("/acls/")[0]
        if not _LUN.fullmatch(lun) or not lun.startswith(f"{tpg}/"):
            raise _answer(errno.EFAULT, path)
        if mapped in self._mappings or not self._linked(lun):
            raise _answer(errno.EINVAL, path)
        self._mappings[mapped] = self._files[f"{tpg}/attrib/prod_mode_write_protect"]

    def _linked(self, folder: str) -> bool:
        return any(f"{folder}/{name}" in self._links for name in self._tree[folder])

    def _unlink(self, path: str) -> None:
        if path not in self._links:
            raise _answer(errno.EPERM if self._is(path) else errno.ENOENT, path)
        parent, _, name = path.rpartition("/")
        self._led[self._links.pop(path)].discard(path)
        self._tree[parent].discard(name)
        self._mappings.pop(parent, None)
        for link in self._led.get(parent, ()):  # the TPG's LUN has gone: mappings die, their links stay
            self._mappings.pop(link.rpartition("/")[0], None)

    def _readlink(self, path: str) -> str:
        if not self._is(path):
            raise _answer(errno.ENOENT, path)
        if path not in self._links:
            raise _answer(errno.EINVAL, path)
        return self._links[path]

    def _listdir(self, path: str) -> tuple[str, ...]:
        if path not in self._tree:
            raise _answer(errno.ENOTDIR if self._is(path) else errno.ENOENT, path)
        return tuple(sorted(self._tree[path]))

    def _read(self, path: str) -> str:
        folder, _, name = path.rpartition("/")
        if path not in self._files:
            raise _answer(errno.EISDIR if path in self._tree else errno.ENOENT, path)
        if name == "control":
            raise _answer(errno.EACCES, path)
        if name == "vpd_unit_serial":
            return f"T10 VPD Unit Serial Number: {self._files[path]}".rstrip("\n")
        if name == "write_protect":
            return self._mappings.get(folder, "")
        if name == "info" and _DEVICE.fullmatch(folder):
            return self._device_info(folder)
        if name == "info":
            return self._sessions.get(folder, f"No active iSCSI Session for Initiator Endpoint: {folder.rpartition('/')[2]}")
        if name == "members":
            device = folder.removesuffix("/alua/default_tg_pt_gp")
            return "\n".join(sorted(f"iSCSI/{link.rpartition('/')[0][6:]}" for link in self._led.get(device, ())))
        return self._files[path].rstrip("\n\0")

    def _device_info(self, device: str) -> str:
        found = self._configured.get(device, {})
        if device.startswith("core/iblock_"):
            path = f"  UDEV PATH: {found['udev_path']}" if "udev_path" in found else ""
            claimed = (
                "Major: 254 Minor: 0  CLAIMED: IBLOCK" if self._files[f"{device}/enable"] == "1" else "Major: 0 Minor: 0"
            )
            return (
                f"Status: ACTIVATED  Max Queue Depth: 128\n        iBlock device: dm-0{path}  readonly: 0\n        {claimed}"
            )
        mode = "Buffered-WCE" if found.get("fd_buffered_io") else "O_DSYNC"
        return (
            "Status: DEACTIVATED  Max Queue Depth: 0  SectorSize: 512  HwMaxSectors: 16384\n"
            f"        TCM FILEIO ID: 0        File: {found.get('fd_dev_name', '')}  Size: {found.get('fd_dev_size', '0')}"
            f"  Mode: {mode} Async: 0"
        )

    def _write(self, path: str, value: str) -> None:
        folder, _, name = path.rpartition("/")
        if path not in self._files:
            raise _answer(errno.EISDIR if path in self._tree else errno.ENOENT, path)
        if path.endswith(_READ_ONLY):
            raise _answer(errno.EACCES, path)
        if name == "control":
            self._control(folder, path, value)
        elif name == "enable":
            self._enable(folder, path, value)
        elif name == "vpd_unit_serial":
            if self._led.get(folder.removesuffix("/wwn")):
                raise _answer(errno.EINVAL, path)
            self._files[path] = value
        elif name == "write_protect":
            if folder in self._mappings:
                self._mappings[folder] = value
        elif _ATTRIB.fullmatch(path):
            inherited = value == "-1" and path.endswith("/attrib/authentication") and _ACL.match(path)
            if not (value.isdecimal() or inherited) or (name == "nopin_timeout" and int(value) > 60):
                raise _answer(errno.EINVAL, path)
            self._files[path] = value
        else:
            self._files[path] = value

    def _control(self, device: str, path: str, value: str) -> None:
        found = self._configured.setdefault(device, {})
        for pair in value.split(","):
            key, _, word = pair.partition("=")
            if key == "fd_buffered_io" and word != "1":
                raise _answer(errno.EINVAL, path)
            known = ("udev_path",) if device.startswith("core/iblock_") else ("fd_dev_name", "fd_dev_size", "fd_buffered_io")
            if key in known:
                found[key] = word[:255]

    def _path(self, device: str) -> str:
        found = self._configured.get(device, {})
        return found.get("udev_path") or found.get("fd_dev_name", "")

    def _enable(self, folder: str, path: str, value: str) -> None:
        if _TPG.fullmatch(folder):
            if value not in ("0", "1"):
                raise _answer(errno.EINVAL, path)
            if value == "0":
                self._sessions = {acl: text for acl, text in self._sessions.items() if not acl.startswith(f"{folder}/")}
                self._files[f"{folder}/dynamic_sessions"] = ""
        else:
            found = self._configured.get(folder, {})
            sized = int(found.get("fd_dev_size", "0")) or "udev_path" in found
            if value != "1" or not sized or not self._path(folder):
                raise _answer(errno.EINVAL, path)
            if self._files[path] == "1":
                raise _answer(errno.EEXIST, path)
            if "udev_path" in found:
                self._claim(found["udev_path"], path)
            elif not Path(found["fd_dev_name"]).exists():
                self._create_file(found["fd_dev_name"])
        self._files[path] = value

    def _claim(self, device: str, path: str) -> None:
        """A block device is opened for one alone."""
        if not self._is_device(device):
            raise _answer(errno.ENOENT, path)
        if self.opens(device):
            raise _answer(errno.EBUSY, path)


def _answer(number: int, path: str) -> OSError:
    return OSError(number, os.strerror(number), path)
