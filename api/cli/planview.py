"""A plan as people read it: numbered, in order, with what changes, why, and what a running PC feels of it."""

from collections.abc import Mapping
from typing import Any

import typer

from api.cli.output import clean, line, paint

_VERBS = {
    "ImportImage": ("+", "import image"),
    "DeleteVersion": ("-", "delete version"),
    "NoteUse": ("~", "note use of"),
    "ReleaseVersion": ("~", "note whether its Image is declared of"),
    "CreateOverlay": ("+", "create disk"),
    "ActivateOverlay": ("~", "activate disk"),
    "CommitOverlay": ("+", "commit disk"),
    "DeleteOverlay": ("-", "delete disk"),
    "DiscardSource": ("-", "remove source"),
    "PublishTarget": ("~", "publish target"),
    "WithdrawTarget": ("-", "withdraw target"),
    "WriteBootFile": ("~", "write boot file"),
    "DeleteBootFile": ("-", "delete boot file"),
    "LoadDhcp": ("~", "load dhcpd"),
}
_SYMBOL = {"+": "Ready", "-": "False", "~": "Pending"}


def show(answer: Mapping[str, Any]) -> None:
    steps = answer["steps"]
    for number, step in enumerate(steps, 1):
        _step(number, step)
    for one in answer.get("waits", ()):
        typer.echo(f"    {paint('waits', 'Pending')} {clean(one['object'])}: {clean(one['message'])}")
    held = sum(1 for step in steps if step.get("held"))
    count = len(steps)
    total = f"{count} {'step' if count == 1 else 'steps'}" + (f", {held} held" if held else "")
    seen = f"; observed {answer['observedSecondsAgo']}s ago" if "observedSecondsAgo" in answer else ""
    line(f"{total if steps else 'nothing to do'}{seen}")


def _step(number: int, step: Mapping[str, Any]) -> None:
    sign, verb = _VERBS.get(step["action"], ("~", step["action"]))
    head = f"{number:>3} {paint(sign, _SYMBOL[sign])} {verb} {clean(step['subject'])}"
    typer.echo(f"{head}  [{paint(step['effect'])}]  {clean(step['cause'])}")
    for change in step["changes"]:
        before, after = (_value(change[side]) for side in ("before", "after"))
        line(f"      {change['field']}: {before} -> {after}")
    if step.get("held"):
        typer.echo(f"      {paint('held', 'Pending')}: {clean(step['held'])}")


def _value(text: str | None) -> str:
    return "(absent)" if text is None else text
