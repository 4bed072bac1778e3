"""The logins of this user, one a server: a file for its owner alone. A context is a name for one of them.

Two commands at once must not both spend the one use of a refresh token, which would end the login: whoever changes the file
holds its lock, and looks again first.
"""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from api.cli.failure import UNAUTHORISED, USAGE, Failure

if TYPE_CHECKING:
    from controller.settings import Settings

FILE = "logins.json"
LOCAL = "local"
"""The daemon on this machine, by ``admin.token``: a context that is always there, and needs no login."""


@dataclass
class Login:
    """Empty tokens: logged out, but where is remembered."""

    server: str
    username: str = ""
    access: str = field(default="", repr=False)
    refresh: str = field(default="", repr=False)


@dataclass
class Logins:
    current: str = LOCAL
    contexts: dict[str, Login] = field(default_factory=dict)

    def named(self, name: str) -> Login:
        """Failure, wrong usage."""
        if name not in self.contexts:
            raise Failure(f"there is no context {ascii(name)[1:-1][:63]}", USAGE, remedy="see ggnet context list")
        return self.contexts[name]

    def at(self, server: str) -> str | None:
        """The context of this server; the current one goes before others."""
        names = sorted(self.contexts, key=lambda name: (name != self.current, not self.contexts[name].access, name))
        return next((name for name in names if self.contexts[name].server == server), None)


def folder(settings: "Settings") -> Path | None:
    """None for somebody without a home."""
    try:
        return (settings.config_home or Path.home() / ".config") / "ggnet"
    except RuntimeError:
        return None


def read(place: Path | None) -> Logins:
    """None of any, if there is no file. Failure."""
    if place is None:
        return Logins()
    path = place / FILE
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            mode, text = os.fstat(descriptor).st_mode, file.read(1 << 20)
    except (FileNotFoundError, NotADirectoryError):
        return Logins()
    except OSError as error:
        raise Failure(f"{path} cannot be read: {error.strerror}", UNAUTHORISED) from None
    if mode & 0o077:
        raise Failure(f"{path} can be read by others (mode {mode & 0o777:o})", UNAUTHORISED, remedy=f"chmod 600 {path}")
    try:
        found = json.loads(text)
        return Logins(found["current"], {name: Login(**login) for name, login in found["contexts"].items()})
    except (ValueError, KeyError, TypeError, AttributeError):
        raise Failure(f"{path} is damaged", UNAUTHORISED, remedy="remove it and log in again") from None


@contextmanager
def changing(place: Path | None) -> Iterator[Logins]:
    """What is done to them inside is written at the end, also when it ends in a Failure. Failure."""
    if place is None:
        raise Failure("there is no home to keep a login in", remedy="set XDG_CONFIG_HOME")
    try:
        place.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = os.open(place / ".lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise Failure(f"{place} cannot be written: {error.strerror}", remedy="set XDG_CONFIG_HOME") from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        logins = read(place)
        before = asdict(logins)
        try:
            yield logins
        finally:
            if asdict(logins) != before:
                _write(place / FILE, logins)
    finally:
        os.close(lock)


def _write(path: Path, logins: Logins) -> None:
    from controller.bootstrap import here

    try:
        here.keep(path, json.dumps(asdict(logins), indent=1).encode())
    except OSError as error:
        raise Failure(f"{path} cannot be written: {error.strerror}") from None
