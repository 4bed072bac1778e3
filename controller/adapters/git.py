"""A git repository as a source: bare or remote, read at one commit from the object store, never checked out.

One on this host is read where it lies (``git_local``); any other is fetched into a mirror of our own.

With no work tree there is nothing to be half-written, no hook to run and no link to follow: the tree is listed and the
blobs are read through ``git cat-file --batch``. Symlinks and submodules are errors, because what they mean depends on
where they are checked out.
"""

import hashlib
import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from anyio import to_thread

from controller.adapters import git_local
from controller.adapters.command import CommandError, run
from controller.adapters.watch import hints
from controller.ports.sources import Snapshot, SourceError
from manifests.load import MAX_FILE_BYTES, is_manifest

_QUIET = {
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_CONFIG_COUNT": "3",
    "GIT_CONFIG_KEY_0": "safe.directory",
    "GIT_CONFIG_VALUE_0": "*",
    "GIT_CONFIG_KEY_1": "core.hooksPath",
    "GIT_CONFIG_VALUE_1": "/dev/null",
    "GIT_CONFIG_KEY_2": "protocol.ext.allow",
    "GIT_CONFIG_VALUE_2": "never",
    "LC_ALL": "C",
}
_FETCH_SECONDS = 60.0
_READ_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class GitAddress:
    """``URL#REF:FOLDER``; the ref defaults to the remote's HEAD, the folder to the whole tree."""

    url: str
    ref: str = "HEAD"
    folder: str = ""

    @classmethod
    def parse(cls, text: str) -> "GitAddress":
        """ValueError when the ref or the folder could be taken for an option or leave the tree."""
        url, _, rest = text.partition("#")
        ref, _, folder = rest.partition(":")
        folder = folder.strip("/")
        if url.startswith("-") or not re.fullmatch(r"[A-Za-z0-9._/-]*", ref) or ref.startswith("-"):
            raise ValueError(f"GGNET_MANIFESTS: {masked(text)!r} has no usable URL and ref; write URL#REF:FOLDER")
        if any(part in ("..", ".") for part in folder.split("/")):
            raise ValueError(f"GGNET_MANIFESTS: the folder {folder!r} leaves the repository")
        return cls(url, ref or "HEAD", folder)

    @property
    def local(self) -> Path | None:
        path = Path(self.url.removeprefix("file://"))
        return path if path.is_absolute() else None


def masked(url: str) -> str:
    """The URL without what may be a password."""
    return re.sub(r"(?<=://)[^/@]*@", "***@", url)


def is_repository(path: Path) -> bool:
    """Whether a folder is a git repository (bare or not) rather than a folder of manifests."""
    return any(
        (path / head).is_file() and (path / objects).is_dir()
        for head, objects in (("HEAD", "objects"), (".git/HEAD", ".git/objects"))
    )


@dataclass(frozen=True, slots=True)
class _Store:
    """Where git finds objects, as what, and what names the commit that is wanted."""

    folder: Path
    environment: Mapping[str, str]
    commit: str


@dataclass(slots=True)
class GitSource:
    """Reads one ref of one repository; what that takes is kept below ``state``."""

    address: GitAddress
    state: Path
    poll_seconds: float
    name: str = field(init=False)
    _mirror: Path = field(init=False)
    _whole: bool = field(init=False, default=False)
    _store: _Store = field(init=False)

    def __post_init__(self) -> None:
        self.name = masked(self.address.url)
        self._mirror = self.state / "sources" / (hashlib.sha256(self.address.url.encode()).hexdigest()[:16] + ".git")

    async def read(self) -> Snapshot:
        try:
            found = await to_thread.run_sync(self._found)
            self._store = found or await self._fetch()
            head = await self._git("log", "-1", "--format=%H%x00%an <%ae>%x00%s", self._store.commit)
            sha, author, message = head.decode(errors="replace").split("\0", 2)
            files = await self._files(sha)
        except CommandError as error:
            self._whole = False
            raise SourceError(f"{self.name} {self.address.ref}: {masked(str(error))}") from error
        return Snapshot(sha, author.strip(), message.strip(), files)

    async def watch(self, wake: Callable[[], None]) -> None:
        local = self.address.local
        heads = [] if local is None else [local / "refs", local / ".git/refs"]
        await hints([path for path in heads if path.is_dir()], self.poll_seconds, wake)

    def _found(self) -> _Store | None:
        """The repository's own objects, if it lies here and can be read by hand."""
        found = self.address.local and git_local.find(self.address.local, self.address.ref)
        if not found:
            return None
        try:
            reader = git_local.reader(self._mirror.with_name("reader.git"))
        except OSError:
            return None
        return _Store(reader, {"GIT_ALTERNATE_OBJECT_DIRECTORIES": str(found.objects)}, found.sha)

    async def _fetch(self) -> _Store:
        """A mirror of an earlier process, or one that git has failed in, is made anew: a git that was killed leaves its
        lock behind, and half-written objects, for ever. There is nothing in it that cannot be fetched again."""
        if not self._whole:
            await to_thread.run_sync(partial(shutil.rmtree, self._mirror, ignore_errors=True))
            self._mirror.parent.mkdir(parents=True, exist_ok=True)
            done = await run(
                ["git", "init", "--quiet", "--bare", "--template=", str(self._mirror)], timeout=_READ_SECONDS, env=_QUIET
            )
            done.check()
            self._whole = True
        self._store = _Store(self._mirror, {}, "FETCH_HEAD")
        options = ("--quiet", "--no-tags", "--no-auto-maintenance", "--depth=1", "--force")
        await self._git("fetch", *options, "--", self.address.url, self.address.ref, seconds=_FETCH_SECONDS)
        return self._store

    async def _files(self, sha: str) -> Mapping[str, bytes]:
        listing = await self._git(
            "ls-tree", "-r", "-z", "-l", "--full-tree", sha, *([f"{self.address.folder}/"] if self.address.folder else [])
        )
        wanted: dict[str, str] = {}
        for row in listing.decode(errors="surrogateescape").split("\0"):
            if not row:
                continue
            described, _, path = row.partition("\t")
            mode, kind, blob, size = described.split()
            if not is_manifest(path):
                continue
            if mode not in ("100644", "100755") or kind != "blob":
                raise SourceError(f"{self.name}: {path!r} is a symlink or a submodule; a manifest is a plain file")
            if not size.isdecimal():  # git says BAD
                raise SourceError(f"{self.name}: object {blob} of {path!r} could not be read whole")
            if int(size) > MAX_FILE_BYTES:
                raise SourceError(f"{self.name}: {path!r} has {size} bytes; a manifest file has at most {MAX_FILE_BYTES}")
            wanted[path] = blob
        if not wanted and self.address.folder and not listing:
            raise SourceError(f"{self.name}: there is no folder {self.address.folder!r} at {sha[:12]}")
        return dict(zip(wanted, await self._blobs(list(wanted.values())), strict=True))

    async def _blobs(self, blobs: list[str]) -> list[bytes]:
        if not blobs:
            return []
        answer = await self._git("cat-file", "--batch", stdin="".join(f"{blob}\n" for blob in blobs).encode())
        contents, at = [], 0
        for blob in blobs:
            end = answer.find(b"\n", at)
            head = answer[at:end].split()
            if len(head) != 3 or head[0].decode() != blob or head[1] != b"blob":
                self._whole = False
                raise SourceError(f"{self.name}: object {blob} could not be read whole")
            size = int(head[2])
            contents.append(answer[end + 1 : end + 1 + size])
            if len(contents[-1]) != size:
                self._whole = False
                raise SourceError(f"{self.name}: object {blob} was cut short")
            at = end + 1 + size + 1
        return contents

    async def _git(self, *arguments: str, stdin: bytes = b"", seconds: float = _READ_SECONDS) -> bytes:
        argv = ["git", f"--git-dir={self._store.folder}", *arguments]
        return (await run(argv, timeout=seconds, env={**_QUIET, **self._store.environment}, input=stdin)).check().out
