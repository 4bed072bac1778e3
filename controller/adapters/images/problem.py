"""Why a file cannot be an image, in words for the one who brought it."""


class SourceProblem(Exception):
    """It cannot be imported as it is. ``reason`` is one CamelCase word, ``again`` as of ``EffectError``."""

    def __init__(self, reason: str, message: str, again: float | None = None) -> None:
        super().__init__(message)
        self.reason, self.again = reason, again
