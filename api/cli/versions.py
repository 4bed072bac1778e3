"""An image's versions: ``image versions``, ``image diff``, ``image promote``, ``image rollback``."""

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from api.cli import client, kinds, options, output
from api.cli.failure import INVALID, NOT_FOUND, Failure
from api.cli.kinds import Ref

_STABLE = "stable"
Name = Annotated[str, typer.Argument(metavar="IMAGE", help="The Image's name.", show_default=False)]
Pinned = Annotated[str, typer.Argument(metavar="IMAGE@vN", help="One of its versions.", show_default=False)]
Channel = Annotated[str, typer.Option("--channel", help="Which pointer is moved.")]


def versions(name: Name, form: options.Json = None) -> None:
    """Show the versions of an image, which channels point at them, and what keeps each from being collected.

    Example:

      ggnet image versions win11
    """
    connection, ref = client.connect(), kinds.one_of(("images",), name)
    item = connection.get(ref.path)
    found = item.get("status", {}).get("versions", [])
    if form is options.PlanFormat.JSON:
        output.as_json({"items": found})
        return
    channels = item["spec"].get("channels", {})
    rows = []
    for one in reversed(found):
        pointing = sorted(channel for channel, version in channels.items() if version == f"v{one['version']}")
        rows.append(
            [
                f"v{one['version']}",
                ",".join(pointing),
                f"{one['size'] >> 20} MiB",
                one.get("format", ""),
                one["sha256"][:12],
                output.age(one.get("madeAt"), connection.now),
                one.get("lastUsed", ""),
                _kept(one),
                one.get("madeBy", ""),
                one.get("comment", ""),
            ]
        )
    if rows:
        headers = ["VERSION", "CHANNELS", "SIZE", "FROM", "SHA256", "AGE", "LAST USED", "KEPT BY", "BY", "COMMENT"]
        output.table(headers, rows)
    else:
        output.note(f"image/{ref.name} has no version yet: ggnet why image/{ref.name}")


def diff(one: Pinned, other: Pinned) -> None:
    """Show what differs between two versions of an image.

    Example:

      ggnet image diff win11@v2 win11@v3
    """
    connection = client.connect()
    left, right = (_version(connection, *_parsed(text)) for text in (one, other))
    lines = [
        f"{field}: {left.get(field, '(none)')} -> {right.get(field, '(none)')}"
        for field in ("sha256", "size", "format", "remark", "madeAt", "madeBy", "parent", "comment")
        if left.get(field) != right.get(field)
    ]
    same = left["sha256"] == right["sha256"]
    output.line("the same content" if same else "different content")
    for line in lines:
        output.line(line)


def promote(
    version: Pinned, channel: Channel = _STABLE, force: options.Force = False, dry_run: options.DryRun = False
) -> None:
    """Point a channel at a version: sessions that start from now on get it, those that run keep theirs.

    Sessions whose image is a bare name follow the channel stable, where the image has it.

    Examples:

      ggnet image promote win11@v3

      ggnet image promote win11@v4 --channel beta
    """
    connection = client.connect()
    ref, number = _parsed(version)
    _version(connection, ref, number)
    _point(connection, ref, channel, number, force=force, dry_run=dry_run)


def rollback(name: Name, channel: Channel = _STABLE, force: options.Force = False, dry_run: options.DryRun = False) -> None:
    """Point a channel back at the version that it pointed at before. No running PC is touched.

    Examples:

      ggnet image rollback win11

      ggnet image rollback win11 --channel beta
    """
    connection, ref = client.connect(), kinds.one_of(("images",), name)
    item = connection.get(ref.path)
    status = item.get("status", {})
    there = [one["version"] for one in status.get("versions", [])]
    told = status.get("channels", {}).get(channel, {})
    pointed = item["spec"].get("channels", {}).get(channel)
    current = int(pointed[1:]) if pointed else told.get("version") or max(there, default=0)
    # What was moved since the controller last looked pointed at what it has seen.
    before = told.get("previous" if told.get("version") == current else "version")
    wanted = before if before in there else max((version for version in there if version < current), default=None)
    if wanted is None:
        remedy = f"ggnet image versions {ref.name}"
        raise Failure(f"image/{ref.name} has no version before v{current}", NOT_FOUND, remedy=remedy)
    _point(connection, ref, channel, wanted, force=force, dry_run=dry_run)


def _kept(one: Mapping[str, Any]) -> str:
    """What keeps it; where that is nothing but its last use, for how long."""
    after = one.get("collectedAfter")
    return ", ".join(one.get("keptBy", [])) or (f"its last use, until {after}" if after else "")


def _parsed(text: str) -> tuple[Ref, int]:
    """Failure."""
    from manifests.versions import ImageRef

    name, at, version = text.partition("@")
    ref = kinds.one_of(("images",), name)
    try:
        parsed = ImageRef.parse(f"{ref.name}{at}{version}")
    except ValueError as error:
        raise Failure(str(error), INVALID) from None
    if parsed.version is None:
        raise Failure(f"{output.clean(text)} names no version", INVALID, remedy=f"write it like {ref.name}@v3")
    return ref, parsed.version


def _version(connection: client.Client, ref: Ref, number: int) -> dict[str, Any]:
    """Failure."""
    found = connection.get(ref.path).get("status", {}).get("versions", [])
    for one in found:
        if one["version"] == number:
            return dict(one)
    has = ", ".join(f"v{one['version']}" for one in found) or "none"
    raise Failure(f"image/{ref.name} has no version v{number}, it has {has}", NOT_FOUND)


def _point(connection: client.Client, ref: Ref, channel: str, number: int, *, force: bool, dry_run: bool) -> None:
    patch = {"spec": {"channels": {channel: f"v{number}"}}}
    parameters = {"force": "true" if force else None, "dryRun": "true" if dry_run else None}
    connection.call("PATCH", ref.path, json=patch, params=parameters)
    output.line(f"image/{ref.name}: {channel} -> v{number}{options.dry(dry_run)}")
