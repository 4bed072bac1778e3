"""What stands behind the proxy in its tests: it says what it was asked, streams a line when told, and changes protocols."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from queue import Queue


@dataclass
class Echo:
    port: int
    lines: "Queue[float]" = field(default_factory=Queue)  # when each line of the stream was sent
    go: threading.Event = field(default_factory=threading.Event)


def _handler(echo: Echo) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            if self.path.startswith("/api/v1/watch"):
                self.stream()
            elif self.headers.get("Upgrade") == "websocket":
                self.upgrade()
            else:
                self.say()

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.say()

        def do_PATCH(self) -> None:
            left = int(self.headers["Content-Length"])
            while left:
                left -= len(self.rfile.read1(left))
                echo.lines.put(time.monotonic())
            self.say()

        def say(self) -> None:
            body = json.dumps({"path": self.path, "headers": [[name, value] for name, value in self.headers.items()]})
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Strict-Transport-Security", "max-age=1")
            self.end_headers()
            self.wfile.write(body.encode())

        def stream(self) -> None:
            self.close_connection = True
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.end_headers()
            for number in range(3):
                echo.lines.put(time.monotonic())
                self.wfile.write(f"data: {number}\n\n".encode())
            echo.go.wait(20)
            echo.lines.put(time.monotonic())
            self.wfile.write(b"data: last\n\n")

        def upgrade(self) -> None:
            self.close_connection = True
            self.send_response(101)
            self.send_header("Upgrade", "websocket")
            self.send_header("Connection", "Upgrade")
            self.end_headers()
            self.wfile.write(self.rfile.readline().upper())

        def log_message(self, *args: object) -> None:
            """Nobody reads it."""

    return Handler


@contextmanager
def echoing() -> Iterator[Echo]:
    echo = Echo(0)
    with ThreadingHTTPServer(("127.0.0.1", 0), _handler(echo)) as server:
        echo.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield echo
        finally:
            echo.go.set()
            server.shutdown()
            thread.join(10)
