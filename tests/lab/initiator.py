"""An iSCSI initiator that stays logged in and reads its disk again and again: a cheap stand-in for a PC at work.

Run as a program on the wire, it says ``IN``, then ``READ`` each time a block was read; it ends with 1 at the first
error, because it never logs in again by itself: one that still runs has not been cut.

    initiator.py PORTAL TARGET INITIATOR
"""

import ctypes
import sys
import time

_BLOCK = 512


class Lost(Exception):
    """The target refused, or went away."""


class Disk:
    """LUN 0 of a target, through libiscsi (iscsi/iscsi.h)."""

    def __init__(self, portal: str, target: str, initiator: str) -> None:
        self._lib = ctypes.CDLL("libiscsi.so.7")
        for name in ("iscsi_create_context", "iscsi_read10_sync", "iscsi_write10_sync"):
            getattr(self._lib, name).restype = ctypes.c_void_p
        self._lib.iscsi_get_error.restype = ctypes.c_char_p
        self._context = ctypes.c_void_p(self._lib.iscsi_create_context(initiator.encode()))
        self._lib.iscsi_set_noautoreconnect(self._context, 1)
        self._lib.iscsi_set_targetname(self._context, target.encode())
        self._lib.iscsi_set_session_type(self._context, 2)  # ISCSI_SESSION_NORMAL
        self._lib.iscsi_set_timeout(self._context, 5)
        if self._lib.iscsi_full_connect_sync(self._context, portal.encode(), 0):
            raise Lost(self._error())

    def read(self, block: int) -> None:
        task = self._lib.iscsi_read10_sync(self._context, 0, block, _BLOCK, _BLOCK, 0, 0, 0, 0, 0)
        if not task or ctypes.cast(task, ctypes.POINTER(ctypes.c_int))[0] != 0:  # struct scsi_task begins with its status
            raise Lost(self._error())
        self._lib.scsi_free_scsi_task(ctypes.c_void_p(task))

    def _error(self) -> str:
        return str(self._lib.iscsi_get_error(self._context).decode(errors="replace"))


def main(portal: str, target: str, initiator: str) -> int:
    try:
        disk = Disk(portal, target, initiator)
        print("IN", flush=True)
        while True:
            disk.read(0)
            print("READ", flush=True)
            time.sleep(0.1)
    except Lost as error:
        print(f"LOST {error}", flush=True)
        return 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:4]))
