"""What happened, and what is in the way: ``events``, ``history``, ``drift``, ``why``."""

from typing import Annotated, Any

import typer

from api.cli import client, kinds, options, output, planview
from api.cli.failure import Failure

_OLDER = 3
Limit = Annotated[int, typer.Option("--limit", min=1, max=1000, help="How many, at most.")]


def events(
    what: Annotated[
        list[str] | None,
        typer.Argument(metavar="KIND/NAME", help="Of one object.", autocompletion=kinds.complete, show_default=False),
    ] = None,
    form: options.Json = None,
    limit: Limit = 50,
) -> None:
    """Show what happened, the oldest first.

    Examples:

      ggnet events

      ggnet events session/pc07 -o json
    """
    key = kinds.parse_one(kinds.joined(what)).key if what else None
    connection = client.connect()
    found = connection.get("/events", object=key, limit=limit)["items"]
    if form is not None:
        output.as_json({"items": found})
    elif not found:
        output.note("no events")
    else:
        _event_table(found, connection)


def history(
    approve: Annotated[
        str | None, typer.Option("--approve", metavar="SHA", help="Let a revision through that the prune guard held.")
    ] = None,
    form: options.Json = None,
    limit: Limit = 20,
    dry_run: options.DryRun = False,
) -> None:
    """Show the revisions of the sources, the newest first: commit, author, verdict, and what was wrong with it.

    Examples:

      ggnet history

      ggnet history --approve 4f2a91c
    """
    connection = client.connect()
    if approve is not None:
        if not approve.isalnum() or not approve.isascii():
            raise Failure(f"{ascii(approve)[:60]} is not a revision", 2, remedy="see ggnet history")
        done = connection.post(f"/revisions/{approve}/approve", params={"dryRun": "true" if dry_run else None})
        output.line(f"revision {done['sha'][:12]} of {done['source']} approved{options.dry(dry_run)}")
        return
    found = connection.get("/revisions", limit=limit)["items"]
    if form is not None:
        output.as_json({"items": found})
        return
    if not found:
        output.note("no revisions: is GGNET_MANIFESTS set for the daemon?")
        return
    rows = [_revision(one, connection) for one in found]
    output.table(["REVISION", "VERDICT", "AGE", "CONVERGED", "AUTHOR", "MESSAGE"], rows)
    _problems(found)


def drift(form: options.Json = None) -> None:
    """Show what differs now between what is wanted and what is there, and what was put right lately.

    Examples:

      ggnet drift

      ggnet drift -o json
    """
    connection = client.connect()
    answer = connection.get("/drift")
    if form is not None:
        output.as_json(answer)
        return
    planview.show(answer)
    for one in answer["overridden"]:
        how = "deleted" if one["deleted"] else "changed"
        until = "until it is resumed" if one["suspended"] else "until the source's next reading"
        output.line(f"{one['object']} overridden: {how} by {one['by']}, against source {one['source']}, {until}")
    if answer["events"]:
        output.line("")
        _event_table(answer["events"], connection)


def why(what: options.Object, form: options.Json = None) -> None:
    """Show the first thing that is in the way of an object, and what to do about it.

    Example:

      ggnet why session/pc07
    """
    ref = kinds.parse_one(kinds.joined(what))
    answer = client.connect().get(f"{ref.path}/why")
    if form is not None:
        output.as_json(answer)
        return
    output.line(answer["why"])


def _event_table(found: list[Any], connection: client.Client) -> None:
    rows = [
        [
            output.age(one["last"], connection.now),
            one["type"],
            one["reason"],
            one["object"],
            str(one["count"]),
            one["message"],
        ]
        for one in reversed(found)
    ]
    output.table(["LAST", "TYPE", "REASON", "OBJECT", "COUNT", "MESSAGE"], rows)


def _revision(one: Any, connection: client.Client) -> list[str]:
    took = f"{one['seconds']:.1f}s" if "seconds" in one else ""
    verdict = one["verdict"] + (", approved" if one["approved"] else "")
    message = one["message"].splitlines()[0] if one["message"] else ""
    return [one["sha"][:12], verdict, output.age(one["receivedAt"], connection.now), took, one["author"], message]


def _problems(found: list[Any]) -> None:
    """All of each source's newest revision, the first few of those before it, none of what was let through."""
    seen: set[str] = set()
    for one in found:
        problems = [] if one["approved"] else one["problems"]
        shown = problems[:_OLDER] if one["source"] in seen else problems
        seen.add(one["source"])
        for problem in shown:
            output.line(f"{one['sha'][:12]}  {_problem(problem)}")
        if more := len(problems) - len(shown):
            output.line(f"{one['sha'][:12]}  and {more} more: ggnet history -o json")


def _problem(problem: Any) -> str:
    place = ":".join(str(problem[part]) for part in ("file", "line") if problem.get(part))
    return f"{place}: {client.problem_line(problem)}" if place else client.problem_line(problem)
