"""Web and mail servers on loopback that others send to, and that behave as badly as a test wants.

``signed`` is a verifier written from the text of Standard Webhooks, not from our code: it is what a receiver would have.
"""

import asyncio
import base64
import hashlib
import hmac
import json
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

OK = b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n"


def answer(status: int, *fields: str, body: bytes = b"") -> bytes:
    lines = [f"HTTP/1.1 {status} X", "connection: close", f"content-length: {len(body)}", *fields, "", ""]
    return "\r\n".join(lines).encode() + body


@dataclass(frozen=True)
class Request:
    target: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def signed(request: Request, secret: str, now: float) -> bool:
    """Whether one of the signatures is this secret's, and the timestamp is not older or newer than five minutes."""
    identifier, at = request.headers["webhook-id"], request.headers["webhook-timestamp"]
    if abs(now - int(at)) > 300:
        return False
    key = base64.b64decode(secret.split("_", 1)[1])
    content = identifier.encode() + b"." + at.encode() + b"." + request.body
    expected = base64.b64encode(hmac.digest(key, content, hashlib.sha256)).decode()
    versions = [part.split(",", 1) for part in request.headers["webhook-signature"].split(" ")]
    return any(version == "v1" and hmac.compare_digest(found, expected) for version, found in versions)


@dataclass
class Receiver:
    """``behave`` gives the answer to the request; None: never answers."""

    port: int = 0
    requests: list[Request] = field(default_factory=list)
    behave: Callable[[Request], bytes | None] = lambda request: OK
    connections: int = 0
    stopping: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"

    @property
    def ids(self) -> list[str]:
        return [request.headers["webhook-id"] for request in self.requests]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            request = await _read(reader)
            self.requests.append(request)
            said = self.behave(request)
            if said is None:
                await self.stopping.wait()
            else:
                writer.write(said)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


async def _read(reader: asyncio.StreamReader) -> Request:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)}
    body = await reader.readexactly(int(fields.get("content-length", "0")))
    return Request(head[0].split(" ")[1], fields, body)


@asynccontextmanager
async def receiving(host: str = "127.0.0.1", tls: ssl.SSLContext | None = None) -> AsyncIterator[Receiver]:
    receiver = Receiver()
    server = await asyncio.start_server(receiver.serve, host, 0, ssl=tls)
    receiver.port = server.sockets[0].getsockname()[1]
    try:
        yield receiver
    finally:
        receiver.stopping.set()
        server.close()
        await server.wait_closed()


@dataclass
class Mailbox:
    """``mails`` hold sender, recipients and text; ``refuse`` is answered to MAIL FROM instead of taking it."""

    port: int = 0
    mails: list[tuple[str, list[str], str]] = field(default_factory=list)
    logins: list[str] = field(default_factory=list)
    refuse: str = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        sender, to = "", list[str]()

        def say(line: str) -> None:
            writer.write(line.encode() + b"\r\n")

        say("220 test")
        try:
            while line := (await reader.readline()).decode().strip():
                verb = line.split(" ")[0].upper()
                if verb == "EHLO":
                    say("250-test\r\n250 AUTH PLAIN")
                elif verb == "AUTH":
                    self.logins.append(base64.b64decode(line.split(" ")[2]).decode())
                    say("235 ok")
                elif verb == "MAIL":
                    sender = line
                    say(self.refuse or "250 ok")
                elif verb == "RCPT":
                    to.append(line)
                    say("250 ok")
                elif verb == "DATA":
                    say("354 go on")
                    text = (await reader.readuntil(b"\r\n.\r\n")).decode()
                    self.mails.append((sender, to, text))
                    say("250 taken")
                elif verb == "QUIT":
                    say("221 bye")
                    break
                else:
                    say("250 ok")
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def mailbox() -> AsyncIterator[Mailbox]:
    box = Mailbox()
    server = await asyncio.start_server(box.serve, "127.0.0.1", 0)
    box.port = server.sockets[0].getsockname()[1]
    try:
        yield box
    finally:
        server.close()
        await server.wait_closed()
