"""Imports and commits go on beside the passes: to fetch, copy or convert a disk takes minutes, and no PC may wait for that.

A pass that finds one due begins it, and is told how far it is; the pass after its end is told how it ended. One that
nobody wants any more, because its Image was changed, suspended or deleted, or its Session was, is cut off.
"""

from collections.abc import Callable, Collection, Hashable, Mapping
from dataclasses import dataclass, field

import anyio
from anyio.abc import TaskGroup

from controller.core.desired import Commit, Golden
from controller.core.names import golden
from controller.core.phases import Phase
from controller.core.steps import CommitOverlay, ImportImage
from controller.ports.host import EffectError, EffectUnderway, Fetched, Pool

_Mark = tuple[Phase, int, str]
_STEPS = 20  # of an import: how often its progress is worth a pass
_STEP_BYTES = 256 << 20  # the same of a download whose length nobody told
_AGAIN_SECONDS = 30.0  # one that failed is not begun anew by every pass that comes along
_FETCH_AGAIN_SECONDS = 900.0  # one that is fetched waits longer each time, up to this


@dataclass(slots=True)
class _Job:
    """``mark`` changes when there is something new to tell; ``shown`` is the one that was told last."""

    image: str
    said: str = ""
    mark: _Mark = ("Importing", 0, "")
    shown: _Mark = ("Importing", 0, "")
    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)
    ended: Callable[[], str] | None = None
    failures: int = 0
    again: float | None = None

    def importing(self, name: str, part: float) -> None:
        self.mark, self.said = ("Importing", int(part * _STEPS), ""), f"importing {name}: {part:.0%}"

    def committing(self, action: CommitOverlay, part: float) -> None:
        made = golden(action.name.image, action.version)
        self.mark, self.said = ("Committing", int(part * _STEPS), ""), f"committing {action.name} as {made}: {part:.0%}"

    def fetching(self, name: str, at: Fetched) -> None:
        if at.total:
            step, far = at.done * _STEPS // at.total, f"{at.done / at.total:.0%} of {at.total >> 20} MiB"
        else:
            step, far = at.done // _STEP_BYTES, f"{at.done >> 20} MiB"
        self.mark = ("Downloading", step, at.waits)
        self.said = f"downloading {name}: {far}{f'; {at.waits}' if at.waits else ''}"


class Imports:
    """``wake`` is called with an Image's or a Session's key when there is something new to tell of it."""

    def __init__(self, pool: Pool, tasks: TaskGroup, wake: Callable[[str], None]) -> None:
        self._pool, self._tasks, self._wake = pool, tasks, wake
        self._jobs: dict[Hashable, _Job] = {}

    async def make(self, action: ImportImage | CommitOverlay) -> str:
        """As ``Pool.import_image`` or ``Pool.commit_overlay``, once it has ended. EffectUnderway before that."""
        source = _source(action)
        job = self._jobs.get(source)
        if job is None or (job.again is not None and anyio.current_time() >= job.again):
            self._take_turns(_image(action))
            job = self._jobs[source] = _begun(action, job.failures if job else 0)
            self._tasks.start_soon(self._run, action, job)
        if job.ended is None:
            job.shown = job.mark
            raise EffectUnderway(job.mark[0], job.said)
        if job.again is None:
            del self._jobs[source]
        return job.ended()

    def _take_turns(self, image: str) -> None:
        """Of an image's imports and commits one goes on at a time. EffectUnderway."""
        for other in self._jobs.values():
            if other.image == image and other.ended is None:
                raise EffectUnderway("Pending", f"waits for its turn: {other.said}")

    def keep(self, images: Mapping[str, Golden], commits: Collection[Commit] = ()) -> None:
        """Of what goes on, only what these still ask for."""
        asked: set[Hashable] = {_source(image) for image in images.values() if not image.paused}
        asked |= {commit.identity for commit in commits}
        for source in self._jobs.keys() - asked:
            self._jobs.pop(source).scope.cancel()

    async def _run(self, action: ImportImage | CommitOverlay, job: _Job) -> None:
        key = f"Image/{action.image}" if isinstance(action, ImportImage) else f"Session/{action.session}"
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._follow, key, job)
            with job.scope:
                job.ended = await self._outcome(action, job)
            tasks.cancel_scope.cancel()
        self._wake(key)
        if job.again is not None:
            await self._due(key, job, job.again)

    async def _due(self, key: str, job: _Job, again: float) -> None:
        """One that failed is looked at when it may be begun anew, and not at the next sweep."""
        job.scope = anyio.CancelScope()
        with job.scope:
            await anyio.sleep_until(again)
            if any(one is job for one in self._jobs.values()):
                self._wake(key)

    async def _outcome(self, action: ImportImage | CommitOverlay, job: _Job) -> Callable[[], str]:
        try:
            note = await self._made(action, job)
        except EffectError as error:
            failure, job.failures = error, job.failures + 1
            pause = _pause(action, job.failures) if error.again is None else error.again
            job.again = anyio.current_time() + pause

            def fail() -> str:
                raise failure

            return fail
        return lambda: note

    async def _made(self, action: ImportImage | CommitOverlay, job: _Job) -> str:
        """EffectError."""
        if isinstance(action, CommitOverlay):
            return await self._pool.commit_overlay(action, lambda part: job.committing(action, part))
        name = golden(action.image, action.version)
        return await imported(self._pool, action, lambda at: job.fetching(name, at), lambda part: job.importing(name, part))

    async def _follow(self, key: str, job: _Job) -> None:
        while True:
            await anyio.sleep(1)
            if job.mark != job.shown:
                job.shown = job.mark
                self._wake(key)


async def imported(
    pool: Pool,
    action: ImportImage,
    fetching: Callable[[Fetched], None] = lambda at: None,
    importing: Callable[[float], None] = lambda part: None,
) -> str:
    """Fetched, where that is how it comes, and made a version of. EffectError."""
    if action.origin == "url":
        await pool.fetch_source(action, fetching)
        importing(0.0)
    return await pool.import_image(action, importing)


def _begun(action: ImportImage | CommitOverlay, failures: int) -> _Job:
    job = _Job(_image(action), failures=failures)
    if isinstance(action, CommitOverlay):
        job.committing(action, 0.0)
    elif action.origin == "url":
        job.fetching(golden(action.image, action.version), Fetched())
    else:
        job.importing(golden(action.image, action.version), 0.0)
    return job


def _image(action: ImportImage | CommitOverlay) -> str:
    return action.name.image if isinstance(action, CommitOverlay) else action.image


def _pause(action: ImportImage | CommitOverlay, failures: int) -> float:
    """Seconds until it is begun anew. A file that somebody puts into place is looked for often; whoever publishes one is
    not asked for it again and again."""
    if isinstance(action, CommitOverlay) or action.origin != "url":
        return _AGAIN_SECONDS
    return min(_AGAIN_SECONDS * 2.0 ** min(failures - 1, 16), _FETCH_AGAIN_SECONDS)


def _source(one: Golden | ImportImage | CommitOverlay) -> Hashable:
    """What one is known by: whose an import is and what is said of it may change while it goes on."""
    if isinstance(one, CommitOverlay):
        return one.identity
    name = one.image if isinstance(one, ImportImage) else one.name
    return name, one.origin, one.source, one.format, one.sha256
