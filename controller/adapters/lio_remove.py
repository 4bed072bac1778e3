"""Parts of a target out of the kernel, from the portal group inwards, whatever half-state they are in."""

import errno

from controller.adapters import lio_read as read
from controller.adapters.configfs import ConfigFs
from controller.adapters.lio_read import Place
from controller.ports.host import EffectRefused


class Remover:
    """Synchronous, by path. EffectRefused, OSError."""

    def __init__(self, fs: ConfigFs) -> None:
        self._fs = fs

    def group(self, group: str, place: Place) -> None:
        fs = self._fs
        if fs.read(f"{group}/enable") == "1":
            fs.write(f"{group}/enable", "0")
        for portal in fs.listdir(f"{group}/np"):
            fs.rmdir(f"{group}/np/{portal}")
        for initiator in fs.listdir(f"{group}/acls"):
            self.acl(f"{group}/acls/{initiator}", place)
        for lun in read.numbers(fs, f"{group}/lun").values():
            self.link(lun, place)
            fs.rmdir(lun)
        fs.rmdir(group)

    def acl(self, acl: str, place: Place) -> None:
        for mapped in read.numbers(self._fs, acl).values():
            self.link(mapped, place)
            self._fs.rmdir(mapped)
        self._fs.rmdir(acl)

    def link(self, folder: str, place: Place) -> None:
        found = read.link(self._fs, folder, place.backstore)
        if found:
            self._fs.unlink(found[0])

    def device(self, device: str) -> None:
        try:
            self._fs.rmdir(device)
        except OSError as error:
            if error.errno != errno.EBUSY:
                raise
            users = self._fs.read(f"{device}/alua/default_tg_pt_gp/members").replace("\n", ", ").strip(", ")
            raise EffectRefused("Foreign", f"{device} is exported by {users} too: take it out there first") from error
        self.hba(device.rpartition("/")[0])

    def hba(self, hba: str) -> None:
        """An HBA without a backstore; another worker may be putting one into it, or removing it, right now."""
        if set(read.listing(self._fs, hba)) == {"hba_info", "hba_mode"}:
            try:
                self._fs.rmdir(hba)
            except OSError as error:
                if error.errno not in (errno.ENOTEMPTY, errno.ENOENT):
                    raise
