"""What we ask of whoever follows a request through many programs."""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Protocol


class Span(Protocol):
    def end(self, name: str, facts: Mapping[str, str | int], *, failed: bool) -> None:
        """What it was, once that is known."""


class Traces(Protocol):
    def request(self, carrier: Mapping[str, str]) -> AbstractContextManager[Span]:
        """One request, as a part of the trace that ``traceparent`` in ``carrier`` names, if there is one."""
