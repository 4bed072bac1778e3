"""Where manifests come from."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A source as it stood at one moment, read whole: file name -> bytes. ``sha`` names exactly this content."""

    sha: str
    author: str
    message: str
    files: Mapping[str, bytes]


class SourceError(Exception):
    """A source could not be read whole; nothing may be concluded from it."""


class Source(Protocol):
    name: str

    async def read(self) -> Snapshot:
        """SourceError."""

    async def watch(self, wake: Callable[[], None]) -> None:
        """Calls ``wake`` whenever something may have changed, and by itself now and then, until cancelled."""
