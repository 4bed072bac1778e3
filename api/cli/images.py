"""Disk images on their way in: ``image upload``, ``image uploads``, ``image discard``."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from api.cli import client, options, output, uploading
from api.cli.failure import INVALID, Failure

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

image = typer.Typer(no_args_is_help=True, help="Disk images on their way in.")
_TENTHS = 10


class Format(StrEnum):
    AUTO = "auto"
    RAW = "raw"
    QCOW2 = "qcow2"
    VHD = "vhd"
    VHDX = "vhdx"
    VMDK = "vmdk"


class System(StrEnum):
    WINDOWS = "windows"
    LINUX = "linux"
    OTHER = "other"


@image.command()
def upload(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The disk image.", show_default=False)],
    name: Annotated[str, typer.Option("--name", help="The Image that it becomes.", show_default=False)],
    format: Annotated[Format, typer.Option("--format", help="What FILE is; auto: its contents tell.")] = Format.AUTO,
    os: Annotated[
        System | None, typer.Option("--os", help="What is installed on it. Default: as the Image says.", show_default=False)
    ] = None,
    retry: Annotated[str, typer.Option("--retry", metavar="DURATION", help="How long to wait for a server.")] = "10m",
) -> None:
    """Upload a disk image, and make an Image of it.

    When the line breaks or the daemon restarts, it goes on by itself; ended, the same command goes on where it stood.

    Examples:

      ggnet image upload win11.vhdx --name win11 --os windows

      ggnet image upload debian.qcow2 --name debian --os linux --retry 2h
    """
    from manifests.types import Name

    patience = options.seconds(retry)
    try:
        Name.parse(name)
    except ValueError as error:
        raise Failure(f"--name: {error}", INVALID) from None
    source, connection = uploading.Source.of(file), client.connect()
    found = uploading.begun(connection, source) or uploading.begin(connection, source)
    if not found["complete"]:
        _sent(connection, source, found, patience)
    output.line(f"{file} is on the server (upload {found['id']})")
    said = {} if os is None else {"os": str(os)}
    _declare(connection, name, {"source": {"upload": found["id"]}, "format": str(format), **said})
    output.line(f"next: ggnet wait image/{name} --for condition=Ready, then ggnet start MACHINE --image {name}")


@image.command()
def uploads(
    everybody: Annotated[bool, typer.Option("--all", help="For administrators: those of all users.")] = False,
    form: options.Json = None,
) -> None:
    """Show uploads, how far they are, and until when they are kept.

    Examples:

      ggnet image uploads

      ggnet image uploads --all -o json
    """
    connection, items, token = client.connect(), list[Any](), None
    while True:
        params = {"everybody": "true" if everybody else None, "continue": token}
        page = connection.get("/uploads", **params)
        items += page["items"]
        token = page["metadata"].get("continue")
        if token is None:
            break
    if form is not None:
        output.as_json({"items": items})
    elif not items:
        output.note("no uploads")
    else:
        output.table(["ID", "FILE", "SIZE", "DONE", "AGE", "KEPT UNTIL", "OWNER"], [_row(one, connection) for one in items])


@image.command()
def discard(
    upload: Annotated[str, typer.Argument(metavar="ID", help="As ggnet image uploads shows it.", show_default=False)],
) -> None:
    """Remove an upload with its bytes.

    Example:

      ggnet image discard 4f2a91c07d3e4b58a6c1f09e2d7b3a65
    """
    uploading.discard(client.connect(), upload)
    output.line(f"upload {upload} is gone")


def _sent(connection: client.Client, source: uploading.Source, found: Any, patience: float) -> None:
    """Failure; who presses Ctrl-C hears how to go on."""
    if found["offset"]:
        output.note(f"{source.path} goes on at {_bytes(found['offset'])} (upload {found['id']})")
    with _shown(source) as shown:
        try:
            uploading.Upload(connection, source, found, shown, patience).send()
        except (KeyboardInterrupt, client.Unreachable):
            output.note(f"upload {found['id']} is kept: run the same command to go on, or ggnet image discard {found['id']}")
            raise


def _declare(connection: client.Client, name: str, spec: dict[str, Any]) -> None:
    """Makes the Image, or gives the one that is there this source; its comment was on the source before. Failure."""
    answer = connection.exchange("GET", f"/images/{name}")
    if answer.status_code == 404:
        manifest: dict[str, Any] = {"apiVersion": "ggnet/v1", "kind": "Image", "metadata": {"name": name}, "spec": spec}
        connection.call("PUT", f"/images/{name}", json=manifest, headers={"If-None-Match": "*"})
        output.line(f"image/{name} created")
        return
    if not answer.is_success:
        raise client.failure(answer)
    there = answer.json()
    before = there["spec"]
    if before["source"] != spec["source"]:
        before.pop("comment", None)
    metadata = {key: there["metadata"][key] for key in ("name", "labels", "annotations") if key in there["metadata"]}
    changed = {
        "apiVersion": there["apiVersion"],
        "kind": there["kind"],
        "metadata": metadata,
        "spec": {**before, **spec},
    }
    connection.call("PUT", f"/images/{name}", json=changed, headers={"If-Match": answer.headers["ETag"]})
    output.line(f"image/{name} changed")


def _row(one: Any, connection: client.Client) -> list[str]:
    done = "all" if one["complete"] else f"{100 * one['offset'] // max(1, one['length'])}%"
    kept = one["expiresAt"][:16].replace("T", " ") if "expiresAt" in one else "imported, or discarded"
    return [
        one["id"],
        one["filename"],
        _bytes(one["length"]),
        done,
        output.age(one["createdAt"], connection.now),
        kept,
        one["owner"],
    ]


@contextmanager
def _shown(source: uploading.Source) -> Iterator[uploading.Shown]:
    """A bar on a terminal, else a line for each tenth."""
    if not sys.stderr.isatty():
        yield _Lines(source)
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    columns = (BarColumn(), DownloadColumn(binary_units=True), TransferSpeedColumn(), TimeRemainingColumn())
    with Progress(TextColumn("{task.description}", markup=False), *columns, console=Console(stderr=True)) as progress:
        yield _Bar(progress, progress.add_task(output.clean(source.path.name), total=source.size))


class _Bar:
    def __init__(self, progress: "Progress", task: "TaskID") -> None:
        self._progress, self._task = progress, task

    def at(self, offset: int) -> None:
        self._progress.update(self._task, completed=offset)

    def waits(self, why: str, seconds: float) -> None:
        self._progress.console.print(output.clean(f"{why}; trying again in {seconds:g} s"), markup=False, highlight=False)


class _Lines:
    def __init__(self, source: uploading.Source) -> None:
        self._source, self._began, self._told, self._first = source, time.monotonic(), -1, -1

    def at(self, offset: int) -> None:
        self._first = offset if self._first < 0 else self._first
        tenth = _TENTHS * offset // self._source.size
        if tenth <= self._told:
            return
        self._told, taken = tenth, time.monotonic() - self._began
        rate = f", {_bytes((offset - self._first) / taken)}/s" if offset > self._first and taken > 0 else ""
        sizes = f"{_bytes(offset)} of {_bytes(self._source.size)}"
        output.note(f"{self._source.path.name}: {100 * offset // self._source.size} % ({sizes}{rate})")

    def waits(self, why: str, seconds: float) -> None:
        output.note(f"{why}; trying again in {seconds:g} s")


def _bytes(number: float) -> str:
    for unit in ("B", "KiB", "MiB", "GiB"):
        if number < 1024:
            return f"{number:.0f} {unit}" if unit == "B" else f"{number:.1f} {unit}"
        number /= 1024
    return f"{number:.1f} TiB"
