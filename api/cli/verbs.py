"""The everyday verbs: ``start``, ``stop``, ``suspend``, ``resume``."""

import time
from typing import Annotated

import typer

from api.cli import client, kinds, options, output, waiting
from api.cli.kinds import Ref

Machine = Annotated[str, typer.Argument(metavar="MACHINE", help="The machine's name.", show_default=False)]


def start(
    machine: Machine,
    image: Annotated[
        str | None, typer.Option("--image", help="Image, or IMAGE@v3; default: what it ran last.", show_default=False)
    ] = None,
    persistence: Annotated[
        str | None, typer.Option("--persistence", help="ephemeral, keep or readonly.", show_default=False)
    ] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Until its disk is served.")] = False,
    timeout: options.Timeout = "120s",
    force: options.Force = False,
) -> None:
    """Let a machine boot an image from the network.

    Examples:

      ggnet start pc07 --image win11

      ggnet start pc07 --image win11@v3 --wait
    """
    deadline = time.monotonic() + options.seconds(timeout)
    ref = _session(machine)
    wanted = {key: value for key, value in (("image", image), ("persistence", persistence)) if value is not None}
    connection = client.connect()
    item = connection.post(f"{ref.path}/start", json=wanted, params={"force": "true" if force else None})
    output.line(f"{ref.key} starts {item['spec']['image']}")
    if wait:
        waiting.until(connection, ref, waiting.Goal("condition", "Ready", "True"), deadline)
        output.line(f"{ref.key} ready")


def stop(
    machine: Machine,
    force: Annotated[bool, typer.Option("--force", help="Cut its disk even while its PC runs.")] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Until it has stopped.")] = False,
    timeout: options.Timeout = "120s",
) -> None:
    """Stop a machine's session. While its PC runs it keeps its disk, and stops when it is shut down.

    Examples:

      ggnet stop pc07

      ggnet stop pc07 --force
    """
    deadline = time.monotonic() + options.seconds(timeout)
    ref = _session(machine)
    connection = client.connect()
    item = connection.post(f"{ref.path}/stop", params={"force": "true" if force else None})
    runs = item.get("status", {}).get("phase") == "Active" and not force
    output.line(f"{ref.key} stops" + (" when its PC is shut down (--force cuts it now)" if runs else ""))
    if wait:
        waiting.until(connection, ref, waiting.Goal("phase", value="Stopped"), deadline)
        output.line(f"{ref.key} stopped")


def suspend(what: options.Object) -> None:
    """Leave one object alone: it is neither changed nor repaired until it is resumed.

    Example:

      ggnet suspend machine/pc07
    """
    output.line(f"{_post(what, 'suspend').key} suspended")


def resume(what: options.Object) -> None:
    """Look after a suspended object again.

    Example:

      ggnet resume machine/pc07
    """
    output.line(f"{_post(what, 'resume').key} resumed")


def _post(what: str, verb: str) -> Ref:
    ref = kinds.parse_one(what)
    client.connect().post(f"{ref.path}/{verb}")
    return ref


def _session(machine: str) -> Ref:
    """A machine may be given as pc07 or machine/pc07."""
    return Ref("sessions", kinds.parse_one(machine if "/" in machine else f"machine/{machine}").name)
