"""A git repository on this host, read where it lies: its ref by hand, its objects by a git that never runs in it.

A fetch starts six programs; this starts none to find out what a ref is, and none of the repository's configuration is
read, so that nothing in it can name a program to run. What is not plain (a work tree elsewhere, another ref format) is
not guessed at: then there is no answer, and the caller fetches.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from controller.adapters import files

_SHA = re.compile(r"[0-9a-f]{40}", re.ASCII)
_RULES = ("{}", "refs/{}", "refs/tags/{}", "refs/heads/{}", "refs/remotes/{}")  # gitrevisions(7), in this order
_LINKS = 5
_LIMIT = 16 << 20


@dataclass(frozen=True, slots=True)
class Found:
    """What a ref names (a commit, or a tag of one), and the folder of its objects."""

    sha: str
    objects: Path


def find(repository: Path, ref: str) -> Found | None:
    """None when it cannot be told for sure."""
    home = repository / ".git" if (repository / ".git").is_dir() else repository
    objects = home / "objects"
    if ".." in ref.split("/") or not objects.is_dir() or re.search(r'[:"\n]', str(objects)):
        return None
    try:
        shas = (_sha(home, rule.format(ref)) for rule in _RULES if rule != "{}" or ref == "HEAD" or ref.startswith("refs/"))
        sha = next(filter(None, shas), None)
    except (OSError, UnicodeDecodeError):
        return None
    return Found(sha, objects) if sha else None


def reader(folder: Path) -> Path:
    """A repository of our own with nothing in it, in whose name the objects of another are read. OSError."""
    head = folder / "HEAD"
    if not head.is_file():
        for part in ("objects", "refs"):
            (folder / part).mkdir(parents=True, exist_ok=True)
        files.replace(head, b"ref: refs/heads/none\n")  # last: without it the folder is no repository
    return folder


def _sha(home: Path, ref: str) -> str | None:
    for _ in range(_LINKS):
        text = _loose(home, ref) or _packed(home, ref)
        if text is None or _SHA.fullmatch(text):
            return text
        link, _, ref = text.partition(": ")
        if link != "ref" or ".." in ref.split("/") or not ref.startswith("refs/"):
            return None
    return None


def _loose(home: Path, ref: str) -> str | None:
    try:
        return files.read(home / ref, _LIMIT).decode("ascii").strip() or None
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return None


def _packed(home: Path, ref: str) -> str | None:
    """After the loose ones: git packs a ref before it removes the loose one."""
    try:
        rows = files.read(home / "packed-refs", _LIMIT).decode("utf-8").splitlines()
    except FileNotFoundError:
        return None
    return next((sha for sha, _, name in (row.partition(" ") for row in rows) if name == ref), None)
