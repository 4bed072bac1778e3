"""Pieces of an image's header, read by someone who believes none of it."""

import array
import struct
import sys
from collections.abc import Iterator
from typing import Literal

from controller.adapters.images.problem import SourceProblem
from controller.adapters.images.sniff import read

_PIECE = 1 << 20
_ZEROS = bytes(_PIECE)


class Reader:
    """The ``size`` bytes of ``fd``: each read is within them, or a SourceProblem; ``what`` is the format's name.

    ``tables``: whether those are read too that lead to the data, which takes seconds for terabytes.
    """

    def __init__(self, fd: int, size: int, what: str, *, tables: bool) -> None:
        self._fd, self.size, self._what, self.tables = fd, size, what, tables

    def bytes(self, at: int, length: int) -> bytes:
        if not 0 <= at <= self.size - length:
            raise self.corrupt("it ends too early: copy or download it again")
        data = read(self._fd, length, at)
        if len(data) != length:
            raise self.corrupt("it became shorter while it was read")
        return data

    def unpack(self, form: str, at: int) -> tuple[int, ...]:
        return struct.unpack(form, self.bytes(at, struct.calcsize(form)))

    def entries(
        self, at: int, count: int, kind: Literal["I", "Q"], order: Literal["little", "big"]
    ) -> "Iterator[array.array[int]]":
        """A table of numbers, in pieces, those left out that are all zeros."""
        end, width = at + count * array.array(kind).itemsize, _PIECE
        if end > self.size:
            raise self.corrupt("it ends too early: copy or download it again")
        for start in range(at, end, width):
            data = self.bytes(start, min(width, end - start))
            if data == _ZEROS[: len(data)]:
                continue
            piece = array.array(kind, data)
            if order != sys.byteorder:
                piece.byteswap()
            yield piece

    def hold(self, used: int, least: int) -> None:
        """``used`` pieces of at least ``least`` bytes each: no more than there is room for, if none is used twice.

        What is used twice is no data, but a small file that would fill a disk.
        """
        if used * least > self.size:
            raise self.refused(
                f"claims {used * least} bytes of data in a file of {self.size}: its tables lead to the same places"
            )

    def corrupt(self, why: str) -> SourceProblem:
        return SourceProblem("SourceCorrupt", f"it is a damaged {self._what} image: {why}")

    def refused(self, why: str) -> SourceProblem:
        return SourceProblem("SourceRefused", f"it is a {self._what} image that {why}")
