"""PATH… as people give it: files, folders, ``-`` for standard input."""

import sys
from pathlib import Path

from api.cli.failure import ERROR, USAGE, Failure

_MOST = 64 << 20


def read(paths: list[str]) -> dict[str, bytes]:
    """File name -> bytes: of a folder all manifests below it, of ``-`` what is piped in. Failure."""
    found: dict[str, bytes] = {}
    for text in paths:
        if text == "-":
            found["<stdin>"] = sys.stdin.buffer.read(_MOST + 1)
        else:
            for path in _files(Path(text)):
                found[str(path)] = _bytes(path)
    if sum(map(len, found.values())) > _MOST:
        raise Failure(f"more than {_MOST >> 20} MiB of manifests", USAGE, remedy="is this the right folder?")
    return found


def _files(path: Path) -> list[Path]:
    from manifests.load import is_manifest

    if not path.exists():
        raise Failure(f"{path} does not exist", USAGE, remedy="give a file, a folder, or - for standard input")
    if not path.is_dir():
        return [path]
    found = sorted(one for one in path.rglob("*") if is_manifest(one.relative_to(path).as_posix()) and one.is_file())
    if not found:
        raise Failure(f"{path} holds no manifests", USAGE, remedy="manifests end in .yaml, .yml or .json")
    return found


def _bytes(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_MOST + 1)
    except OSError as error:
        raise Failure(f"{path} cannot be read: {error.strerror}", ERROR) from None
