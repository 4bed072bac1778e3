"""Parts that not every installation has."""


class Misspelt(Exception):
    """A setting whose value is none; the message names it."""


class NotInstalled(Exception):
    """A setting asks for a part of GGnet that was not installed."""

    def __init__(self, setting: str, extra: str) -> None:
        super().__init__(
            f"{setting} is set, but the extra {extra!r} is not there: pip install 'ggnet[{extra}]', or unset it"
        )
