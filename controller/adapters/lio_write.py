"""Bringing one target into the kernel and out of it again, from whatever half-state it is in.

Each operation may be the last before a crash, so nothing is remembered: what is there is read, compared and finished.
A target that is right costs no write. Building goes from the device outwards and enables the portal group last;
taking down is the exact reverse. Whatever would take the disk from an initiator that is, or may be, logged in is
refused unless the action says that it may. ``enable`` is never toggled to update something.
"""

import errno
from collections.abc import Mapping

from controller.adapters import lio_read as read
from controller.adapters.configfs import ConfigFs
from controller.adapters.lio_check import Sizes, checked, look_at_disk
from controller.adapters.lio_read import Place
from controller.core import targets
from controller.core.names import Site
from controller.core.steps import PublishTarget, WithdrawTarget
from controller.core.world import Login, Target
from controller.ports.host import EffectFailed, EffectRefused
from manifests.types import shown

_SHAPE = ("backstore/path", "backstore/size", "backstore/buffered", "backstore/serial")


class Writer:
    """Synchronous; every call may block for as long as the kernel does. EffectRefused, EffectFailed, OSError."""

    def __init__(self, fs: ConfigFs, site: Site, sizes: Sizes) -> None:
        self._fs = fs
        self._site = site
        self._sizes = sizes

    # --- publish --------------------------------------------------------------------------------------------

    def publish(self, action: PublishTarget) -> None:
        fs, target = self._fs, action.target
        place = checked(self._site, target)
        look_at_disk(target, self._sizes)
        found, device = read.state(fs, place)
        if device is None:
            self._free(place)
        facts, wanted = dict(found.facts) if found else {}, targets.facts(target)
        if facts == wanted:
            return
        if not action.cut:
            self._guard(place, target, facts)
        if device and self._unfit(device, facts, wanted):
            self._unlink_luns(place, device, away=True)
            self._remove_device(device)
            device = read.find(fs, place)
            if device is None:
                self._free(place)
        if found:
            self._remove_extra(place, target, device or place.home)
        device = self._device(place, device, wanted)
        self._group(place, wanted, readonly=target.readonly)
        self._lun(place, device)
        self._acl(place, target, wanted)
        self._portal(place, target.portal)
        if fs.read(f"{place.tpg}/enable") != "1":
            fs.write(f"{place.tpg}/enable", "1")

    def _free(self, place: Place) -> None:
        if self._fs.exists(place.home):
            raise EffectRefused("Foreign", f"{place.home} has our name and another serial: rename or delete that backstore")

    def _guard(self, place: Place, target: Target, facts: Mapping[str, str]) -> None:
        """Looks once more, right before, at who is logged in."""
        live = read.sessions(self._fs, place)
        if not live:
            return
        wanted = targets.facts(target)
        ours = f"acl/{target.initiator}"
        cut = {name for name in facts if name.startswith("acl/") and name.count("/") == 1 and name != ours} & {
            f"acl/{initiator}" for initiator in live
        }
        cut |= {name for name in (*_SHAPE, "lun/0") if facts.get(name, wanted[name]) != wanted[name]}
        cut |= {name for name in facts if name.startswith("tpgt_")}
        if facts.get(f"{ours}/lun/0") not in (None, "0", "dangling"):
            cut.add(f"{ours}/lun/0")
        if target.readonly and facts.get(f"{ours}/lun/0/write_protect") == "0":
            cut.add(f"{ours}/lun/0/write_protect")
        if cut:
            raise _in_use(place, live, f"changing {', '.join(sorted(cut))} would take its disk away")

    def _unfit(self, device: str, facts: Mapping[str, str], wanted: Mapping[str, str]) -> bool:
        """An enabled device keeps its file, size and serial for life: only a new one can have others."""
        return self._fs.read(f"{device}/enable") == "1" and any(facts.get(name) != wanted[name] for name in _SHAPE)

    def _remove_extra(self, place: Place, target: Target, device: str) -> None:
        """What must not be in our own target: other portal groups, LUNs, ACLs, mappings and portals."""
        fs = self._fs
        for number, group in read.numbers(fs, place.target).items():
            if number != 1:
                self._remove_group(group, place)
        for initiator in read.listing(fs, f"{place.tpg}/acls"):
            acl = f"{place.tpg}/acls/{initiator}"
            if initiator != target.initiator:
                self._remove_acl(acl, place)
                continue
            for number, mapped in read.numbers(fs, acl).items():
                if number != 0:
                    self._remove_link(mapped, place)
                    fs.rmdir(mapped)
        self._unlink_luns(place, device)
        for number, lun in read.numbers(fs, f"{place.tpg}/lun").items():
            if number != 0:
                fs.rmdir(lun)
        for portal in read.listing(fs, f"{place.tpg}/np"):
            if portal != target.portal:
                fs.rmdir(f"{place.tpg}/np/{portal}")

    def _unlink_luns(self, place: Place, device: str, *, away: bool = False) -> None:
        """Unlinks the LUNs that are too many or lead elsewhere (with ``away``: those that lead to this device), their
        mappings first: a mapping does not follow when its LUN is linked anew.
        """
        fs = self._fs
        for number, lun in read.numbers(fs, f"{place.tpg}/lun").items():
            found = read.link(fs, lun, place.backstore)
            if found and ((found[1] == device) if away else (number != 0 or found[1] != device)):
                self._unmap(place, lun)
                fs.unlink(found[0])

    def _unmap(self, place: Place, lun: str) -> None:
        for initiator in read.listing(self._fs, f"{place.tpg}/acls"):
            for mapped in read.numbers(self._fs, f"{place.tpg}/acls/{initiator}").values():
                found = read.link(self._fs, mapped, place.backstore)
                if found and found[1] == lun:
                    self._fs.unlink(found[0])

    def _device(self, place: Place, device: str | None, wanted: Mapping[str, str]) -> str:
        fs = self._fs
        if device is None:
            device = place.home
            try:
                self._module(place.hba, "target_core_file")
                self._make(device)
            except FileNotFoundError:  # the HBA's last device went, and the HBA with it, just now
                self._module(place.hba, "target_core_file")
                self._make(device)
        if fs.read(f"{device}/enable") != "1":
            if read.serial(fs, device) != place.serial:
                fs.write(f"{device}/wwn/vpd_unit_serial", place.serial)
            path, size = wanted["backstore/path"], wanted["backstore/size"]
            buffered = ",fd_buffered_io=1" if wanted["backstore/buffered"] == "1" else ""  # the kernel's default: O_DSYNC
            fs.write(f"{device}/control", f"fd_dev_name={path},fd_dev_size={size}{buffered}")
            fs.write(f"{device}/enable", "1")
        self._attributes(device, "backstore/attrib/", wanted)
        return device

    def _group(self, place: Place, wanted: Mapping[str, str], *, readonly: bool) -> None:
        self._module("iscsi", "iscsi_target_mod")
        self._make(place.target)
        self._make(place.tpg)
        self._attributes(place.tpg, "tpg/attrib/", wanted)
        protect = f"{place.tpg}/attrib/prod_mode_write_protect"  # what a new mapping starts with: never writable by the way
        if self._fs.read(protect) != str(int(readonly)):
            self._fs.write(protect, str(int(readonly)))

    def _lun(self, place: Place, device: str) -> None:
        fs, lun = self._fs, f"{place.tpg}/lun/lun_0"
        self._make(lun)
        if read.link(fs, lun, place.backstore) is None:
            fs.symlink(device, f"{lun}/{place.backstore}")

    def _acl(self, place: Place, target: Target, wanted: Mapping[str, str]) -> None:
        fs, acl, lun = self._fs, f"{place.tpg}/acls/{target.initiator}", f"{place.tpg}/lun/lun_0"
        mapped = f"{acl}/lun_0"
        self._make(acl)
        self._attributes(acl, f"acl/{target.initiator}/attrib/", wanted)
        self._make(mapped)
        found = read.link(fs, mapped, place.backstore)
        if found and (found[1] != lun or not fs.read(f"{mapped}/write_protect")):
            fs.unlink(found[0])
            found = None
        if found is None:
            fs.symlink(lun, f"{mapped}/{place.backstore}")
        protect = wanted[f"acl/{target.initiator}/lun/0/write_protect"]
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
        devices = tuple(read.devices(fs, place))
        for group in read.numbers(fs, place.target).values():
            self._remove_group(group, place)
        if fs.exists(place.target):
            fs.rmdir(place.target)
        for device in devices:
            self._remove_device(device)
        self._remove_hba(place.hba)

    def _remove_group(self, group: str, place: Place) -> None:
        fs = self._fs
        if fs.read(f"{group}/enable") == "1":
            fs.write(f"{group}/enable", "0")
        for portal in fs.listdir(f"{group}/np"):
            fs.rmdir(f"{group}/np/{portal}")
        for initiator in fs.listdir(f"{group}/acls"):
            self._remove_acl(f"{group}/acls/{initiator}", place)
        for lun in read.numbers(fs, f"{group}/lun").values():
            self._remove_link(lun, place)
            fs.rmdir(lun)
        fs.rmdir(group)

    def _remove_acl(self, acl: str, place: Place) -> None:
        for mapped in read.numbers(self._fs, acl).values():
            self._remove_link(mapped, place)
            self._fs.rmdir(mapped)
        self._fs.rmdir(acl)

    def _remove_link(self, folder: str, place: Place) -> None:
        found = read.link(self._fs, folder, place.backstore)
        if found:
            self._fs.unlink(found[0])

    def _remove_device(self, device: str) -> None:
        try:
            self._fs.rmdir(device)
        except OSError as error:
            if error.errno != errno.EBUSY:
                raise
            users = self._fs.read(f"{device}/alua/default_tg_pt_gp/members").replace("\n", ", ").strip(", ")
            raise EffectRefused("Foreign", f"{device} is exported by {users} too: take it out there first") from error
        self._remove_hba(device.rpartition("/")[0])

    def _remove_hba(self, hba: str) -> None:
        """An HBA without a backstore; another worker may be putting one into it, or removing it, right now."""
        if set(read.listing(self._fs, hba)) == {"hba_info", "hba_mode"}:
            try:
                self._fs.rmdir(hba)
            except OSError as error:
                if error.errno not in (errno.ENOTEMPTY, errno.ENOENT):
                    raise


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
