"""HTTP as bytes on a socket: what no client library would send."""

import json
import select
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlsplit


@dataclass(frozen=True)
class Heard:
    """One answer, read to its end; ``seconds`` until then, and how many parts were ``sent`` before it came."""

    status: int
    headers: dict[str, str]
    body: bytes
    seconds: float
    sent: int = 0

    def problem(self) -> dict[str, Any]:
        assert self.headers["content-type"] == "application/problem+json", self
        found: dict[str, Any] = json.loads(self.body)
        return found


@contextmanager
def connected(url: str) -> Iterator[socket.socket]:
    parts = urlsplit(url)
    with socket.create_connection((parts.hostname, parts.port), 20) as sock:
        yield sock


def said(url: str, request: bytes, *more: bytes, pause: float = 0) -> Heard:
    """The answer to these bytes, sent one part after the other."""
    began = time.monotonic()
    with connected(url) as sock:
        sent = 0
        for part in (request, *more):
            if sent and pause and answered(sock, pause):
                break  # who sends in drops listens meanwhile
            try:
                sock.sendall(part)
            except (BrokenPipeError, ConnectionResetError):
                break  # it was answered and closed already
            sent += 1
        return replace(heard(sock, began), sent=sent)


def answered(sock: socket.socket, seconds: float) -> bool:
    """Whether there is something to be heard within that time."""
    return bool(select.select([sock], [], [], seconds)[0])


def heard(sock: socket.socket, began: float) -> Heard:
    """Until the other side closes, or the answer is whole."""
    data = b""
    while True:
        head, found, body = data.partition(b"\r\n\r\n")
        if found:
            lines = head.decode("latin-1").split("\r\n")
            headers: dict[str, str] = {}
            for name, value in (line.split(": ", 1) for line in lines[1:]):
                headers[name.lower()] = ", ".join(filter(None, (headers.get(name.lower()), value)))
            if len(body) >= int(headers.get("content-length", 0)):
                return Heard(int(lines[0].split()[1]), headers, body, time.monotonic() - began)
        try:
            part = sock.recv(1 << 16)
        except ConnectionResetError:
            part = b""
        assert part, f"closed after {data!r}"
        data += part


def closed(sock: socket.socket) -> bool:
    """Whether the other side ends the connection."""
    try:
        return sock.recv(1) == b""
    except ConnectionResetError:
        return True
