"""The whole laboratory: a wire, a boot server on it, PCs, and a repository of manifests. All real, all of it temporary.

    with Lab(folder) as lab:
        lab.repository.commit({"pc07.yaml": text}, "pc07 boots linux")
        lab.daemon.start()
        lab.pc("pc07", "52:54:00:00:00:07", Firmware.UEFI).boot()

Make it, and start its machines, in a thread that lives as long as it does: they end with that thread.
"""

import contextlib
import shutil
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.lab import host
from tests.lab.daemon import Daemon
from tests.lab.guest import ADDRESS, Guest
from tests.lab.pc import Firmware, Pc, local_disk
from tests.lab.repository import Repository
from tests.lab.wire import Forward, Wire


class Lab:
    """``folder`` must not exist yet or be empty; what it holds afterwards is the lab's remains (consoles, logs, disks)."""

    def __init__(self, folder: Path, told: Callable[[str], None] = lambda stage: None) -> None:
        self.folder = folder
        self._told = told

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as begun:
            self._told("preparing: modules, preload, disks")
            self.prepared = host.prepare()
            self._told("the wire: a namespace with a bridge")
            self.wire = begun.enter_context(Wire())
            self._told("the boot server: user-mode Linux with kernel LIO")
            self.guest = Guest(self.wire, self.prepared, self.folder)
            begun.callback(self.guest.cut)
            self.run = self.guest.run
            self.io = self.guest.io
            self.imports = self.io / "imports"
            self.imports.mkdir()
            self.repository = Repository(self.io / "manifests.git", self.folder / "manifests")
            self.daemon = Daemon(self.guest, self.io)
            self.pcs: dict[str, Pc] = {}
            begun.callback(self._power_off)
            self._forwards: dict[int, Forward] = {}
            begun.callback(self._close)
            self.guest.boot()
            self._ends = begun.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._ends.close()

    def _power_off(self) -> None:
        for pc in self.pcs.values():
            pc.power_off()

    def _close(self) -> None:
        for forward in self._forwards.values():
            forward.close()

    def pc(self, name: str, mac: str, firmware: Firmware = Firmware.BIOS, *, disk: bool = False, card: str = "") -> Pc:
        """The PC of this name, made at its first mention, and anew for another firmware; with ``disk`` it has a local one,
        which says LOCAL-DISK. ``card`` is another model than that of its firmware."""
        if name in self.pcs and self.pcs[name].firmware is not firmware:
            self.pcs.pop(name).power_off()
        if name not in self.pcs:
            own = local_disk(self.prepared, self.folder, name) if disk else None
            self.pcs[name] = Pc(self.wire, name, mac, firmware, own, card)
        return self.pcs[name]

    def image(self, name: str) -> Path:
        """A bootable raw image in the import folder, which says BOOT-OK."""
        return Path(shutil.copy(self.prepared.boot_disk, self.imports / name))

    def port(self, port: int, local: int = 0) -> int:
        """A port of 127.0.0.1 on this machine that leads to ``port`` of the boot server."""
        if port not in self._forwards:
            self._forwards[port] = Forward(self.wire, (ADDRESS, port), local)
        return self._forwards[port].port

    def restart(self, *, power_cut: bool = False) -> None:
        """The boot server starts again with an empty kernel; only what lay on its disk is there."""
        if power_cut:
            self.guest.cut()
        else:
            self.guest.power_off()
        self.guest.boot()

    def add_foreign(self) -> None:
        """A target and a backstore of the administrator's, made with targetcli."""
        iqn = "iqn.2003-01.org.example:archive"
        self.run(["truncate", "-s", "4M", "/srv/archive.raw"]).check()
        script = (
            "/backstores/fileio create archive /srv/archive.raw\n"
            f"/iscsi create {iqn}\n"
            f"/iscsi/{iqn}/tpg1/luns create /backstores/fileio/archive\n"
            f"/iscsi/{iqn}/tpg1/acls create iqn.2003-01.org.example:reader\n"
        )
        self.run("targetcli set global auto_add_default_portal=false; targetcli", stdin=script).check()
