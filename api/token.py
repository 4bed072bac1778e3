"""The administrator's token: made at first start, read by whoever may read the file (the local command line).

The file appears whole or not at all (written aside, then linked), so two processes that start together agree on one.
"""

import os
import secrets
from pathlib import Path

FILE = "admin.token"


class TokenError(Exception):
    """The token file cannot be used; the message says what to do."""


def read(state_dir: Path) -> str:
    """TokenError."""
    path = state_dir / FILE
    try:
        token = path.read_text("ascii").strip()
    except FileNotFoundError:
        raise TokenError(f"{path} does not exist: start the daemon on this machine, or set GGNET_TOKEN") from None
    except (OSError, UnicodeDecodeError) as error:
        raise TokenError(f"{path} cannot be read ({error}): run as the daemon's user, or set GGNET_TOKEN") from error
    if len(token) < 43:
        raise TokenError(f"{path} holds no token: remove it and restart the daemon, which makes a new one")
    return token


def ensure(state_dir: Path) -> str:
    """The token, made now if there is none: 256 bits, mode 0600. TokenError."""
    path = state_dir / FILE
    if path.exists():
        return _private(state_dir)
    aside = state_dir / f".{FILE}.{secrets.token_hex(8)}"
    try:
        state_dir.mkdir(parents=True, exist_ok=True, mode=0o750)
        descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        try:
            with os.fdopen(descriptor, "w") as file:
                file.write(secrets.token_urlsafe(32) + "\n")
                file.flush()
                os.fsync(file.fileno())
            path.hardlink_to(aside)
        finally:
            aside.unlink()
    except FileExistsError:
        pass  # another process of ours was first
    except OSError as error:
        raise TokenError(f"{path} cannot be made ({error}): make {state_dir} writable for the daemon") from error
    return read(state_dir)


def _private(state_dir: Path) -> str:
    path = state_dir / FILE
    mode = path.stat().st_mode
    if mode & 0o077:
        raise TokenError(f"{path} can be read by others (mode {mode & 0o777:o}): chmod 600 it, or remove it for a new one")
    return read(state_dir)
