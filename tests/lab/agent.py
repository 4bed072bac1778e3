"""The boot server's ear: runs commands that come over the wire. Standard library only; it runs inside the guest.

A connection is one command: a line of JSON ``{argv, env, cwd, input}``, answered by lines ``{out}``, ``{err}`` as they
come and ``{code}`` at the end. When the caller goes away before that, the command and
all that it started in its session is killed. ``{look: PATTERN}`` is answered by ``{found: [paths]}``, ``{read: PATH}`` by
``{text}``: to start a program for that takes a hundred times as long here.
"""

import contextlib
import json
import os
import select
import signal
import socketserver
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any, BinaryIO

PORT = 99


class Command(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        line = self.rfile.readline()
        if not line:
            return  # somebody only wanted to know whether we are up
        asked: dict[str, Any] = json.loads(line)
        self.lock = threading.Lock()
        if "argv" in asked:
            self.run(asked)
        elif "look" in asked:
            self.send({"found": sorted(str(path) for path in Path("/").glob(asked["look"].lstrip("/")))})
        else:
            self.send(text_of(asked["read"]))

    def run(self, asked: dict[str, Any]) -> None:
        try:
            process = subprocess.Popen(
                asked["argv"],
                env={**os.environ, **asked["env"]},
                cwd=asked["cwd"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
        except OSError as error:
            self.send({"err": f"{error}\n"})
            self.send({"code": 127})
            return
        threading.Thread(target=self.watch, args=(process,), daemon=True).start()
        readers = [
            threading.Thread(target=self.pump, args=(name, stream))
            for name, stream in (("out", process.stdout), ("err", process.stderr))
        ]
        for reader in readers:
            reader.start()
        if process.stdin is not None:
            process.stdin.write(asked["input"].encode())
            process.stdin.close()
        code = process.wait()
        for reader in readers:
            reader.join()
        self.send({"code": code})

    def pump(self, name: str, stream: BinaryIO) -> None:
        while data := os.read(stream.fileno(), 65536):
            self.send({name: data.decode(errors="replace")})

    def watch(self, process: "subprocess.Popen[bytes]") -> None:
        """The caller sends nothing more: readable means that it is gone. What a command left behind is its own affair."""
        try:
            select.select([self.connection], [], [])
        except (OSError, ValueError):
            return
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)

    def send(self, message: dict[str, Any]) -> None:
        with self.lock, contextlib.suppress(OSError):  # nobody listens any more: watch() ends the command
            self.wfile.write(json.dumps(message).encode() + b"\n")


def text_of(path: str) -> dict[str, str]:
    try:
        return {"text": Path(path).read_text("utf-8", "replace")}
    except OSError as error:
        return {"problem": f"{path}: {error.strerror}"}


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True


if __name__ == "__main__":
    with Server((sys.argv[1], PORT), Command) as server:
        server.serve_forever()
