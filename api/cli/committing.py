"""``session commit``: a kept disk becomes the next version of its image."""

import time
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Annotated, Any

import typer

from api.cli import client, kinds, options, output
from api.cli.failure import ERROR, GUARDED, TIMED_OUT, USAGE, Failure
from api.cli.kinds import Ref

session = typer.Typer(no_args_is_help=True, help="What a session's disks hold.")
_ENDS = ("Committed", "NothingKept", "BaseNotNewest", "DiskNotWhole", "CommitCancelled")
_POLL = 0.25


@session.callback()
def _group() -> None: ...


@session.command()
def commit(
    name: Annotated[str, typer.Argument(metavar="SESSION", help="The Session's name.", show_default=False)],
    disk: Annotated[str | None, typer.Option("--disk", help="Default: the one that boots.", show_default=False)] = None,
    comment: Annotated[str | None, typer.Option("--comment", help="What is new on it.", show_default=False)] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Until the version is made.")] = False,
    timeout: options.Timeout = "1h",
    cancel: Annotated[bool, typer.Option("--cancel", help="Call off the one that is not done.")] = False,
    dry_run: options.DryRun = False,
) -> None:
    """Make a new version of its image from what a session has kept. Its PC must be off, and gets the disk back afterwards.

    Examples:

      ggnet session commit pc07 --comment "office suite installed" --wait

      ggnet session commit pc07 --disk games

      ggnet session commit pc07 --cancel
    """
    wanted = {key: value for key, value in (("disk", disk), ("comment", comment)) if value is not None}
    if cancel and (wanted or wait):
        raise Failure("what is called off has no disk, no comment and no end to wait for", USAGE, remedy="leave these out")
    deadline = time.monotonic() + options.seconds(timeout)
    connection, ref = client.connect(), kinds.one_of(("sessions",), name)
    params = {"dryRun": "true" if dry_run else None}
    if cancel:
        connection.call("DELETE", f"{ref.path}/commit", params=params)
        output.line(f"the commit of {ref.key} is called off{options.dry(dry_run)}")
        return
    try:
        connection.post(f"{ref.path}/commit", json=wanted, params=params)
    except client.Refusal as refusal:
        if refusal.code == GUARDED:
            refusal.remedy = ""  # nothing forces a commit; what is to be done first, the message says
        raise
    began = connection.now
    output.line(f"{ref.key} is being committed: ggnet describe {ref.key}{options.dry(dry_run)}")
    if wait and not dry_run:
        output.line(_ended(connection, ref, began, deadline))


def _ended(connection: client.Client, ref: Ref, began: datetime, deadline: float) -> str:
    """How it went. Failure."""
    with output.progress() as tell:
        while (item := connection.get(ref.path))["metadata"].get("annotations", {}).get("ggnet/commit"):
            tell(f"{ref.key}: {_far(item)}")
            if time.monotonic() > deadline:
                remedy = f"it goes on; ggnet session commit {ref.name} --cancel calls it off"
                raise Failure(f"{ref.key} is not committed in time: {_far(item)}", TIMED_OUT, remedy=remedy)
            time.sleep(_POLL)
    told = connection.get("/events", object=ref.key, limit=20)["items"]
    since = began - timedelta(seconds=1)  # the header that tells the time has whole seconds
    ends = [one for one in told if one["reason"] in _ENDS and datetime.fromisoformat(one["last"]) >= since]
    if not ends:
        raise Failure(f"the commit of {ref.key} was taken back", ERROR, remedy="ggnet audit says by whom")
    last = max(ends, key=lambda one: datetime.fromisoformat(one["last"]))
    if last["reason"] != "Committed":
        raise Failure(f"{ref.key}: {last['message']}", ERROR, remedy=f"see ggnet describe {ref.key}")
    return f"{ref.key}: {last['message']}"


def _far(item: Mapping[str, Any]) -> str:
    conditions = item.get("status", {}).get("conditions", [])
    return next((one["message"] for one in conditions if one["type"] == "Committing"), "not looked at yet")
