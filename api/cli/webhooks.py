"""``ggnet webhook``: who is told of what, and what could not be told."""

import sys
import time
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from api.cli import client, kinds, options, output
from api.cli.failure import ERROR, USAGE, Failure

webhook = typer.Typer(no_args_is_help=True, help="Tell web servers and mailboxes what happens.")

_TEST_SECONDS = 20.0


class EventName(StrEnum):
    OBJECT_CHANGED = "object-changed"
    PHASE_CHANGED = "phase-changed"
    DRIFT = "drift"
    WARNING = "warning"
    REVISION = "revision"


class State(StrEnum):
    PENDING = "pending"
    DELIVERED = "delivered"
    DEAD = "dead"


Id = Annotated[str, typer.Argument(metavar="ID", help="As ggnet webhook list shows it.", show_default=False)]
SecretFile = Annotated[
    Path | None, typer.Option("--secret-file", metavar="FILE", help="Your own secret (whsec_...), - for standard input.")
]


@webhook.command()
def create(
    url: Annotated[str | None, typer.Argument(metavar="URL", help="Where to send.", show_default=False)] = None,
    mail: Annotated[str | None, typer.Option("--mail", metavar="ADDRESS", help="Send mail instead.")] = None,
    event: Annotated[list[EventName] | None, typer.Option("--event", help="What to tell; default: phase-changed.")] = None,
    kind: Annotated[list[str] | None, typer.Option("--kind", metavar="KIND", help="Of which kinds; default: all.")] = None,
    selector: Annotated[str, typer.Option("-l", "--selector", help="Only of objects with these labels.")] = "",
    secret_file: SecretFile = None,
    form: options.Json = None,
) -> None:
    """Create a webhook, and show its secret, this once.

    Examples:

      ggnet webhook create https://example.org/ggnet --event phase-changed --kind session -l room=main

      ggnet webhook create --mail operators@example.org --event drift --event warning
    """
    wanted: dict[str, Any] = {"kinds": [kinds.parse(one).kind for one in kind or ()], "labelSelector": selector}
    wanted |= {"url": url} if url is not None else {}
    wanted |= {"mail": mail} if mail is not None else {}
    wanted |= {"events": [one.value for one in event]} if event else {}
    made = client.connect().post("/webhooks", json={**wanted, **_secret(secret_file)})
    _reveal(made, form, "created")


@webhook.command("list")
def list_all(form: options.Json = None) -> None:
    """List the webhooks.

    Example:

      ggnet webhook list
    """
    connection = client.connect()
    found = connection.get("/webhooks")["items"]
    if form is not None:
        output.as_json({"items": found})
    elif not found:
        output.note("no webhooks")
    else:
        rows = [[one["id"], _state(one), ",".join(one["events"]), one["labelSelector"], _way(one)] for one in found]
        output.table(["ID", "STATE", "EVENTS", "SELECTOR", "TO"], rows)


@webhook.command()
def show(identifier: Id, form: options.Json = None) -> None:
    """Show one webhook.

    Example:

      ggnet webhook show 0d0c8f1e-6f0b-4a55-9d6e-1c1d6d1f6a10
    """
    found = client.connect().get(_path(identifier))
    if form is not None:
        output.as_json(found)
        return
    for name, value in found.items():
        output.line(f"{name}: {output.word(value)}")


@webhook.command()
def delete(identifier: Id) -> None:
    """Delete a webhook, and what is on its way to it.

    Example:

      ggnet webhook delete 0d0c8f1e-6f0b-4a55-9d6e-1c1d6d1f6a10
    """
    client.connect().call("DELETE", _path(identifier))
    output.line(f"webhook {identifier} deleted")


@webhook.command()
def enable(identifier: Id) -> None:
    """Go on sending, also to one that was switched off.

    Example:

      ggnet webhook enable 0d0c8f1e-6f0b-4a55-9d6e-1c1d6d1f6a10
    """
    client.connect().call("PATCH", _path(identifier), json={"enabled": True})
    output.line(f"webhook {identifier} enabled")


@webhook.command()
def disable(identifier: Id) -> None:
    """Send nothing for now; what is on its way waits.

    Example:

      ggnet webhook disable 0d0c8f1e-6f0b-4a55-9d6e-1c1d6d1f6a10
    """
    client.connect().call("PATCH", _path(identifier), json={"enabled": False})
    output.line(f"webhook {identifier} disabled")


@webhook.command()
def test(identifier: Id) -> None:
    """Send a test, and say what the receiver answered.

    Example:

      ggnet webhook test 0d0c8f1e-6f0b-4a55-9d6e-1c1d6d1f6a10
    """
    connection = client.connect()
    sent = connection.post(f"{_path(identifier)}/test")
    deadline = time.monotonic() + _TEST_SECONDS
    while sent["state"] == "pending" and time.monotonic() < deadline:
        time.sleep(0.2)
        sent = connection.get(f"{_path(identifier)}/deliveries/{sent['id']}")
    if sent["state"] == "delivered":
        output.line(f"delivered{': the receiver answered ' + str(sent['status']) if 'status' in sent else ''}")
    elif sent["state"] == "dead":
        raise Failure(f"not delivered: {sent['error']}", ERROR)
    else:
        raise Failure("not sent yet", ERROR, remedy="is an API process running? See ggnet webhook deliveries")


@webhook.command()
def deliveries(
    identifier: Id,
    state: Annotated[State | None, typer.Option("--state", help="Only these.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=1000, help="How many, at most.")] = 50,
    form: options.Json = None,
) -> None:
    """Show what was sent, waits, or could not be sent, the newest first.

    Example:

      ggnet webhook deliveries 0d0c8f1e-6f0b-4a55-9d6e-1c1d6d1f6a10 --state dead
    """
    connection = client.connect()
    found = connection.get(f"{_path(identifier)}/deliveries", state=state.value if state else None, limit=limit)["items"]
    if form is not None:
        output.as_json({"items": found})
    elif not found:
        output.note("no deliveries")
    else:
        rows = [
            [
                one["id"],
                one["state"],
                str(one["attempts"]),
                output.age(one["createdAt"], connection.now),
                one["event"],
                one["subject"],
                one.get("error", ""),
            ]
            for one in found
        ]
        output.table(["ID", "STATE", "TRIES", "AGE", "EVENT", "OBJECT", "ERROR"], rows)


@webhook.command()
def retry(
    identifier: Id, delivery: Annotated[str, typer.Argument(metavar="DELIVERY", help="Its id.", show_default=False)]
) -> None:
    """Send a dead letter again, with all its tries.

    Example:

      ggnet webhook retry 0d0c8f1e-6f0b-4a55-9d6e-1c1d6d1f6a10 msg_5f0c2d1b7a9e4c3f8b6d0a1e2c3f4b5a
    """
    sent = client.connect().post(f"{_path(identifier)}/deliveries/{_plain(delivery)}/retry")
    output.line(
        f"delivery {delivery} has arrived already" if sent["state"] == "delivered" else f"delivery {delivery} is due"
    )


@webhook.command("rotate-secret")
def rotate_secret(
    identifier: Id,
    overlap: Annotated[int, typer.Option("--overlap", min=0, max=720, help="Hours in which the old one signs too.")] = 24,
    secret_file: SecretFile = None,
    form: options.Json = None,
) -> None:
    """Give a webhook a new secret, and show it, this once.

    Example:

      ggnet webhook rotate-secret 0d0c8f1e-6f0b-4a55-9d6e-1c1d6d1f6a10 --overlap 48
    """
    body = {"overlapHours": overlap, **_secret(secret_file)}
    _reveal(client.connect().post(f"{_path(identifier)}/rotate-secret", json=body), form, "has a new secret")


def _reveal(made: Any, form: options.PlanFormat | None, what: str) -> None:
    if form is not None:
        output.as_json(made)
        return
    output.line(f"webhook {made['id']} {what}")
    output.line(f"secret: {made['secret']}")
    output.note("keep the secret now: it is not shown again")


def _secret(file: Path | None) -> dict[str, str]:
    """Failure."""
    if file is None:
        return {}
    try:
        text = sys.stdin.read() if str(file) == "-" else file.read_text("ascii")
    except (OSError, UnicodeDecodeError) as error:
        raise Failure(f"{file} cannot be read as a secret ({type(error).__name__})", USAGE) from None
    return {"secret": text.strip()}


def _path(identifier: str) -> str:
    return f"/webhooks/{_plain(identifier)}"


def _plain(identifier: str) -> str:
    """Failure, wrong usage."""
    if not identifier.isascii() or not identifier.replace("-", "").replace("_", "").isalnum():
        raise Failure(f"{ascii(identifier)[:60]} is not an id", USAGE, remedy="see ggnet webhook list")
    return identifier


def _state(one: Any) -> str:
    if not one["enabled"]:
        return "disabled"
    return "failing" if "failingSince" in one else "enabled"


def _way(one: Any) -> str:
    return str(one.get("url") or one.get("mail"))
