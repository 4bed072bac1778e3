"""Tells every write below some folders (inotify): ``PATH EVENT`` a line; an empty line first, once all are watched.

It sees what any process does through system calls: contents, attributes, creation, removal, renames.

    touched.py SECONDS FOLDER...
"""

import ctypes
import os
import select
import struct
import sys
import time

EVENTS = {0x2: "modify", 0x4: "attrib", 0x40: "moved", 0x80: "moved", 0x100: "create", 0x200: "delete"}
_libc = ctypes.CDLL(None, use_errno=True)


def watch(descriptor: int, folder: str, watched: dict[int, str]) -> None:
    for path, _, _ in os.walk(folder):
        number = _libc.inotify_add_watch(descriptor, os.fsencode(path), sum(EVENTS))
        if number < 0:
            raise OSError(ctypes.get_errno(), f"inotify_add_watch {path}")
        watched[number] = path


def main(seconds: float, folders: list[str]) -> None:
    descriptor = _libc.inotify_init1(0)
    watched: dict[int, str] = {}
    for folder in folders:
        watch(descriptor, folder, watched)
    print(flush=True)
    deadline = time.monotonic() + seconds
    while (left := deadline - time.monotonic()) > 0:
        if not select.select([descriptor], [], [], left)[0]:
            break
        data = os.read(descriptor, 65536)
        while data:
            number, mask, _, length = struct.unpack_from("iIII", data)
            name = os.fsdecode(data[16 : 16 + length].rstrip(b"\0"))
            said = "+".join(sorted({EVENTS[bit] for bit in EVENTS if mask & bit}))
            print(f"{watched.get(number, '?')}/{name}", said, flush=True)
            data = data[16 + length :]


if __name__ == "__main__":
    main(float(sys.argv[1]), sys.argv[2:])
