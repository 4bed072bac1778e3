"""The administrator's dhcpd.conf, which includes our file: read, never written."""

import hashlib
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from controller.adapters import files

LIMIT = 64 << 20
_INCLUDE = re.compile(r'#[^\n]*|(?<![\w-])include\s*"(?P<path>[^"\n]*)"|"[^"\n]*"', re.IGNORECASE)
_DEPTH = 8


@dataclass(frozen=True, slots=True)
class Main:
    """The administrator's file. ``sha256`` is that of its bytes and of all that it includes, our include excepted."""

    text: str
    sha256: str


class MainProblem(Exception):
    """The administrator's file cannot serve us as it is: the message says what to change."""


def read_main(conf: Path, include: Path) -> Main:
    """MainProblem."""
    if conf.absolute() == include.absolute():
        raise MainProblem(
            f"{conf} is both the administrator's file and our include: set GGNET_DHCPD_INCLUDE to another file"
        )
    try:
        data = conf.read_bytes()
    except FileNotFoundError:
        raise MainProblem(f'{conf} is missing: create it with the line: include "{include}";') from None
    except OSError as error:
        raise MainProblem(f"{conf} cannot be read: {error.strerror}") from error
    text = data.decode("utf-8", "surrogateescape")
    if str(include) not in [match["path"] for match in _includes(text)]:
        raise MainProblem(f'{conf} does not include our file: add the line: include "{include}";')
    sha = hashlib.sha256()
    _digest(sha.update, data, include, {str(conf)}, _DEPTH)
    return Main(text, sha.hexdigest())


def redirected(main: Main, include: Path, candidate: Path) -> str:
    """The administrator's text with ``candidate`` in the place of our include."""
    return "".join(_redirected(main.text, str(include), str(candidate)))


def _includes(text: str) -> Iterator[re.Match[str]]:
    return (match for match in _INCLUDE.finditer(text) if match["path"] is not None)


def _redirected(text: str, old: str, new: str) -> Iterator[str]:
    at = 0
    for match in _includes(text):
        if match["path"] == old:
            yield text[at : match.start("path")] + new
            at = match.end("path")
    yield text[at:]


def _digest(update: Callable[[bytes], None], data: bytes, ours: Path, seen: set[str], depth: int) -> None:
    update(str(len(data)).encode() + b"\n" + data)
    for match in _includes(data.decode("utf-8", "surrogateescape")):
        path = match["path"]
        if path in seen or path == str(ours) or depth == 0:
            continue
        seen.add(path)
        try:
            fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            _digest(update, files.read_open(fd, Path(path), LIMIT), ours, seen, depth - 1)
        except (OSError, ValueError) as error:
            update(f"{path}: {error}".encode("utf-8", "surrogateescape"))
