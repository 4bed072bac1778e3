"""One controller a host: a lock that the kernel drops with the process that held it."""

import fcntl
import os
from pathlib import Path

from controller.ports.store import Fenced


class AlreadyRunning(Fenced):
    """Another controller runs on this host with the same state folder: stop it first."""


def hold(folder: Path) -> int:
    """The descriptor that holds the lock until it is closed or the process ends. AlreadyRunning."""
    descriptor = os.open(folder / "controller.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise AlreadyRunning(f"another controller runs with the state folder {folder}; stop it first") from None
    return descriptor
