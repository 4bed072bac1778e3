"""The secrets by which a PC and its disk prove to each other who they are (CHAP: RFC 7143, 12.1.3).

Each is a small file that the administrator keeps: one of systemd's credentials, or one in a folder of secrets. It is read
when it is needed and not kept. Whoever compares gets a digest under a key of this installation's own, so that a secret
cannot be guessed from what a plan or a status shows. Nothing here ever repeats a value: not a message, not a ``repr``.
"""

import hashlib
import hmac
import os
import pwd
import re
import stat
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, Self

from controller.adapters import files
from controller.core.observed import CredentialState
from manifests.types import Name

KEY_BYTES = 32
_LIMIT = 4096
# iPXE expands ${...}, knows no quoting, and takes a word that begins with a hyphen for an option; LIO takes NULL for none.
_VALUE = re.compile(r"(?!NULL)[A-Za-z0-9][A-Za-z0-9._:-]*", re.ASCII).fullmatch
_FEWEST, _MOST, _LONGEST_NAME = 12, 16, 63
_FIELDS = ("username", "password", "mutual-username", "mutual-password")


class Unusable(Exception):
    """A secret cannot be used; the message says why and what to do."""


@dataclass(frozen=True, slots=True, repr=False)
class Secret:
    """What the PC says of itself, and with the mutual pair what its disk says in turn."""

    username: str
    password: str
    mutual_username: str = ""
    mutual_password: str = ""

    @classmethod
    def parse(cls, text: str) -> Self:
        """From lines like ``username=pc07``; empty ones and those with # are passed over. Unusable."""
        found: dict[str, str] = {}
        for number, line in enumerate(text.splitlines(), 1):
            if not line.strip() or line.startswith("#"):
                continue
            key, sign, value = (part.strip() for part in line.partition("="))
            if not sign or key not in _FIELDS:
                raise Unusable(f"line {number} is not one of {', '.join(f'{field}=...' for field in _FIELDS)}")
            if key in found:
                raise Unusable(f"line {number} gives {key} a second time")
            found[key] = value
        return cls.checked(*(found.get(field, "") for field in _FIELDS))

    @classmethod
    def checked(cls, username: str, password: str, mutual_username: str = "", mutual_password: str = "") -> Self:
        """Only what iPXE, LIO and Windows all take. Unusable."""
        mutual = bool(mutual_username or mutual_password)
        values = (username, password, *((mutual_username, mutual_password) if mutual else ()))
        for field, value in zip(_FIELDS, values, strict=False):
            _check(field, value)
        if mutual and password == mutual_password:
            raise Unusable("password and mutual-password are the same: RFC 7143 (9.2.1) forbids that, take another one")
        return cls(username, password, mutual_username, mutual_password)

    @property
    def values(self) -> tuple[str, str, str, str]:
        """As the kernel keeps them: ``userid password userid_mutual password_mutual``, empty for none."""
        return self.username, self.password, self.mutual_username, self.mutual_password

    def script(self) -> str:
        """What iPXE has to run before it logs in."""
        names = ("username", "password", "reverse-username", "reverse-password")
        said = (f"set {name} {value}\n" for name, value in zip(names, self.values, strict=True) if value)
        return f"#!ipxe\n{''.join(said)}"


def _check(field: str, value: str) -> None:
    if not value:
        raise Unusable(f"{field} is missing: add a line {field}=...")
    if not _VALUE(value):
        raise Unusable(f"{field} is letters, digits and . _ : - with a letter or digit first, and not NULL")
    if field.endswith("password") and not _FEWEST <= len(value) <= _MOST:
        raise Unusable(f"{field} has {len(value)} characters: {_FEWEST} to {_MOST}, which RFC 7143 and Windows both take")
    if len(value) > _LONGEST_NAME and not field.endswith("password"):
        raise Unusable(f"{field} has {len(value)} characters: at most {_LONGEST_NAME}")


class Secrets(Protocol):
    """Where secrets come from, and how they are compared."""

    def read(self, credential: str) -> Secret:
        """Unusable."""

    def digest(self, values: Sequence[str]) -> str: ...


@dataclass(frozen=True, slots=True, repr=False)
class SecretFiles:
    """``granted`` is the folder of systemd's credentials, which is looked at first, ``folder`` the administrator's."""

    key: bytes
    folder: Path | None = None
    granted: Path | None = None

    def read(self, credential: str) -> Secret:
        """Unusable, with the file that it is about."""
        name = Name.parse(credential)
        places = [place / name for place in (self.granted, self.folder) if place]
        for path in places:
            try:
                return Secret.parse(self._text(path))
            except FileNotFoundError:
                continue
            except OSError as error:
                raise Unusable(f"{path} cannot be read: {error.strerror or error}") from None
            except Unusable as problem:
                raise Unusable(f"{path}: {problem}") from None
        if not places:
            raise Unusable("there is no folder of secrets: set GGNET_SECRETS_DIR")
        raise Unusable(f"{places[-1]} is missing: create it with mode 0600, or change spec.chap.credential")

    def digest(self, values: Sequence[str]) -> str:
        """No two sets of values have the same text: none holds a line's end."""
        return hmac.new(self.key, "\n".join(values).encode(), hashlib.sha256).hexdigest()[:16]

    def problem(self, credential: str) -> str | None:
        try:
            self.read(credential)
        except (Unusable, ValueError) as problem:
            return str(problem)
        return None

    def states(self, credentials: Collection[str]) -> Mapping[str, CredentialState]:
        return {name: self._state(name) for name in sorted(credentials)}

    def _state(self, credential: str) -> CredentialState:
        try:
            return CredentialState(self.digest(self.read(credential).values))
        except Unusable as problem:
            return CredentialState(None, str(problem))

    def _text(self, path: Path) -> str:
        """OSError, Unusable."""
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        found = os.fstat(fd)
        # systemd gives a service that is not root its credentials by an access list, which shows as the group's.
        shared = stat.S_IMODE(found.st_mode) & (0o007 if path.parent == self.granted else 0o077)
        mine = found.st_uid in (os.geteuid(), 0)
        data = files.read_open(fd, path, _LIMIT)
        if shared:
            raise Unusable(f"others may use it (mode {stat.S_IMODE(found.st_mode):04o}): chmod 600 {path}")
        if not mine:
            raise Unusable(f"it belongs to another user: chown {_account()} {path}")
        try:
            return data.decode("ascii")
        except UnicodeDecodeError:
            raise Unusable("it holds something else than ASCII text") from None


def _account() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())


def installation_key(state_dir: Path) -> bytes:
    """This installation's own, made at its first start. The folder is the API's too: a key that is not of our making, or
    that others may read, is replaced, and with it nothing is lost but the digests. OSError."""
    path = state_dir / "chap.key"
    try:
        found, info = files.settle(path, os.urandom(KEY_BYTES), 0o600), path.lstat()
        if len(found) == KEY_BYTES and info.st_uid == os.geteuid() and not stat.S_IMODE(info.st_mode) & 0o077:
            return found
    except OSError:  # a link, a folder, too long: what cannot be replaced either is told below
        pass
    made = os.urandom(KEY_BYTES)
    files.replace(path, made, 0o600)
    return made
