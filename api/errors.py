"""What the door itself refuses: each as an exception, whose sentence tells the client what to do about it.

``api.problems`` has the status code of each.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from starlette.exceptions import HTTPException

from controller.ports.rates import Quota


class Malformed(Exception):
    """The request cannot be read as what it says it is."""

    def __init__(self, message: str, field: str = "") -> None:
        super().__init__(message)
        self.field = field


class Unauthorised(Exception):
    """The bearer token is missing or wrong. ``retry_after``: seconds, where asking again sooner is in vain."""

    def __init__(self, message: str, retry_after: int | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Forbidden(Exception):
    """Whoever asks is known, and may not do this; ``field`` is what stands in the way, of the object or of the asker."""

    def __init__(self, message: str, field: str = "permission") -> None:
        super().__init__(message)
        self.field = field


class Exists(Exception):
    """There is an object of this name already: PUT replaces it."""


class Managed(Exception):
    """The object comes from a git source: change it there, or force the write."""


class Guarded(Exception):
    """Somebody would lose a running PC: ask for that by name."""


class Refused(Exception):
    """Of many, some cannot be done, so none was: leave them out, or ask for what can be done (partial=true)."""

    def __init__(self, errors: Sequence[Mapping[str, Any]]) -> None:
        first = f"{errors[0]['object']}: {errors[0]['message']}"
        more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
        super().__init__(f"{first}{more}; nothing was done: leave out what is refused, or send partial=true.")
        self.errors = errors


class TooMany(Exception):
    """More requests than a quota has; ``seconds`` until it has some again."""

    def __init__(self, quota: Quota, seconds: int) -> None:
        per = "a minute" if quota.seconds == 60 else f"in {quota.seconds} s"
        super().__init__(f"More than {quota.limit} requests {per} (quota {quota.name!r}): ask again in {seconds} s.")
        self.quota, self.seconds = quota, seconds


class TooManyFeeds(Exception):
    """One identity has as many live feeds open as it may; ``most`` of them."""

    def __init__(self, most: int) -> None:
        super().__init__(f"You have {most} live feeds open, and more at a time are not given: close some (GGNET_FEEDS).")


class OfBody(HTTPException):
    """Found while a body streams in. The framework passes on what it knows, and calls all else a parsing error."""

    code: ClassVar[int]

    def __init__(self, message: str) -> None:
        super().__init__(self.code, message)

    def __str__(self) -> str:
        return self.detail


class TooLarge(OfBody):
    """The body is larger than this server reads."""

    code = 413


class SlowBody(OfBody):
    """The body does not come."""

    code = 408


class Unsupported(OfBody):
    """The body is in a form that nobody here reads."""

    code = 415


class TooSlow(Exception):
    """A route took longer than it may."""


class OtherVersion(Exception):
    """Tus-Resumable: the version that is spoken here is 1.0.0."""


class Unavailable(Exception):
    """What is needed to answer is not there yet."""
