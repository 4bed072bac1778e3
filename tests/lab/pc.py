"""PCs without a system of their own: QEMU under software emulation, with real firmware."""

import contextlib
import os
import re
import shutil
import subprocess
import threading
import time
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path

from tests.lab.host import Prepared
from tests.lab.wire import Wire, end

_PROMPT = b"Press Ctrl-B for the iPXE command line"
_ESCAPE = re.compile(rb"\x1b(\[[0-9;?=]*[A-Za-z]|[()][A-Z0-9]|c)|\r|\x00")


class Firmware(StrEnum):
    """BIOS and UEFI carry iPXE in the card's ROM; UEFI_PXE has the firmware's own PXE, which must be given a program."""

    BIOS = "bios"
    UEFI = "uefi"
    UEFI_PXE = "uefi-pxe"

    @property
    def arguments(self) -> list[str]:
        if self is Firmware.BIOS:
            return []
        # One boot option for the card: the others cost minutes before the firmware turns to the local disk.
        off = [6] if self is Firmware.UEFI_PXE else [4, 6]
        settings = [word for n in off for word in ("-fw_cfg", f"name=opt/org.tianocore/IPv{n}PXESupport,string=n")]
        return ["-bios", "/usr/share/ovmf/OVMF.fd", *settings]

    @property
    def card(self) -> str:
        return "virtio-net-pci,romfile=" if self is Firmware.UEFI_PXE else "e1000"


class NotSeen(AssertionError):
    """The text did not appear on the console in time."""


class Pc:
    """One PC: a card on the wire, and its local disk when it has one (it boots from that when the network sends it away)."""

    def __init__(self, wire: Wire, name: str, mac: str, firmware: Firmware, disk: Path | None, card: str = "") -> None:
        self.name, self.mac, self.firmware = name, mac, firmware
        self._card = card or firmware.card
        self._wire, self._disk, self._tap = wire, disk, wire.tap()
        self._process: subprocess.Popen[bytes] | None = None
        self._reader: threading.Thread | None = None
        self._raw = bytearray()
        self._more = threading.Condition()
        self.was_on = False

    @property
    def console(self) -> str:
        """What it has shown since it was last powered on, without escape sequences."""
        with self._more:
            return _ESCAPE.sub(b"", bytes(self._raw)).decode(errors="replace")

    def power_on(self, shown: Callable[[str], None] | None = None) -> None:
        """``shown`` gets each line of the console as it appears, from a thread of its own."""
        self.power_off()
        self.was_on = True
        command = [
            *("qemu-system-x86_64", "-accel", "tcg", "-m", "256", "-nographic", "-no-reboot", "-nodefaults"),
            *("-serial", "stdio", *self.firmware.arguments),
            *("-netdev", f"tap,id=wire,ifname={self._tap},script=no,downscript=no"),
            *("-device", f"{self._card},netdev=wire,mac={self.mac},bootindex=0"),
        ]
        if self._disk:
            command += [
                "-drive",
                f"if=none,id=local,format=raw,file={self._disk}",
                "-device",
                "ide-hd,drive=local,bootindex=1",
            ]
        self._raw.clear()
        self._process = subprocess.Popen(
            self._wire.command(command), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        self._reader = threading.Thread(target=self._read, args=(self._process, shown), daemon=True)
        self._reader.start()

    def _read(self, process: subprocess.Popen[bytes], shown: Callable[[str], None] | None) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        line, asked = b"", False
        while data := process.stdout.read1(4096):  # type: ignore[attr-defined]
            if shown:
                *whole, line = (line + data).split(b"\n")
                for one in whole:
                    shown(_ESCAPE.sub(b"", one).decode(errors="replace"))
            with self._more:  # after it was shown: who waits for a text goes on when it is on the screen
                self._raw += data
                self._more.notify_all()
            if not asked and _PROMPT in self._raw:  # any other key lets it go on at once, and not after two seconds
                asked = True
                with contextlib.suppress(OSError):  # it was switched off
                    os.write(process.stdin.fileno(), b" ")
        process.stdin.close()
        process.stdout.close()
        with self._more:
            self._more.notify_all()

    def wait(self, text: str, timeout: float = 90) -> str:
        """The rest of the line that ``text`` stands at the front of or in, once it is complete. NotSeen."""
        deadline = time.monotonic() + timeout
        pattern = re.compile(re.escape(text) + r"[ ]?([^\n]*)\n")
        with self._more:
            while True:
                ended = self._reader is None or not self._reader.is_alive()  # then nothing more of it is to be read
                match = pattern.search(_ESCAPE.sub(b"", bytes(self._raw)).decode(errors="replace"))
                if match:
                    return match[1].strip()
                left = deadline - time.monotonic()
                if left <= 0 or ended:
                    break
                self._more.wait(min(left, 1))
        why = "it ended" if ended else f"{timeout:.0f} s went by"
        raise NotSeen(f"{self.name} ({self.firmware}) did not show {text!r}: {why}. Its console:\n{self.console[-3000:]}")

    def boot(self, until: str = "BOOT-OK", timeout: float = 90, shown: Callable[[str], None] | None = None) -> str:
        """Powers it on and waits for ``until``; gives the rest of that line. NotSeen."""
        self.power_on(shown)
        return self.wait(until, timeout)

    def await_off(self, timeout: float = 90) -> None:
        """Until its system has switched it off. NotSeen."""
        assert self._process is not None, f"{self.name} was not switched on"
        try:
            self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise NotSeen(f"{self.name} did not switch itself off. Its console:\n{self.console[-3000:]}") from None
        self.power_off()

    def power_off(self) -> None:
        """The plug is pulled, as from a PC whose user goes home."""
        if self._process is not None:
            end(self._process)
            self._process = None
        if self._reader is not None:
            self._reader.join()
            self._reader = None


def local_disk(prepared: Prepared, folder: Path, name: str) -> Path:
    """A disk of the PC's own, whose boot program says LOCAL-DISK."""
    path = folder / f"{name}.local.raw"
    shutil.copy(prepared.local_disk, path)
    return path
