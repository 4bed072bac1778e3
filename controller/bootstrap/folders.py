"""The folders of this boot server, and who alone may use them."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from controller.adapters import hostlock
from controller.settings import Settings


def prepare(settings: Settings) -> None:
    """The folders that are ours to make; 0750, because the state folder holds the administrator's token.

    Uploads are written by the API, which has our group and may make nothing in the pool. A folder of theirs elsewhere is
    the administrator's to make.
    """
    for folder in (settings.state_dir, settings.pool, settings.imports):
        folder.mkdir(parents=True, exist_ok=True, mode=0o750)
    if settings.upload_dir is None:
        with suppress(FileExistsError):
            settings.uploads.mkdir(mode=0o770)
            settings.uploads.chmod(0o770)


@contextmanager
def alone(settings: Settings) -> Iterator[None]:
    """No other controller, and no restore, uses this state folder meanwhile. AlreadyRunning."""
    prepare(settings)
    lock = hostlock.hold(settings.state_dir)
    try:
        yield
    finally:
        os.close(lock)
