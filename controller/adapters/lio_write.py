"""Bringing one target into the kernel and out of it again, from whatever half-state it is in.

Each operation may be the last before a crash, so nothing is remembered: what is there is read, compared and finished.
A target that is right costs no write. Building goes from the device outwards and enables the portal group last;
taking down is the exact reverse. Whatever would take the disk from an initiator that is, or may be, logged in is
refused unless the action says that it may. ``enable`` is never toggled to update something.
"""

import errno
from collections.abc import Callable, Mapping, Sequence

from controller.adapters import lio_auth
from controller.adapters import lio_read as read
from controller.adapters.chap import Secrets
from controller.adapters.configfs import ConfigFs
from controller.adapters.lio_check import Sizes, checked, look_at_disk
from controller.adapters.lio_once import Once
from controller.adapters.lio_read import Place
from controller.adapters.lio_remove import Remover
from controller.core import targets
from controller.core.desired import Lun, Target
from controller.core.names import Site, parse_backstore
from controller.core.observed import Login
from controller.core.steps import PublishTarget, WithdrawTarget
from controller.ports.host import EffectFailed, EffectRefused
from manifests.types import shown

_SHAPE = ("path", "size", "buffered", "serial")


class Writer:
    """Synchronous; every call may block for as long as the kernel does. EffectRefused, EffectFailed, OSError."""

    def __init__(self, fs: ConfigFs, site: Site, sizes: Sizes, secrets: Secrets) -> None:
        self._fs = fs
        self._site = site
        self._sizes = sizes
        self._secrets = secrets
        self._away = Remover(fs)

    # --- publish --------------------------------------------------------------------------------------------

    def publish(self, action: PublishTarget) -> None:
        fs, target = self._fs, action.target
        place = checked(self._site, target)
        for lun in target.luns:
            look_at_disk(lun, self._sizes)
        found, devices = read.state(Once(fs), self._site, place, self._secrets.digest)
        disks = tuple((self._disk(place, lun), lun) for lun in target.luns)
        for disk, lun in disks:
            self._free(disk, lun, devices)
        facts, wanted = dict(found.facts) if found else {}, targets.facts(target)
        if facts == wanted:
            return
        secret = lio_auth.wanted(self._secrets, target, facts)
        if not action.cut:
            self._guard(place, target, facts)
        for disk, lun in disks:
            self._renew(disk, lun, devices, facts, wanted)
        if found:
            self._remove_extra(place, target, devices, tuple(disk for disk, _ in disks))
        made = tuple((disk, self._device(disk, devices.get(disk.backstore), wanted)) for disk, _ in disks)
        self._build(place, target, made, wanted, secret)

    def _build(
        self,
        place: Place,
        target: Target,
        made: Sequence[tuple[Place, str]],
        wanted: Mapping[str, str],
        secret: tuple[str, ...],
    ) -> None:
        fs, acl = self._fs, f"{place.tpg}/acls/{target.initiator}"
        if secret and target.chap is None:
            lio_auth.write(fs, acl, secret)
        self._group(place, wanted, readonly=any(lun.readonly for lun in target.luns))
        for number, (disk, device) in enumerate(made):
            self._lun(disk, number, device)
        self._acl(place, target, wanted)
        for number, (disk, _) in enumerate(made):
            self._map(disk, target, number, wanted)
        if secret and target.chap is not None:
            lio_auth.write(fs, acl, secret)
        lio_auth.inherit(fs, acl)
        self._portal(place, target.portal)
        if fs.read(f"{place.tpg}/enable") != "1":
            fs.write(f"{place.tpg}/enable", "1")

    def _disk(self, place: Place, lun: Lun) -> Place:
        named = parse_backstore(lun.backstore)
        return place.of_disk(self._site, named[1]) if named else place

    def _free(self, disk: Place, lun: Lun, devices: Mapping[str, str]) -> None:
        home = disk.of_device(lun.path)
        if disk.backstore not in devices and self._fs.exists(home):
            raise EffectRefused("Foreign", f"{home} has our name and another serial: rename or delete that backstore")

    def _guard(self, place: Place, target: Target, facts: Mapping[str, str]) -> None:
        """Looks once more, right before, at who is logged in."""
        live = read.sessions(self._fs, place)
        if not live:
            return
        ours = f"acl/{target.initiator}"
        cut = {name for name in facts if name.startswith("acl/") and name.count("/") == 1 and name != ours} & {
            f"acl/{initiator}" for initiator in live
        }
        changes = targets.difference(targets.facts(target), facts)
        felt = (change.field for change in targets.cutting(target.initiator, changes))
        cut |= {name for name in felt if not name.startswith("acl/") or name.startswith(f"{ours}/")}
        if cut:
            raise _in_use(place, live, f"changing {', '.join(sorted(cut))} would take its disk away")

    def _renew(
        self, disk: Place, lun: Lun, devices: dict[str, str], facts: Mapping[str, str], wanted: Mapping[str, str]
    ) -> None:
        """Takes away a device that cannot become what is wanted."""
        device = devices.get(disk.backstore)
        if device is None or not self._unfit(disk, device, facts, wanted):
            return
        self._unlink_luns(disk, lambda number, led: led == device)
        self._away.device(device)
        del devices[disk.backstore]
        if again := read.find(self._fs, disk):
            devices[disk.backstore] = again
        self._free(disk, lun, devices)

    def _unfit(self, disk: Place, device: str, facts: Mapping[str, str], wanted: Mapping[str, str]) -> bool:
        """An enabled device keeps its file, size and serial for life: only a new one can have others."""
        at = targets.place(disk.backstore)
        if read.is_block(device) != targets.block(wanted[f"{at}/path"]):
            return True
        shape = (f"{at}/{name}" for name in _SHAPE)
        return self._fs.read(f"{device}/enable") == "1" and any(facts.get(name) != wanted.get(name) for name in shape)

    def _remove_extra(self, place: Place, target: Target, devices: Mapping[str, str], disks: Sequence[Place]) -> None:
        """What must not be in our own target: other portal groups, LUNs, ACLs, mappings, portals, and disks."""
        fs = self._fs
        for number, group in read.numbers(fs, place.target).items():
            if number != 1:
                self._away.group(group, place)
        for initiator in read.listing(fs, f"{place.tpg}/acls"):
            acl = f"{place.tpg}/acls/{initiator}"
            if initiator != target.initiator:
                self._away.acl(acl, place)
                continue
            for number, mapped in read.numbers(fs, acl).items():
                if number >= len(disks):
                    self._away.link(mapped, place)
                    fs.rmdir(mapped)
        goals = {number: devices.get(disk.backstore) for number, disk in enumerate(disks)}
        self._unlink_luns(place, lambda number, led: goals.get(number) != led)
        for number, lun in read.numbers(fs, f"{place.tpg}/lun").items():
            if number not in goals:
                fs.rmdir(lun)
        for device in (path for path in devices.values() if path not in goals.values()):
            self._away.device(device)
        for portal in read.listing(fs, f"{place.tpg}/np"):
            if portal != target.portal:
                fs.rmdir(f"{place.tpg}/np/{portal}")

    def _unlink_luns(self, place: Place, wrong: Callable[[int, str], bool]) -> None:
        """Unlinks the LUNs that lead where they must not, their mappings first: a mapping does not follow when its LUN is
        linked anew.
        """
        for number, lun in read.numbers(self._fs, f"{place.tpg}/lun").items():
            found = read.link(self._fs, lun, place.backstore)
            if found and wrong(number, found[1]):
                self._unmap(place, lun)
                self._fs.unlink(found[0])

    def _unmap(self, place: Place, lun: str) -> None:
        for initiator in read.listing(self._fs, f"{place.tpg}/acls"):
            for mapped in read.numbers(self._fs, f"{place.tpg}/acls/{initiator}").values():
                found = read.link(self._fs, mapped, place.backstore)
                if found and found[1] == lun:
                    self._fs.unlink(found[0])

    def _device(self, place: Place, device: str | None, wanted: Mapping[str, str]) -> str:
        fs = self._fs
        at = targets.place(place.backstore)
        if device is None:
            device = place.of_device(wanted[f"{at}/path"])
            hba, module = device.rpartition("/")[0], "target_core_iblock" if read.is_block(device) else "target_core_file"
            try:
                self._module(hba, module)
                self._make(device)
            except FileNotFoundError:  # the HBA's last device went, and the HBA with it, just now
                self._module(hba, module)
                self._make(device)
        if fs.read(f"{device}/enable") != "1":
            if read.serial(fs, device) != place.serial:
                fs.write(f"{device}/wwn/vpd_unit_serial", place.serial)
            self._configure(device, at, wanted)
            fs.write(f"{device}/enable", "1")
        self._attributes(device, f"{at}/attrib/", wanted)
        return device

    def _configure(self, device: str, at: str, wanted: Mapping[str, str]) -> None:
        path = wanted[f"{at}/path"]
        if read.is_block(device):
            self._fs.write(f"{device}/udev_path", path)  # where rtslib and targetcli look for it
            self._fs.write(f"{device}/control", f"udev_path={path}")
            return
        buffered = ",fd_buffered_io=1" if wanted[f"{at}/buffered"] == "1" else ""  # the kernel's default: O_DSYNC
        self._fs.write(f"{device}/control", f"fd_dev_name={path},fd_dev_size={wanted[f'{at}/size']}{buffered}")

    def _group(self, place: Place, wanted: Mapping[str, str], *, readonly: bool) -> None:
        self._module("iscsi", "iscsi_target_mod")
        self._make(place.target)
        self._make(place.tpg)
        self._attributes(place.tpg, "tpg/attrib/", wanted)
        protect = f"{place.tpg}/attrib/prod_mode_write_protect"  # what a new mapping starts with: never writable by the way
        if self._fs.read(protect) != str(int(readonly)):
            self._fs.write(protect, str(int(readonly)))

    def _lun(self, disk: Place, number: int, device: str) -> None:
        fs, lun = self._fs, f"{disk.tpg}/lun/lun_{number}"
        self._make(lun)
        if read.link(fs, lun, disk.backstore) is None:
            fs.symlink(device, f"{lun}/{disk.backstore}")

    def _acl(self, place: Place, target: Target, wanted: Mapping[str, str]) -> None:
        acl = f"{place.tpg}/acls/{target.initiator}"
        self._make(acl)
        self._attributes(acl, f"acl/{target.initiator}/attrib/", wanted)

    def _map(self, disk: Place, target: Target, number: int, wanted: Mapping[str, str]) -> None:
        fs, lun = self._fs, f"{disk.tpg}/lun/lun_{number}"
        mapped = f"{disk.tpg}/acls/{target.initiator}/lun_{number}"
        self._make(mapped)
        found = read.link(fs, mapped, disk.backstore)
        if found and (found[1] != lun or not fs.read(f"{mapped}/write_protect")):
            fs.unlink(found[0])
            found = None
        if found is None:
            fs.symlink(lun, f"{mapped}/{disk.backstore}")
        protect = wanted[f"acl/{target.initiator}/lun/{number}/write_protect"]
        if fs.read(f"{mapped}/write_protect") != protect:
            fs.write(f"{mapped}/write_protect", protect)

    def _attributes(self, folder: str, prefix: str, wanted: Mapping[str, str]) -> None:
        for fact, value in wanted.items():
            path = f"{folder}/attrib/{fact.removeprefix(prefix)}"
            if fact.startswith(prefix) and self._fs.read(path) != value:
                self._fs.write(path, value)

    def _make(self, folder: str) -> None:
        """Asking costs as much as trying; and the folders of HBAs are shared with other workers."""
        try:
            self._fs.mkdir(folder)
        except FileExistsError:
            return

    def _module(self, folder: str, module: str) -> None:
        """The first folder of its kind loads the module that answers for it."""
        try:
            self._make(folder)
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.ENODEV):
                raise
            raise EffectRefused("LioAbsent", f"the kernel has no {module}: modprobe {module}") from error

    def _portal(self, place: Place, portal: str) -> None:
        try:
            self._make(f"{place.tpg}/np/{portal}")
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.EADDRINUSE):
                raise
            raise EffectFailed(
                "PortalRefused", f"the kernel cannot listen on {portal}: who else holds that port?"
            ) from error

    # --- withdraw -------------------------------------------------------------------------------------------

    def withdraw(self, action: WithdrawTarget) -> None:
        fs, place = self._fs, Place.of(self._site, action.iqn)
        if place is None:
            raise EffectRefused("Foreign", f"target {shown(action.iqn)} is not ours: it is left alone")
        live = {} if action.cut else read.sessions(fs, place)
        if live:
            raise _in_use(place, live, "withdrawing the target would cut it off")
        disks = tuple(read.places(fs, self._site, place))
        devices = tuple(device for disk in disks for device in read.devices(fs, disk))
        for group in read.numbers(fs, place.target).values():
            self._away.group(group, place)
        if fs.exists(place.target):
            fs.rmdir(place.target)
        for device in devices:
            self._away.device(device)
        for hba in (*(home.rpartition("/")[0] for home in (place.home, place.block)), *read.shared_hbas(place.machine)):
            self._away.hba(hba)


def _in_use(place: Place, live: Mapping[str, tuple[Login, str | None]], consequence: str) -> EffectRefused:
    who = ", ".join(
        f"{name} ({'logged in' if state is Login.ACTIVE else 'maybe logged in'})" for name, (state, _) in live.items()
    )
    return EffectRefused("InUse", f"{place.iqn} is in use by {who}: {consequence}")


def failure(error: OSError, what: str) -> EffectFailed | EffectRefused:
    """The kernel's answer as what a caller can act on."""
    words = f"{what}: {error.strerror} ({error.filename})" if error.filename else f"{what}: {error}"
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return EffectRefused("NoPermission", f"{words}: run the controller as root, as its systemd unit does")
    return EffectFailed("KernelError", words)
