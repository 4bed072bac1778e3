"""The everyday verbs: ``start``, ``stop``, ``suspend``, ``resume``."""

import time
from collections.abc import Sequence
from typing import Annotated

import typer

from api.cli import client, kinds, many, options, output, waiting
from api.cli.columns import images
from api.cli.failure import USAGE, Failure
from api.cli.kinds import Ref
from api.cli.many import Asked

Machines = Annotated[list[str] | None, typer.Argument(metavar="MACHINE", help="The machines' names.", show_default=False)]
Selector = Annotated[
    str | None, typer.Option("-l", "--selector", help="All machines with these labels: room=main.", show_default=False)
]
Partial = Annotated[bool, typer.Option("--partial", help="Of several, do what can be done; else all or none.")]


def start(
    machines: Machines = None,
    selector: Selector = None,
    image: Annotated[
        str | None, typer.Option("--image", help="Image, or IMAGE@v3; default: what it ran last.", show_default=False)
    ] = None,
    disk: Annotated[
        list[str] | None,
        typer.Option("--disk", metavar="NAME=IMAGE", help="One of several disks; the first boots.", show_default=False),
    ] = None,
    persistence: Annotated[
        str | None, typer.Option("--persistence", help="ephemeral, keep or readonly.", show_default=False)
    ] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Until its disk is served.")] = False,
    timeout: options.Timeout = "120s",
    force: options.Force = False,
    partial: Partial = False,
    dry_run: options.DryRun = False,
) -> None:
    """Let machines boot an image from the network: one, several, or all with a label.

    Examples:

      ggnet start pc07 --image win11

      ggnet start pc07 --image win11@v3 --wait

      ggnet start pc07 --disk os=win11@stable --disk games=games@v2

      ggnet start -l room=main --image win11 --dry-run
    """
    deadline = time.monotonic() + options.seconds(timeout)
    given = (("image", image), ("disks", _disks(disk)), ("persistence", persistence))
    wanted = {key: value for key, value in given if value is not None}
    connection = client.connect()
    asked = Asked(_names(machines, selector), selector, force, partial, dry_run)
    if asked.names is not None and len(asked.names) == 1:
        ref = Ref("sessions", asked.names[0])
        item = connection.post(f"{ref.path}/start", json=wanted, params=asked.params)
        output.line(f"{ref.key} starts {images(item)}{options.dry(dry_run)}")
        going: Sequence[Ref] = [ref]
    else:
        going = many.do(connection, "start", asked, wanted)
    for ref in going if wait and not dry_run else ():
        waiting.until(connection, ref, waiting.Goal("condition", "Ready", "True"), deadline)
        output.line(f"{ref.key} ready")


def stop(
    machines: Machines = None,
    selector: Selector = None,
    force: Annotated[bool, typer.Option("--force", help="Cut its disk even while its PC runs.")] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Until it has stopped.")] = False,
    timeout: options.Timeout = "120s",
    partial: Partial = False,
    dry_run: options.DryRun = False,
) -> None:
    """Stop the sessions of machines. While its PC runs each keeps its disk, and stops when the PC is shut down.

    Examples:

      ggnet stop pc07

      ggnet stop pc07 --force

      ggnet stop -l room=main
    """
    deadline = time.monotonic() + options.seconds(timeout)
    connection = client.connect()
    asked = Asked(_names(machines, selector), selector, force, partial, dry_run)
    if asked.names is not None and len(asked.names) == 1:
        ref = Ref("sessions", asked.names[0])
        item = connection.post(f"{ref.path}/stop", params=asked.params)
        runs = item.get("status", {}).get("phase") == "Active" and not force
        until = " when its PC is shut down (--force cuts it now)" if runs else ""
        output.line(f"{ref.key} stops{until}{options.dry(dry_run)}")
        going: Sequence[Ref] = [ref]
    else:
        going = many.do(connection, "stop", asked, {})
    for ref in going if wait and not dry_run else ():
        waiting.until(connection, ref, waiting.Goal("phase", value="Stopped"), deadline)
        output.line(f"{ref.key} stopped")


def suspend(what: options.Object, dry_run: options.DryRun = False) -> None:
    """Leave one object alone: it is neither changed nor repaired until it is resumed.

    Example:

      ggnet suspend machine/pc07
    """
    output.line(f"{_post(what, 'suspend', dry_run).key} suspended{options.dry(dry_run)}")


def resume(what: options.Object, dry_run: options.DryRun = False) -> None:
    """Look after a suspended object again.

    Example:

      ggnet resume machine/pc07
    """
    output.line(f"{_post(what, 'resume', dry_run).key} resumed{options.dry(dry_run)}")


def _post(what: list[str], verb: str, dry_run: bool) -> Ref:
    ref = kinds.parse_one(kinds.joined(what))
    client.connect().post(f"{ref.path}/{verb}", params={"dryRun": "true" if dry_run else None})
    return ref


def _disks(words: list[str] | None) -> list[dict[str, str]] | None:
    """``os=win11@stable`` each. Failure, wrong usage."""
    if not words:
        return None
    pairs = [word.partition("=") for word in words]
    if wrong := next((word for word, (name, _, image) in zip(words, pairs, strict=True) if not name or not image), None):
        raise Failure(f"{output.clean(wrong)} is no disk", USAGE, remedy="write it like --disk os=win11@stable")
    return [{"name": name, "image": image} for name, _, image in pairs]


def _names(machines: list[str] | None, selector: str | None) -> list[str] | None:
    """Machines may be given as pc07, machine/pc07 or session/pc07. Failure, wrong usage."""
    if bool(machines) == (selector is not None):
        raise Failure(
            "say which machines: by name, or with -l", USAGE, remedy="ggnet start pc07, or ggnet start -l room=main"
        )
    if machines is None or selector is not None:
        return None
    return [kinds.one_of(("machines", "sessions"), one).name or "" for one in machines]
