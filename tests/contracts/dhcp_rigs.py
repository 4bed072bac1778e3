"""One DHCP server and the hands that disturb it: in memory, and a real dhcpd in a network namespace of its own."""

import contextlib
import ctypes
import itertools
import os
import random
import signal
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from controller.adapters.clock import SystemClock
from controller.adapters.dhcpd import IscDhcpd
from controller.adapters.dhcpd_record import find
from controller.adapters.simulated.services import MemoryDhcp
from controller.core.names import Site
from controller.core.render import dhcpd
from controller.ports.host import Dhcp
from manifests.types import Mac

SITE = Site(site="lab", server="bs1")
_numbers = itertools.count()


class Rig(Protocol):
    dhcp: Dhcp

    def text(self) -> str | None: ...

    def edit(self, text: str | None) -> None:
        """By hand: the include has this content, or is gone."""

    def administrator(self, *hosts: str) -> None:
        """His own file declares these hosts."""

    def break_main(self) -> None:
        """His own file has an error."""

    def fill_disk(self) -> None: ...

    def kill(self) -> None: ...

    def start(self) -> None:
        """By hand: dhcpd starts, or starts again."""

    def address(self, mac: Mac) -> str | None:
        """What the running server answers to this card; None for silence."""

    def restarts(self) -> int: ...

    def close(self) -> None: ...


class MemoryRig:
    def __init__(self, folder: Path) -> None:
        self.memory = MemoryDhcp(site=SITE)
        self.dhcp: Dhcp = self.memory

    def text(self) -> str | None:
        return self.memory.text

    def edit(self, text: str | None) -> None:
        self.memory.text = text

    def administrator(self, *hosts: str) -> None:
        self.memory.administrator = frozenset(hosts)

    def break_main(self) -> None:
        self.memory.refuses = "dhcpd.conf line 1: semicolon expected."

    def fill_disk(self) -> None:
        self.memory.disk_full = True

    def kill(self) -> None:
        self.memory.kill()

    def start(self) -> None:
        self.memory.start()

    def address(self, mac: Mac) -> str | None:
        for stanza in dhcpd.parse_hosts(self.memory.loaded or "").values():
            if f"hardware ethernet {mac};" in stanza and "fixed-address " in stanza:
                return stanza.partition("fixed-address ")[2].partition(";")[0]
        return None

    def restarts(self) -> int:
        return self.memory.restarts

    def close(self) -> None: ...


class IscRig:
    """dhcpd on one end of a veth pair, a client on the other. The restart command is a script, as an administrator's."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.space = f"ggnet-dhcp-{os.getpid()}-{next(_numbers)}"
        self._network()
        self.conf, self.include, self.pidfile = folder / "dhcpd.conf", folder / "etc" / "ggnet.conf", folder / "dhcpd.pid"
        self.state, self.script, self.log = folder / "state", folder / "restart", folder / "restarts"
        self.include.parent.mkdir()
        (folder / "leases").touch()
        self.log.touch()
        self.administrator()
        self._write_script()
        self.dhcp: Dhcp = self.server()

    def _network(self) -> None:
        inside = ("-n", self.space)
        self._ip("netns", "add", self.space)
        try:
            self._ip(*inside, "link", "add", "srv", "type", "veth", "peer", "name", "cli")
            for link in ("srv", "cli", "lo"):
                self._ip(*inside, "link", "set", link, "up")
            self._ip(*inside, "address", "add", "10.77.0.254/24", "dev", "srv")
        except AssertionError:
            self._ip("netns", "delete", self.space)
            raise

    def server(self) -> IscDhcpd:
        """A new one, that remembers nothing but what lies in the state folder."""
        return IscDhcpd(
            SITE,
            SystemClock(),
            include=self.include,
            conf=self.conf,
            restart=str(self.script),
            pidfile=self.pidfile,
            state_dir=self.state,
            patience=2,
        )

    def _write_script(self, extra: str = "") -> None:
        files = f"-cf {self.conf} -lf {self.folder}/leases -pf {self.pidfile}"
        run = f"nsenter --net=/run/netns/{self.space} dhcpd -q -4 {files} srv"
        self.script.write_text(
            f"#!/bin/sh\necho x >> {self.log}\n{extra}\n"
            f'if pid=$(cat {self.pidfile} 2>/dev/null); then kill -9 "$pid" 2>/dev/null\n'
            f'while grep -qs "^State:.[^ZX]" /proc/"$pid"/status; do sleep 0.01; done; rm -f {self.pidfile}; fi\n'
            f"exec {run}\n"
        )
        self.script.chmod(0o755)

    def before_restart(self, extra: str) -> None:
        """Shell that the restart command runs first."""
        self._write_script(extra)

    def text(self) -> str | None:
        return self.include.read_text() if self.include.exists() else None

    def edit(self, text: str | None) -> None:
        if text is None:
            self.include.unlink()
        else:
            self.include.write_text(text)

    def administrator(self, *hosts: str, after: str = "") -> None:
        own = "".join(f"host {name} {{ hardware ethernet 02:00:00:00:00:{n:02x}; }}\n" for n, name in enumerate(hosts, 1))
        self.conf.write_text(f'# ours: include "{self.include}";\n{own}include "{self.include}";\n{after}')

    def break_main(self) -> None:
        self.conf.write_text(f'ddns-update-style none\ninclude "{self.include}";\n')

    def fill_disk(self) -> None:
        data = self.include.read_bytes()
        etc = self.include.parent
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(etc)], check=True)
        self.include.write_bytes(data)
        with contextlib.suppress(OSError), (etc / "filler").open("wb", buffering=0) as filler:
            while True:
                filler.write(b"x" * 4096)

    def pid(self) -> int:
        return int(self.pidfile.read_text())

    def kill(self) -> None:
        pid = self.pid()
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: find(self.pidfile) is None)

    def start(self) -> None:
        age = time.time() - self.include.stat().st_ctime
        time.sleep(max(0.0, 2.1 - age))
        subprocess.run([str(self.script)], check=True, capture_output=True)

    def restarts(self) -> int:
        return len(self.log.read_text().splitlines())

    def address(self, mac: Mac) -> str | None:
        return self.ask(mac)[0]

    def ask(self, mac: Mac, *options: tuple[int, bytes], patience: float = 1.0) -> tuple[str | None, str, int]:
        """The offer to this card: address, boot file, lease time in seconds."""
        address, boot, told = self._offered(mac, options, patience)
        return address, boot, int.from_bytes(told.get(51, b""))

    def option(self, mac: Mac, code: int, *options: tuple[int, bytes]) -> bytes | None:
        """An option of the offer to this card."""
        return self._offered(mac, options, 0.5)[2].get(code)

    def _offered(
        self, mac: Mac, options: tuple[tuple[int, bytes], ...], patience: float
    ) -> tuple[str | None, str, dict[int, bytes]]:
        with self._socket() as raw:
            number = random.getrandbits(32)
            raw.send(_discover(mac, number, options))
            raw.settimeout(patience)
            until = time.monotonic() + patience
            while time.monotonic() < until:
                try:
                    offer = _offer(raw.recv(4096), number)
                except TimeoutError:
                    break
                if offer:
                    return offer
        return None, "", {}

    def _socket(self) -> socket.socket:
        made: list[socket.socket] = []

        def inside() -> None:
            with Path(f"/run/netns/{self.space}").open() as space:
                if ctypes.CDLL(None, use_errno=True).setns(space.fileno(), 0x40000000):
                    raise OSError(ctypes.get_errno(), "setns")
                raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0800))
                raw.bind(("cli", 0))
                made.append(raw)

        thread = threading.Thread(target=inside)
        thread.start()
        thread.join()
        return made[0]

    def close(self) -> None:
        if self.pidfile.exists():
            with contextlib.suppress(OSError, ValueError):
                os.kill(self.pid(), signal.SIGKILL)
        if self.include.parent.is_mount():
            subprocess.run(["umount", "-l", str(self.include.parent)], check=True)
        self._ip("netns", "delete", self.space)

    def _ip(self, *words: str) -> None:
        done = subprocess.run(["ip", *words], check=False, capture_output=True, text=True)
        assert done.returncode == 0, f"ip {' '.join(words)}: {done.stderr}"


def wait_until(fact: Callable[[], bool], patience: float = 30.0) -> None:
    until = time.monotonic() + patience
    while not fact():
        assert time.monotonic() < until, "it did not come to be"
        time.sleep(0.01)


def _discover(mac: Mac, number: int, options: tuple[tuple[int, bytes], ...]) -> bytes:
    card = bytes.fromhex(mac.replace(":", ""))
    bootp = struct.pack("!BBBBIHH16x16s64x128x", 1, 1, 6, 0, number, 0, 0x8000, card)
    extra = b"".join(bytes([code, len(data)]) + data for code, data in options)
    payload = bootp + b"\x63\x82\x53\x63" + b"\x35\x01\x01" + extra + b"\xff"
    udp = struct.pack("!HHHH", 68, 67, 8 + len(payload), 0) + payload
    head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), 0, 0, 64, 17, 0, b"\0" * 4, b"\xff" * 4)
    total = sum(struct.unpack("!10H", head))
    total = (total & 0xFFFF) + (total >> 16)
    head = head[:10] + struct.pack("!H", ~(total + (total >> 16)) & 0xFFFF) + head[12:]
    return b"\xff" * 6 + card + b"\x08\x00" + head + udp


def _offer(frame: bytes, number: int) -> tuple[str, str, dict[int, bytes]] | None:
    bootp = frame[14 + 20 + 8 :]
    if len(bootp) < 240 or bootp[0] != 2 or struct.unpack("!I", bootp[4:8])[0] != number:
        return None
    boot = bootp[108:236].rstrip(b"\0").decode()
    at, told = 240, {}
    while at < len(bootp) and bootp[at] != 255:
        code, length = bootp[at], bootp[at + 1]
        told[code] = bootp[at + 2 : at + 2 + length]
        at += 2 + length
    return socket.inet_ntoa(bootp[16:20]), boot, told
