"""The keys that sign access tokens: files in the state folder, so that a restart logs nobody out.

The newest signs, all verify; a key is out of use once all that it signed has expired. Nothing has to be told of a rotation:
a folder is listed when a token is signed, or names a key that is not known yet. All API processes share the folder.
A file appears whole or not at all (written aside, then linked); its name holds the time, so names sort by age.
"""

import base64
import binascii
import os
import re
import secrets
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

from api.token import TokenError

FOLDER = "keys"
_BYTES = 32
_NAME = re.compile(r"(\d{8}T\d{12})-[0-9a-f]{8}", re.ASCII).fullmatch
_STAMP = "%Y%m%dT%H%M%S%f"


@dataclass(frozen=True, slots=True)
class SigningKey:
    """``id`` is the ``kid`` of what it signs."""

    id: str
    secret: bytes = field(repr=False)

    @property
    def made(self) -> datetime:
        return _made(self.id)


class Keyring:
    def __init__(self, state_dir: Path, life: timedelta) -> None:
        """``life`` is how long what a key signed is good for."""
        self._folder = state_dir / FOLDER
        self._life = life
        self._keys: dict[str, SigningKey] = {}

    def signing(self) -> SigningKey:
        """TokenError."""
        self.reload()
        return self._keys[max(self._keys)]

    def verifying(self, id: str, now: datetime) -> SigningKey | None:
        """None for a key that is none of ours, or is out of use."""
        if id not in self._keys and _NAME(id):
            self.reload()
        found = self._keys.get(id)
        later = min((other for other in self._keys if other > id), default=None)
        if found is None or (later is not None and _made(later) + self._life < now):
            return None
        return found

    def reload(self) -> bool:
        """What the folder holds now, and whether that has changed. TokenError: nothing, or others can read it."""
        names, before = _names(self._folder), self._keys.keys()
        if not names:
            raise TokenError(f"{self._folder} holds no signing key: restart the daemon, which makes one")
        found = ((name, self._keys.get(name) or _read(self._folder, name)) for name in names)
        self._keys = {name: key for name, key in found if key is not None}
        return self._keys.keys() != before

    def rotate(self, now: datetime) -> str:
        """A new key signs from now on; those whose tokens have all expired are removed. Its id. TokenError."""
        names = _names(self._folder)
        newest = max((_made(name) for name in names), default=None)
        id = _make(self._folder, now if newest is None else max(now, newest + timedelta(microseconds=1)))
        for old, successor in pairwise(names):
            if _made(successor) + self._life < now:
                (self._folder / f"{old}.key").unlink(missing_ok=True)
        return id

    def ensure(self, now: datetime) -> None:
        """A first key, if there is none. TokenError."""
        if not _names(self._folder):
            self.rotate(now)
        self.reload()


def _made(id: str) -> datetime:
    return datetime.strptime(id.partition("-")[0], _STAMP).replace(tzinfo=UTC)


def _names(folder: Path) -> list[str]:
    """The oldest first."""
    try:
        found = [path.name for path in folder.iterdir()]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise TokenError(f"{folder} cannot be read ({error.strerror}): it must be the daemon's own, mode 700") from error
    return sorted(name.removesuffix(".key") for name in found if name.endswith(".key") and _NAME(name[:-4]))


def _read(folder: Path, name: str) -> SigningKey | None:
    """None when it has just been removed. TokenError."""
    path = folder / f"{name}.key"
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            mode, text = os.fstat(descriptor).st_mode, file.read(1024)
        secret = base64.b64decode(text.strip(), altchars=b"-_", validate=True)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise TokenError(f"{path} cannot be read ({error.strerror}): it must be the daemon's own, mode 600") from error
    except binascii.Error:
        secret, mode = b"", 0
    if mode & 0o077:
        raise TokenError(f"{path} can be read by others (mode {mode & 0o777:o}): remove it and restart the daemon")
    if len(secret) != _BYTES:
        raise TokenError(f"{path} holds no key: remove it and restart the daemon")
    return SigningKey(name, secret)


def _make(folder: Path, now: datetime) -> str:
    id = f"{now.strftime(_STAMP)}-{secrets.token_hex(4)}"
    aside = folder / f".{id}"
    try:
        folder.parent.mkdir(parents=True, exist_ok=True, mode=0o750)
        folder.mkdir(exist_ok=True, mode=0o700)
        folder.chmod(0o700)
        descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(base64.urlsafe_b64encode(secrets.token_bytes(_BYTES)) + b"\n")
                file.flush()
                os.fsync(file.fileno())
            _give(folder.parent, folder, aside)
            (folder / f"{id}.key").hardlink_to(aside)
        finally:
            aside.unlink()
    except OSError as error:
        raise TokenError(f"{folder} cannot hold a key ({error.strerror}): make {folder.parent} writable for us") from error
    return id


def _give(owner: Path, *paths: Path) -> None:
    """Whom the state folder belongs to reads the keys, also when root rotates them."""
    found = owner.stat()
    if os.geteuid() == 0 and found.st_uid:
        for path in paths:
            os.chown(path, found.st_uid, found.st_gid)
