"""Doing a plan: each step after the earlier ones that share an owner with it, everything else side by side.

There is nothing to decide here. A step that did not end well blocks only what comes after it for the same owner.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import anyio

from controller.core.steps import (
    Action,
    ActivateOverlay,
    Blocked,
    CommitOverlay,
    CreateOverlay,
    DeleteBootFile,
    DeleteOverlay,
    DeleteVersion,
    DiscardSource,
    Done,
    Failed,
    ImportImage,
    LoadDhcp,
    NoteUse,
    Outcome,
    Plan,
    PublishTarget,
    Refused,
    ReleaseVersion,
    Step,
    Underway,
    WithdrawTarget,
    WriteBootFile,
)
from controller.core.wire import words
from controller.ports.host import EffectFailed, EffectRefused, EffectUnderway
from controller.shell.imports import imported
from controller.shell.observe import Host

# The kernel's target answers no faster to more than sixteen at once (measured); files and copies share the bound.
_AT_ONCE = 16


@dataclass(frozen=True, slots=True)
class Result:
    step: Step
    outcome: Outcome


async def execute(plan: Plan, host: Host, permit: Callable[[], None]) -> tuple[Result, ...]:
    """Every due step's outcome, in the plan's order. ``permit`` is asked before each act and raises Fenced."""
    steps = plan.due
    results: list[Result | None] = [None] * len(steps)
    ended = [anyio.Event() for _ in steps]
    bound = anyio.CapacityLimiter(_AT_ONCE)

    async def one(at: int, before: tuple[int, ...]) -> None:
        for earlier in before:
            await ended[earlier].wait()
        async with bound:
            results[at] = Result(
                steps[at], await _outcome(steps[at], [results[earlier] for earlier in before], host, permit)
            )
        ended[at].set()

    async with anyio.create_task_group() as tasks:
        for at, before in enumerate(_order(steps)):
            tasks.start_soon(one, at, before)
    return tuple(result for result in results if result is not None)


def _order(steps: tuple[Step, ...]) -> list[tuple[int, ...]]:
    """For each step the last earlier step of each of its owners; waiting for those is waiting for all."""
    last: dict[str, int] = {}
    order = []
    for at, step in enumerate(steps):
        order.append(tuple(sorted({last[owner] for owner in step.owners if owner in last})))
        last.update(dict.fromkeys(step.owners, at))
    return order


async def _outcome(step: Step, before: list[Result | None], host: Host, permit: Callable[[], None]) -> Outcome:
    for earlier in before:
        if earlier is not None and not isinstance(earlier.outcome, Done):
            return Blocked(earlier.outcome.by if isinstance(earlier.outcome, Blocked) else words(earlier.step.action))
    permit()
    try:
        return Done(await act(step.action, host))
    except EffectRefused as error:
        return Refused(error.reason, str(error))
    except EffectFailed as error:
        return Failed(error.reason, str(error))
    except EffectUnderway as error:
        return Underway(str(error), error.phase)


async def act(action: Action, host: Host) -> str:
    """Does it; what is worth telling."""
    match action:
        case ImportImage():
            return await (host.imports.make(action) if host.imports else imported(host.pool, action))
        case CommitOverlay():
            return await (host.imports.make(action) if host.imports else host.pool.commit_overlay(action))
        case DeleteVersion():
            return f"{await host.pool.delete_version(action)} bytes freed"
        case NoteUse():
            await host.pool.note_use(action)
        case ReleaseVersion():
            await host.pool.release_version(action)
        case CreateOverlay():
            return await host.pool.create_overlay(action)
        case ActivateOverlay():
            await host.pool.activate_overlay(action)
        case DeleteOverlay():
            await host.pool.delete_overlay(action)
        case DiscardSource():
            await host.pool.discard_source(action)
        case PublishTarget():
            await host.lio.publish(action)
        case WithdrawTarget():
            await host.lio.withdraw(action)
        case WriteBootFile():
            await host.tftp.write(action)
        case DeleteBootFile():
            await host.tftp.delete(action)
        case LoadDhcp():
            left_out = await host.dhcp.load(action)
            return "; ".join(f"{name} left out: {message}" for name, message in sorted(left_out.items()))
    return ""


def worst(results: tuple[Result, ...]) -> Mapping[str, Outcome]:
    """By owner, the outcome that stands in its way; Done where nothing does."""
    found: dict[str, Outcome] = {}
    for result in results:
        for owner in result.step.owners:
            if isinstance(found.get(owner, Done()), Done):
                found[owner] = result.outcome
    return found
