"""The audit log as a chain: each row names the hash of the row before it, so that none can be changed alone.

A hash covers the row's number and all that it says, as canonical JSON. Whoever can write every row can also write a new
chain; that is found by a head that was noted elsewhere. Here is only what follows from the rows; no database.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple

from controller.core.masking import canonical

GENESIS = "0" * 64
_KEPT = 200  # rows that do not fit are looked into, up to this many


class Mark(NamedTuple):
    """A place in the chain: the number of a row and its hash."""

    seq: int
    hash: str

    def __str__(self) -> str:
        return f"{self.seq}:{self.hash}"


START = Mark(0, GENESIS)


class Said(NamedTuple):
    """What a row says; ``at`` in UTC to the microsecond, ``actor`` and ``subject`` as digests, the sides as JSON text."""

    at: str
    actor: str
    request_id: str
    action: str
    outcome: str
    object: str | None
    subject: str | None
    times: int
    before: str | None
    after: str | None


class Link(NamedTuple):
    seq: int
    said: Said
    previous: str
    hash: str


@dataclass(frozen=True, slots=True)
class Finding:
    """What is wrong with rows ``first`` to ``last``; kind: altered removed inserted moved replaced head noted name
    checkpoint."""

    kind: str
    first: int
    last: int
    message: str


def seal(previous: str, seq: int, said: Said) -> str:
    return hashlib.sha256(canonical([previous, seq, *said]).encode()).hexdigest()


@dataclass(slots=True)
class Check:
    """Is fed all rows by number, after a checkpoint, and told the head at the end."""

    last: Mark = START
    noted: Mark | None = None
    findings: list[Finding] = field(default_factory=list)
    _start: Mark = START
    _strange: dict[int, Link] = field(default_factory=dict)
    _gaps: list[tuple[int, int]] = field(default_factory=list)
    _fits: bool = True
    _more: int = 0
    _found: bool = False

    def __post_init__(self) -> None:
        self._start = self.last
        self._look_for(self.last)

    def feed(self, links: Iterable[Link]) -> None:
        for link in links:
            follows = link.seq == self.last.seq + 1
            if not follows:
                self._gaps.append((self.last.seq + 1, link.seq - 1))
            fits = seal(link.previous, link.seq, link.said) == link.hash
            if not fits:
                self._keep(link)
            elif follows and self._fits and link.previous != self.last.hash:
                self._broken(link)
            self.last, self._fits = Mark(link.seq, link.hash), fits
            self._look_for(self.last)

    def finish(self, head: Mark) -> Sequence[Finding]:
        """Everything that was found, by number."""
        moved = dict(self._moved())
        self._altered(moved)
        self._order(moved)
        self._lost(moved, head)
        self._head(head, moved)
        if self.noted is not None and not self._found:
            message = (
                f"the head that was noted, {self.noted.hash}, is not in the chain after row {self._start.seq}: rows were "
                "removed, the chain was written anew, or it was noted before the last prune"
            )
            self.findings.append(Finding("noted", self.noted.seq, self.noted.seq, message))
        return sorted(self.findings, key=lambda one: (one.first, one.kind))

    def _look_for(self, mark: Mark) -> None:
        if self.noted is not None and self.noted.hash == mark.hash and self.noted.seq in (0, mark.seq):
            self._found = True

    def _keep(self, link: Link) -> None:
        if len(self._strange) < _KEPT:
            self._strange[link.seq] = link
        else:
            self._more += 1

    def _broken(self, link: Link) -> None:
        before = self.last.seq
        if before == self._start.seq:
            message = f"row {link.seq} does not follow the checkpoint at {before}: rows before it were replaced or removed"
            self.findings.append(Finding("checkpoint", before, link.seq, message))
        elif len(self.findings) < _KEPT:
            message = f"row {before} is not the row that row {link.seq} follows: it was replaced"
            self.findings.append(Finding("replaced", before, before, message))

    def _moved(self) -> Iterator[tuple[int, int]]:
        """Place and own number of rows that say the truth of themselves, but under another number."""
        shift = 0
        for place, link in self._strange.items():
            near = [place + by for by in (shift, *range(-64, 65))]
            missing = [number for first, last in self._gaps for number in range(first, min(last, first + _KEPT) + 1)]
            for number in (*near, *self._strange, *missing):
                if number != place and seal(link.previous, number, link.said) == link.hash:
                    shift = number - place
                    yield place, number
                    break

    def _altered(self, moved: dict[int, int]) -> None:
        for first, last in _runs(place for place in self._strange if place not in moved):
            more = f" (and {self._more} more rows behind do not fit)" if self._more and last == max(self._strange) else ""
            message = f"{_rows(first, last)} altered: what is said there does not fit the hash{more}"
            self.findings.append(Finding("altered", first, last, message))

    def _order(self, moved: dict[int, int]) -> None:
        by_shift = ((place, number - place) for place, number in moved.items())
        for shift, places in _grouped(by_shift):
            for first, last in _runs(places):
                message = f"{_rows(first, last)} moved: what stands there is what stood {abs(shift)} {_side(shift)}"
                self.findings.append(Finding("moved", first, last, message))
        for place, number in moved.items():
            if number not in self._strange and not self._missing(number) and self._start.seq < number <= self.last.seq:
                first, last = sorted((place, number))
                message = f"rows {first} and {last} are both number {number} by their hashes: one of them was inserted"
                self.findings.append(Finding("inserted", first, last, message))

    def _lost(self, moved: dict[int, int], head: Mark) -> None:
        own = set(moved.values())
        gone = [(place, place) for place in moved if place not in own and place <= head.seq]
        gaps = [*self._gaps, (self.last.seq + 1, head.seq)] if self.last.seq < head.seq else self._gaps
        for first, last in gaps:
            cuts = [first - 1, *sorted(number for number in own if first <= number <= last), last + 1]
            gone += [(a + 1, b - 1) for a, b in pairwise(cuts) if a + 1 < b]
        for first, last in sorted(gone):
            tail = ", the newest there were" if last == head.seq else ""
            self.findings.append(Finding("removed", first, last, f"{_rows(first, last)} removed{tail}"))

    def _missing(self, number: int) -> bool:
        return any(first <= number <= last for first, last in self._gaps)

    def _head(self, head: Mark, moved: dict[int, int]) -> None:
        beyond = [number for number in range(head.seq + 1, self.last.seq + 1) if number not in self._strange]
        for first, last in _runs(beyond[:_KEPT]):
            message = f"{_rows(first, last)} inserted behind the head, which is row {head.seq}"
            self.findings.append(Finding("inserted", first, last, message))
        if self.last.seq == head.seq and self._fits and self.last.hash != head.hash:
            message = f"row {head.seq} is not the one that the head names: the newest row was replaced, or the head altered"
            self.findings.append(Finding("head", head.seq, head.seq, message))


def _rows(first: int, last: int) -> str:
    return f"row {first} was" if first == last else f"rows {first} to {last} were"


def _side(shift: int) -> str:
    places = "place" if abs(shift) == 1 else "places"
    return f"{places} further on" if shift > 0 else f"{places} further back"


def _runs(numbers: Iterable[int]) -> Iterator[tuple[int, int]]:
    """First and last of each run without a gap."""
    found: list[int] = []
    for number in sorted(numbers):
        if found and number != found[-1] + 1:
            yield found[0], found[-1]
            found = []
        found.append(number)
    if found:
        yield found[0], found[-1]


def _grouped(pairs: Iterable[tuple[int, int]]) -> Iterator[tuple[int, list[int]]]:
    found: dict[int, list[int]] = {}
    for place, shift in pairs:
        found.setdefault(shift, []).append(place)
    yield from sorted(found.items())
