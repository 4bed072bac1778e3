"""A mail server's URL, and an address that mail can go to; both read strictly, and the first said to nobody."""

import re
from dataclasses import dataclass, field
from typing import Self
from urllib.parse import unquote, urlsplit

_LOCAL, _DOMAIN = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]{1,64}", r"[A-Za-z0-9](?:[A-Za-z0-9.-]{0,252}[A-Za-z0-9])?"
_ADDRESS = re.compile(f"{_LOCAL}@{_DOMAIN}", re.ASCII).fullmatch
_PORTS = {"smtp": 25, "smtp+starttls": 587, "smtps": 465}
_LOOPBACK = ("127.0.0.1", "::1", "localhost")
_FORM = "write it like smtp+starttls://USER:PASSWORD@HOST:587 (or smtps://, or smtp:// without a password)"


@dataclass(frozen=True, slots=True)
class MailServer:
    scheme: str
    host: str
    port: int
    user: str
    password: str = field(repr=False)

    @classmethod
    def parse(cls, url: str) -> Self:
        """ValueError that repeats nothing of it."""
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port
        except ValueError:
            raise ValueError(_FORM) from None
        if parts.scheme not in _PORTS or not host or parts.path.strip("/") or parts.query or parts.fragment:
            raise ValueError(_FORM)
        if parts.password and parts.scheme == "smtp" and host not in _LOOPBACK:
            raise ValueError("this would send the password in clear: write smtp+starttls:// or smtps://")
        user, password = unquote(parts.username or ""), unquote(parts.password or "")
        return cls(parts.scheme, host, port or _PORTS[parts.scheme], user, password)


def address(text: str) -> str:
    """``operators@example.org``: no display name, no comment, nothing that could become a header. ValueError."""
    if not _ADDRESS(text) or ".." in text:
        raise ValueError("write it like operators@example.org, an address alone")
    return text
