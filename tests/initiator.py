"""The smallest iSCSI initiator: it logs in, holds its session open, and hangs up (RFC 7143, 11.12)."""

import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager

_KEYS = (
    "SessionType=Normal",
    "HeaderDigest=None",
    "DataDigest=None",
    "ErrorRecoveryLevel=0",
    "InitialR2T=Yes",
    "ImmediateData=Yes",
    "MaxBurstLength=262144",
    "FirstBurstLength=65536",
    "DefaultTime2Wait=0",
    "DefaultTime2Retain=0",
    "MaxOutstandingR2T=1",
    "MaxConnections=1",
    "DataPDUInOrder=Yes",
    "DataSequenceInOrder=Yes",
    "MaxRecvDataSegmentLength=8192",
)


@contextmanager
def logged_in(address: tuple[str, int], initiator: str, target: str) -> Iterator[socket.socket]:
    """ConnectionRefusedError when the target refuses the login; its status class and detail in the message."""
    data = b"".join(f"{key}\0".encode() for key in (f"InitiatorName={initiator}", f"TargetName={target}", *_KEYS))
    header = struct.pack(
        ">BBBB4s6sHIHHII16s", 0x43, 0x87, 0, 0, len(data).to_bytes(4, "big"), b"\x80\0\0\0\0\1", 0, 1, 0, 0, 1, 0, b""
    )
    with socket.create_connection(address, timeout=20) as wire:
        wire.sendall(header + data + b"\0" * (-len(data) % 4))
        answer = b""
        while len(answer) < 48:
            chunk = wire.recv(48 - len(answer))
            if not chunk:
                raise ConnectionRefusedError("the target hung up")
            answer += chunk
        if answer[0] & 0x3F != 0x23 or answer[36] or not answer[1] & 0x80:
            raise ConnectionRefusedError(f"login refused: status {answer[36]}.{answer[37]}")
        yield wire
