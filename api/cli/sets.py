"""Sets of manifests: ``validate``, ``plan``, ``apply``."""

import json
import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from api.cli import client, files, kinds, options, output, planview, waiting
from api.cli.failure import CHANGES, INVALID, Failure

if TYPE_CHECKING:
    from manifests.load import Loaded

Paths = Annotated[
    list[str], typer.Argument(metavar="PATH", help="Files, folders, or - for standard input.", show_default=False)
]
From = Annotated[
    list[str], typer.Option("-f", "--file", metavar="PATH", help="File, folder, or -; may stand again.", show_default=False)
]
FromAny = Annotated[
    list[str] | None,
    typer.Option("-f", "--file", metavar="PATH", help="Over what is stored; may stand again.", show_default=False),
]


def validate(paths: Paths) -> None:
    """Check manifests offline: no server is asked.

    Everything that is wrong is told, with file and line. What they refer to must be among them.

    Examples:

      ggnet validate manifests/

      cat *.yaml | ggnet validate -
    """
    from manifests.references import check

    loaded = _load(paths)
    if problems := check(loaded.objects, loaded.origins):
        raise _invalid([str(problem) for problem in problems])
    count = len(loaded.objects)
    output.line(f"{count} {'object' if count == 1 else 'objects'}, all valid")


def plan(
    file: FromAny = None,
    detailed: Annotated[
        bool, typer.Option("--detailed-exitcode", help="2 when there is something to do, 0 when not.")
    ] = False,
    form: options.Json = None,
) -> None:
    """Show what would be done, in order, with its cause and what a running PC feels of it.

    Examples:

      ggnet plan

      ggnet plan -f manifests/ --detailed-exitcode

      ggnet plan -f pc07.yaml -o json | jq '.steps[].effect'
    """
    loaded = _some(file) if file else None
    answer = _refer(loaded, "/plan", **({"content": _body(loaded)} if loaded else {}))
    if form is not None:
        output.as_json(answer)
    else:
        planview.show(answer)
    if detailed and answer["steps"]:
        raise typer.Exit(CHANGES)


def apply(
    file: From,
    dry_run: options.DryRun = False,
    wait: Annotated[bool, typer.Option("--wait", help="Until all of it is Ready.")] = False,
    timeout: options.Timeout = "120s",
    force: options.Force = False,
) -> None:
    """Submit manifests, as one transaction: all of them or none.

    Examples:

      ggnet apply -f manifests/

      ggnet apply -f pc07.yaml --wait --timeout 30s

      cat pc07.yaml | ggnet apply -f - --dry-run
    """
    deadline = time.monotonic() + options.seconds(timeout)
    loaded = _some(file)
    query = {"dryRun": "true" if dry_run else None, "force": "true" if force else None}
    answer = _refer(loaded, "/apply", content=_body(loaded), params=query)
    suffix = options.dry(dry_run)
    for verb in ("created", "changed", "deleted"):
        for key in answer[verb]:
            output.line(f"{key} {verb}{suffix}")
    if answer["unchanged"]:
        output.line(f"{answer['unchanged']} unchanged{suffix}")
    if wait and not dry_run:
        _wait([one.key for one in loaded.objects], deadline)


def _wait(keys: list[str], deadline: float) -> None:
    connection = client.connect()
    for key in keys:
        waiting.until(connection, kinds.parse_one(key), waiting.Goal("condition", "Ready", "True"), deadline)
        output.line(f"{key} ready")


def _load(paths: list[str]) -> "Loaded":
    from manifests.load import Invalid, load

    try:
        return load(files.read(paths))
    except Invalid as error:
        raise _invalid([str(problem) for problem in error.problems]) from None


def _some(paths: list[str]) -> "Loaded":
    """As ``_load``, of what is to be sent. Failure, also if there is nothing in it."""
    loaded = _load(paths)
    if not loaded.objects:
        raise Failure(f"{output.clean(', '.join(paths))}: no manifest in it", INVALID, remedy="is all of it a comment?")
    return loaded


def _body(loaded: "Loaded") -> bytes:
    """As a list, with the resourceVersions that were written down, so that the server can say what has moved on."""
    documents: list[dict[str, Any]] = []
    for one in loaded.objects:
        wire = one.wire()
        if one.key in loaded.expect:
            wire["metadata"]["resourceVersion"] = str(loaded.expect[one.key])
        documents.append(wire)
    return json.dumps(documents).encode()


def _refer(loaded: "Loaded | None", path: str, **request: Any) -> Any:
    """Asks the server; what it finds wrong is told with the file and line that it came from. Failure."""
    try:
        return client.connect().post(path, headers={"Content-Type": "application/json"}, **request)
    except client.Refusal as refusal:
        places = {f"{key}": f"{file}:{line}: " for key, (file, line) in (loaded.origins if loaded else {}).items()}
        lines = [places.get(str(one.get("object")), "") + client.problem_line(one) for one in refusal.errors]
        raise _invalid(lines) if refusal.code == INVALID and lines else refusal from None


def _invalid(lines: list[str]) -> Failure:
    count = len(lines)
    return Failure(f"not valid: {count} {'problem' if count == 1 else 'problems'}", INVALID, lines=tuple(lines))
