"""An HTTPS server on loopback that files are fetched from, made of Python's own, and as bad as a test wants it."""

import re
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

NAME = "images.example"
_EC = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]


@dataclass(frozen=True)
class Authority:
    """``ca`` is the certificate of an authority of our own, ``chain`` a server's for NAME and 127.0.0.1, with its key."""

    ca: Path
    chain: Path

    def trusted(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.ca))


def authority(folder: Path) -> Authority:
    def openssl(*words: str | Path) -> None:
        subprocess.run(["openssl", *words], check=True, capture_output=True)

    ca, key, wish, chain = (folder / name for name in ("ca.pem", "ca.key", "server.csr", "server.pem"))
    openssl("req", "-x509", *_EC, "-days", "2", "-subj", "/CN=test authority", "-keyout", key, "-out", ca)
    openssl("req", *_EC, "-subj", f"/CN={NAME}", "-keyout", folder / "server.key", "-out", wish)
    (folder / "names").write_text(f"subjectAltName=DNS:{NAME},IP:127.0.0.1")
    signed = folder / "server.crt"
    openssl(
        *("x509", "-req", "-in", wish, "-CA", ca, "-CAkey", key, "-CAcreateserial", "-days", "2"),
        *("-extfile", folder / "names", "-out", signed),
    )
    chain.write_text((folder / "server.key").read_text() + signed.read_text())
    return Authority(ca, chain)


@dataclass
class Web:
    """``content`` is what is served at any path, known by ``etag``; ``cuts`` are after how many bytes of a body each of the
    next answers breaks off; ``behave`` answers a request itself where it says True."""

    content: bytes = b""
    etag: str | None = '"one"'
    ranges: bool = True
    cuts: list[int] = field(default_factory=list)
    behave: Callable[["Handler"], bool] = lambda handler: False
    port: int = 0
    requests: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    sent: int = 0
    connections: int = 0
    stopping: threading.Event = field(default_factory=threading.Event)

    def url(self, path: str = "win11.raw", host: str = NAME) -> str:
        return f"https://{host}:{self.port}/{path}"

    @property
    def asked(self) -> list[str | None]:
        """The ranges."""
        return [headers.get("range") for _, headers in self.requests]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    web: Web

    def do_GET(self) -> None:
        self.web.requests.append((self.path, {name.lower(): value for name, value in self.headers.items()}))
        if not self.web.behave(self):
            self.file()
        self.close_connection = True

    def file(self) -> None:
        web, found = self.web, re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        start = int(found[1]) if found and web.ranges else 0
        if start and self.headers.get("If-Range", web.etag) != web.etag:
            start = 0
        total = len(web.content)
        if start >= total > 0:
            self.head(416, content_range=f"bytes */{total}", content_length="0")
            return
        more = {"content_range": f"bytes {start}-{total - 1}/{total}"} if start else {}
        if web.etag:
            more["etag"] = web.etag
        self.head(206 if start else 200, content_length=str(total - start), **more)
        self.body(web.content[start:])

    def head(self, status: int, **fields: str) -> None:
        self.send_response(status)
        for name, value in fields.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()

    def body(self, data: bytes) -> None:
        cut = self.web.cuts.pop(0) if self.web.cuts else len(data)
        for at in range(0, min(cut, len(data)), 65536):
            piece = data[at : min(at + 65536, cut)]
            self.wfile.write(piece)
            self.web.sent += len(piece)

    def log_message(self, format: str, *args: Any) -> None:
        """Nobody reads it."""


class _Server(ThreadingHTTPServer):
    web: Web

    def get_request(self) -> Any:
        self.web.connections += 1
        return super().get_request()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that has gone, or would not have our certificate."""


@contextmanager
def webserver(known: Authority, content: bytes = b"", host: str = "127.0.0.1") -> Iterator[Web]:
    web = Web(content)
    server = _Server((host, 0), type("Bound", (Handler,), {"web": web}))
    server.web, server.daemon_threads = web, True
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(known.chain)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    web.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield web
    finally:
        web.stopping.set()
        server.shutdown()
        server.server_close()
        thread.join(5)
