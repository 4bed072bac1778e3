"""How people name the versions of an image: ``v3``, a channel that points at one, ``win11@v3``, ``win11@stable``."""

import re
from typing import Self

from manifests.types import _Text, shown

_LABEL = "[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_VERSION = "v[1-9][0-9]{0,8}"
_CHANNEL = "(?!v[0-9]*$)[a-z](?:[a-z0-9-]{0,29}[a-z0-9])?"
NEWEST = "latest"
"""A channel that every image has: its newest version."""
DEFAULT = "stable"
"""The channel that an image's bare name means, where the image has it; else the newest version."""


class Version(_Text):
    """``v3``: the third that was made of an image."""

    __slots__ = ()
    pattern = f"^{_VERSION}$"
    example = "v3"
    _match = re.compile(_VERSION, re.ASCII).fullmatch

    @classmethod
    def parse(cls, text: object) -> Self:
        if not isinstance(text, str) or not cls._match(text):
            raise ValueError(f"{shown(text)} is not a version: write it like v3")
        return str.__new__(cls, text)

    @property
    def number(self) -> int:
        return int(self[1:])


class Channel(_Text):
    """A name that points at one version of an image: ``stable``."""

    __slots__ = ()
    pattern = f"^{_CHANNEL}$"
    example = "stable"
    _match = re.compile(_CHANNEL, re.ASCII).fullmatch

    @classmethod
    def parse(cls, text: object) -> Self:
        if not isinstance(text, str) or not cls._match(text):
            raise ValueError(
                f"{shown(text)} is not a channel: 1 to 31 of a-z, 0-9 and '-', from a letter on, and not like v3"
            )
        return str.__new__(cls, text)


class ImageRef(_Text):
    """``win11``, ``win11@stable`` (what its channel points at, frozen at start) or ``win11@v3`` (that one)."""

    __slots__ = ()
    pattern = f"^{_LABEL}(@({_VERSION}|{_CHANNEL}))?$"
    example = "win11@v3"
    _match = re.compile(pattern, re.ASCII).fullmatch

    @classmethod
    def parse(cls, text: object) -> Self:
        if not isinstance(text, str) or not cls._match(text):
            raise ValueError(f"{shown(text)} is not an image: write its name, name@v3 to pin a version, or name@stable")
        return str.__new__(cls, text)

    @property
    def image(self) -> str:
        return self.partition("@")[0]

    @property
    def version(self) -> int | None:
        last = self.partition("@")[2]
        return Version.parse(last).number if Version._match(last) else None

    @property
    def channel(self) -> str | None:
        last = self.partition("@")[2]
        return last if last and not Version._match(last) else None
