"""A plan as plain values, for the API and the command; and each step in words."""

from typing import Any

from controller.core.names import golden
from controller.core.steps import (
    Action,
    ActivateOverlay,
    CommitOverlay,
    CreateOverlay,
    DeleteBootFile,
    DeleteOverlay,
    DeleteVersion,
    DiscardSource,
    ImportImage,
    LoadDhcp,
    NoteUse,
    Plan,
    PublishTarget,
    ReleaseVersion,
    Step,
    WithdrawTarget,
    WriteBootFile,
)

DOMAIN = {
    "ImportImage": "pool",
    "DeleteVersion": "pool",
    "NoteUse": "pool",
    "ReleaseVersion": "pool",
    "CreateOverlay": "pool",
    "ActivateOverlay": "pool",
    "CommitOverlay": "pool",
    "DeleteOverlay": "pool",
    "DiscardSource": "pool",
    "PublishTarget": "lio",
    "WithdrawTarget": "lio",
    "WriteBootFile": "tftp",
    "DeleteBootFile": "tftp",
    "LoadDhcp": "dhcp",
}


def plan_wire(plan: Plan) -> dict[str, Any]:
    """``{"steps": [...], "due": n, "held": n, "waits": [{object, message}]}``; each step as ``step_wire``."""
    due = len(plan.due)
    waits = [{"object": key, "message": plan.waits[key]} for key in sorted(plan.waits)]
    return {"steps": [step_wire(step) for step in plan.steps], "due": due, "held": len(plan.steps) - due, "waits": waits}


def step_wire(step: Step) -> dict[str, Any]:
    """``action domain subject owners cause effect held changes``; ``changes`` as ``field before after``, null for absent."""
    name = type(step.action).__name__
    return {
        "action": name,
        "domain": DOMAIN[name],
        "subject": subject(step.action),
        "owners": sorted(step.owners),
        "cause": step.cause,
        "effect": step.effect.value,
        "held": step.held,
        "changes": [{"field": c.field, "before": c.before, "after": c.after} for c in step.changes],
    }


def subject(action: Action) -> str:
    """The external object that an action is about."""
    match action:
        case ImportImage() | DeleteVersion() | NoteUse() | ReleaseVersion():
            return golden(action.image, action.version)
        case CommitOverlay():
            return f"{action.name} as {golden(action.name.image, action.version)}"
        case CreateOverlay() | ActivateOverlay() | DeleteOverlay():
            return str(action.name)
        case PublishTarget():
            return action.target.iqn
        case WithdrawTarget():
            return action.iqn
        case WriteBootFile() | DeleteBootFile():
            return action.path
        case DiscardSource():
            return action.identity
        case LoadDhcp():
            return f"generation {action.generation}"


_WORDS = {
    "ImportImage": "import {}",
    "DeleteVersion": "delete version {}",
    "NoteUse": "note the use of {}",
    "ReleaseVersion": "note whether its Image is declared of {}",
    "CreateOverlay": "create overlay {}",
    "ActivateOverlay": "activate overlay {}",
    "CommitOverlay": "commit overlay {}",
    "DeleteOverlay": "delete overlay {}",
    "DiscardSource": "remove the source that is not needed any more: {}",
    "PublishTarget": "publish target {}",
    "WithdrawTarget": "withdraw target {}",
    "WriteBootFile": "write boot file {}",
    "DeleteBootFile": "withdraw boot file {}",
    "LoadDhcp": "load dhcpd with the DHCP include, {}",
}


def words(action: Action) -> str:
    """``publish target iqn...``"""
    return _WORDS[type(action).__name__].format(subject(action))


def text(plan: Plan) -> str:
    """The plan as lines of plain text: what is done, for whom, and each change below it. One line says that it is empty."""
    return "\n".join(line for step in plan.steps for line in _lines(step)) + "\n" if plan.steps else "nothing to do\n"


def _lines(step: Step) -> list[str]:
    mark = "~" if step.held is None else "!"
    effect = "" if step.effect.value == "none" else f" [{step.effect.value}]"
    head = f"{mark} {words(step.action)}{effect} (cause {step.cause}; {', '.join(sorted(step.owners)) or 'nobody'})"
    changes = [f"    {c.field}: {c.before or '(absent)'} -> {c.after or '(absent)'}" for c in step.changes]
    return [head, *([f"    held: {step.held}"] if step.held else []), *changes]
