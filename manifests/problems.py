"""What is wrong with a set of manifests, and where: the only thing that reading them can fail with."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

MAX_PROBLEMS = 1000


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One thing to put right. Sorts by place.

    ``line`` counts from 1, and is 0 where there is none; ``object`` is ``Kind/name``, only ``Kind``, or empty where that
    cannot be told; ``field`` is a path as ``spec.macs[0]``, empty for the object as a whole.
    """

    file: str
    line: int
    object: str
    field: str
    message: str

    def __str__(self) -> str:
        """``machines.yaml:12: Machine/pc07 spec.address: the message``, on one line whatever the file is called."""
        place = f"{self.file}:{self.line}" if self.line else self.file
        subject = " ".join(part for part in (self.object, self.field) if part)
        text = f"{place}: {subject}: {self.message}" if subject else f"{place}: {self.message}"
        return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text.removeprefix(": "))

    def wire(self) -> Mapping[str, Any]:
        return {
            "file": self.file,
            "line": self.line,
            "object": self.object,
            "field": self.field,
            "message": self.message,
        }


class Invalid(Exception):
    """The set is refused as a whole. ``problems`` holds all that is wrong with it, sorted, at most MAX_PROBLEMS."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = shortened(problems)
        super().__init__("\n".join(map(str, self.problems)))


def shortened(problems: Iterable[Problem]) -> tuple[Problem, ...]:
    """Sorted; of a flood, the first ones and how many more there are."""
    found = sorted(problems)
    if len(found) > MAX_PROBLEMS:
        last = found[MAX_PROBLEMS - 2]
        more = f"and {len(found) - MAX_PROBLEMS + 1} more problems"
        found = [*found[: MAX_PROBLEMS - 1], Problem(last.file, last.line, "", "", more)]
    return tuple(found)
