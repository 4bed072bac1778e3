"""The work behind the bulk verbs: a session to be written for each machine, and what became of it.

All or none, unless what can be done is asked for: then what is refused is left out, as often as something is.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal, Self

from fastapi.responses import Response
from pydantic import ConfigDict, Field, model_validator

from api import once, permission, selectors, writes
from api.deps import Door, Principal
from api.errors import Forbidden, Managed, Refused
from api.once import Attempt
from api.verbs import Verb
from controller.ports.requests import Kept
from controller.ports.store import Applied, Conflict
from manifests.kinds import Object
from manifests.load import Invalid, Problem
from manifests.machine import Machine
from manifests.meta import Strict
from manifests.session import Session
from manifests.types import Name

Did = Literal["started", "stopped"]
_VERBS: Mapping[Did, Verb] = {"started": Verb.START, "stopped": Verb.STOP}
_TRIES = 5


class Chosen(Strict):
    """Either names, or a selector over the labels of machines."""

    model_config = ConfigDict(json_schema_extra={"example": {"labelSelector": "room=main"}})

    machines: Annotated[tuple[Name, ...], Field(min_length=1, max_length=10_000)] | None = None
    label_selector: Annotated[str, Field(min_length=1, max_length=4096)] | None = None

    @model_validator(mode="after")
    def _one_of_them(self) -> Self:
        if (self.machines is None) == (self.label_selector is None):
            raise ValueError("say either machines or labelSelector, and not both")
        return self


class Outcome(Strict):
    """What became of one machine. ``errorCode`` and ``message`` say why it was refused."""

    machine: str
    session: str | None = None
    outcome: Literal["started", "stopped", "unchanged", "refused"]
    error_code: str | None = None
    field: str | None = None
    message: str | None = None


class Outcomes(Strict):
    """By machine."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "items": [{"machine": "pc07", "session": "Session/pc07", "outcome": "started"}],
                "resourceVersion": 42,
                "dryRun": False,
            }
        }
    )

    items: tuple[Outcome, ...]
    resource_version: int
    dry_run: bool


@dataclass(frozen=True, slots=True)
class Draft:
    """One machine's session as it is to be, and as it was; ``after`` None when there is nothing to do for it."""

    machine: str
    before: Session | None = None
    after: Session | None = None


Make = Callable[[str, Sequence[Session]], Draft]
"""A machine's name and its sessions -> what is to become of them. Invalid."""


@dataclass(frozen=True, slots=True)
class Work:
    """All that one request asks for."""

    verb: Did
    chosen: Chosen
    make: Make
    force: bool
    dry_run: bool
    partial: bool


async def do(door: Door, who: Principal, work: Work, attempt: Attempt) -> Response:
    """Refused, Invalid, Conflict."""
    for left in reversed(range(_TRIES)):
        await door.mirror.fresh()
        drafts, refused = _drafts(door, who, work)
        try:
            return await _write(door, who, work, drafts, refused, attempt)
        except Conflict:
            if not left:
                raise
    raise AssertionError("unreachable")


async def _write(
    door: Door, who: Principal, work: Work, drafts: Sequence[Draft], refused: Mapping[str, Outcome], attempt: Attempt
) -> Response:
    """As many times as something is found that cannot be: each time there is less to do."""
    while True:
        if refused and not work.partial:
            raise Refused([_wire(refused[name]) for name in sorted(refused)])
        compose = _composer(work, drafts, refused)
        items = [draft.after for draft in drafts if draft.after is not None]
        expect = {one.after.key: _version(one.before) for one in drafts if one.after is not None}
        wish = writes.Wish(items, expect, work.force, work.dry_run, _VERBS[work.verb], record=attempt.record(compose))
        try:
            applied = await writes.put(door, who, wish) if items else Applied(resource_version=door.mirror.known)
        except Invalid as error:
            refused = {**refused, **_attributed(error, drafts)}
            drafts = [draft for draft in drafts if draft.machine not in refused]
        else:
            return once.response(attempt.kept or compose(applied, {}))


def _drafts(door: Door, who: Principal, work: Work) -> tuple[Sequence[Draft], Mapping[str, Outcome]]:
    standing, may_see = door.mirror.objects, permission.visible(door, who)
    sessions: dict[str, list[Session]] = {}
    for one in standing.values():
        if isinstance(one, Session) and one.metadata.deleted_at is None and may_see(one):
            sessions.setdefault(one.spec.machine, []).append(one)
    drafts: list[Draft] = []
    refused: dict[str, Outcome] = {}
    for name in _machines(standing, work.chosen, may_see):
        try:
            draft = _draft(standing, name, sessions.get(name, ()), work, may_see)
            _permit(door, who, work, draft)
            drafts.append(draft)
        except Forbidden as error:
            refused[name] = _refusal(name, "forbidden", str(error), error.field)
        except Invalid as error:
            first = error.problems[0]
            refused[name] = _refusal(name, "invalid", first.message, first.field)
        except Managed as error:
            refused[name] = _refusal(name, "managed", str(error))
        except LookupError:
            message = f"there is no Machine/{name}: see GET /api/v1/machines"
            refused[name] = _refusal(name, "not_found", message, "machines", session=None)
    return drafts, refused


def _permit(door: Door, who: Principal, work: Work, draft: Draft) -> None:
    """Forbidden, and only then Managed: a source is named to nobody who may not see what it manages."""
    if draft.after is not None:
        permission.allow(door, who, _VERBS[work.verb], [(draft.before, draft.after)], door.mirror.objects, force=work.force)
        if draft.before is not None and not work.force:
            writes.unmanaged([draft.before])


def _draft(
    standing: Mapping[str, Object], name: str, sessions: Sequence[Session], work: Work, may_see: Callable[[Object], bool]
) -> Draft:
    """LookupError, Invalid."""
    machine = standing[f"Machine/{name}"]
    if machine.metadata.deleted_at is not None or not may_see(machine):
        raise LookupError(name)
    draft = work.make(name, sessions)
    if draft.after is not None and draft.before is None:
        taken = standing.get(draft.after.key)
        if isinstance(taken, Session) and taken.metadata.deleted_at is None and may_see(taken):
            message = f"{taken.key} is a session of Machine/{taken.spec.machine}: give that one another name first"
            raise Invalid([Problem("", 0, taken.key, "spec.machine", message)])
        draft = replace(draft, before=taken if isinstance(taken, Session) else None)
    return draft


def _machines(standing: Mapping[str, Object], chosen: Chosen, may_see: Callable[[Object], bool]) -> Sequence[str]:
    if chosen.machines is not None:
        return sorted(set(chosen.machines))
    matches = selectors.parse(chosen.label_selector or "")
    machines = (one for one in standing.values() if isinstance(one, Machine) and one.metadata.deleted_at is None)
    return sorted(one.name for one in machines if matches(one.metadata.labels) and may_see(one))


def _attributed(error: Invalid, drafts: Sequence[Draft]) -> Mapping[str, Outcome]:
    """Whose fault it is, by machine. Invalid when it is none of theirs."""
    owners = {one.after.key: one.machine for one in drafts if one.after is not None}
    owners |= {f"Machine/{one.machine}": one.machine for one in drafts if one.after is not None}
    found = {owners[p.object]: p for p in reversed(error.problems) if p.object in owners}
    if not found:
        raise error
    return {name: _refusal(name, "invalid", problem.message, problem.field) for name, problem in found.items()}


def _refusal(machine: str, code: str, message: str, field: str | None = None, session: str | None = "") -> Outcome:
    named = f"Session/{machine}" if session == "" else session
    return Outcome(machine=machine, session=named, outcome="refused", error_code=code, field=field or None, message=message)


def _wire(outcome: Outcome) -> dict[str, Any]:
    """A refusal as one of the ``errors`` of a problem document."""
    about = outcome.session or f"Machine/{outcome.machine}"
    return {
        "object": about,
        "field": outcome.field or "",
        "message": outcome.message or "",
        "error_code": outcome.error_code,
    }


def _composer(work: Work, drafts: Sequence[Draft], refused: Mapping[str, Outcome]) -> once.Compose:
    def compose(applied: Applied, objects: Mapping[str, Object]) -> Kept:
        touched = {*applied.created, *applied.changed}
        found = dict(refused)
        for one in drafts:
            session = one.after or one.before
            done = one.after is not None and one.after.key in touched
            found[one.machine] = Outcome(
                machine=one.machine,
                session=session.key if session else None,
                outcome=work.verb if done else "unchanged",
            )
        items = tuple(found[name] for name in sorted(found))
        told = Outcomes(items=items, resource_version=applied.resource_version, dry_run=work.dry_run)
        return Kept(200, json.dumps(told.wire()))

    return compose


def _version(before: Session | None) -> int:
    return before.metadata.resource_version or 0 if before else 0
