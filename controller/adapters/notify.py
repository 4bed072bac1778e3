"""Telling systemd how we are: ready, alive, stopping (sd_notify(3)): one datagram each."""

import socket
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Systemd:
    """``address`` is $NOTIFY_SOCKET; None where systemd does not listen, and then nothing is sent."""

    address: str | None

    def ready(self) -> None:
        self._send("READY=1\nSTATUS=every target, boot file and host was looked at")

    def alive(self) -> None:
        self._send("WATCHDOG=1")

    def stopping(self) -> None:
        self._send("STOPPING=1")

    def _send(self, text: str) -> None:
        if self.address is None:
            return
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as out:
            out.connect("\0" + self.address[1:] if self.address.startswith("@") else self.address)
            out.send(text.encode())
