"""iSCSI initiators that stay logged in and read their disks again and again: a cheap stand-in for PCs at work.

Run as a program on the wire, it says ``IN``, then ``READ`` each time a block was read; it ends with 1 at the first
error, because it never logs in again by itself: one that still runs has not been cut.

    initiator.py PORTAL TARGET INITIATOR [USERNAME PASSWORD]

With a portal alone it is a whole room of them. Each line of its input is TARGET, INITIATOR and a word; of each disk it
says ``HAS``, the target, the disk's mark and the word that was on it; then it writes there its own, and reads that again
and again.
"""

import ctypes
import sys
import time

_BLOCK = 512
MARK, NOTE = 8, 9  # the blocks of a disk that say which version it is of, and who wrote to it


class Lost(Exception):
    """The target refused, or went away."""


class Disk:
    """LUN 0 of a target, through libiscsi (iscsi/iscsi.h)."""

    def __init__(self, portal: str, target: str, initiator: str, *secret: str) -> None:
        self._lib = ctypes.CDLL("libiscsi.so.7")
        for name in (
            *("iscsi_create_context", "iscsi_read10_sync", "iscsi_write10_sync"),
            *("scsi_cdb_read10", "iscsi_scsi_command_sync"),
        ):
            getattr(self._lib, name).restype = ctypes.c_void_p
        self._lib.iscsi_get_error.restype = ctypes.c_char_p
        self._context = ctypes.c_void_p(self._lib.iscsi_create_context(initiator.encode()))
        self._lib.iscsi_set_noautoreconnect(self._context, 1)
        self._lib.iscsi_set_targetname(self._context, target.encode())
        self._lib.iscsi_set_session_type(self._context, 2)  # ISCSI_SESSION_NORMAL
        if secret:
            self._lib.iscsi_set_initiator_username_pwd(self._context, *(word.encode() for word in secret))
        self._lib.iscsi_set_timeout(self._context, 5)
        if self._lib.iscsi_full_connect_sync(self._context, portal.encode(), 0):
            raise Lost(self._error())

    def read(self, block: int) -> None:
        self._ended(self._lib.iscsi_read10_sync(self._context, 0, block, _BLOCK, _BLOCK, 0, 0, 0, 0, 0))

    def word(self, block: int) -> str:
        """What a block begins with, up to its first zero."""
        task = ctypes.c_void_p(self._lib.scsi_cdb_read10(block, _BLOCK, _BLOCK, 0, 0, 0, 0, 0))
        found = ctypes.create_string_buffer(_BLOCK)
        self._lib.scsi_task_add_data_in_buffer(task, _BLOCK, found)
        self._ended(self._lib.iscsi_scsi_command_sync(self._context, 0, task, None))
        return found.value.decode(errors="replace")

    def write(self, block: int, word: str) -> None:
        data = word.encode().ljust(_BLOCK, b"\0")
        self._ended(self._lib.iscsi_write10_sync(self._context, 0, block, data, _BLOCK, _BLOCK, 0, 0, 0, 0, 0))

    def _ended(self, task: int | None) -> None:
        if not task or ctypes.cast(task, ctypes.POINTER(ctypes.c_int))[0] != 0:  # struct scsi_task begins with its status
            raise Lost(self._error())
        self._lib.scsi_free_scsi_task(ctypes.c_void_p(task))

    def _error(self) -> str:
        return str(self._lib.iscsi_get_error(self._context).decode(errors="replace"))


def alone(portal: str, *words: str) -> None:
    disk = Disk(portal, *words)
    print("IN", flush=True)
    while True:
        disk.read(0)
        print("READ", flush=True)
        time.sleep(0.1)


def room(portal: str) -> None:
    disks = {}
    for target, initiator, word in map(str.split, sys.stdin):
        disks[word] = disk = Disk(portal, target, initiator)
        print(f"HAS {target} {disk.word(MARK)} {disk.word(NOTE)}", flush=True)
        disk.write(NOTE, word)
    while True:
        for word, disk in disks.items():
            if (found := disk.word(NOTE)) != word:
                raise Lost(f"{word} reads {found}")
        print("READ", flush=True)
        time.sleep(0.2)


def main(portal: str, *words: str) -> int:
    try:
        if words:
            alone(portal, *words)
        else:
            room(portal)
    except Lost as error:
        print(f"LOST {error}", flush=True)
    return 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
