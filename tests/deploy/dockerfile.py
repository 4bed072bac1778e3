"""A Dockerfile as its builder reads it: stages of instructions."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]


@dataclass
class Stage:
    """``steps``: instruction and its argument, in order; lines that go on are one."""

    name: str
    origin: str
    steps: list[tuple[str, str]] = field(default_factory=list)

    def arguments(self, instruction: str) -> list[str]:
        return [argument for word, argument in self.steps if word == instruction]


def stages() -> dict[str, Stage]:
    """By name, in order; the last is the one that is built by default."""
    found: dict[str, Stage] = {}
    for word, argument in _instructions((ROOT / "Dockerfile").read_text()):
        if word == "FROM":
            origin, name = re.fullmatch(r"(\S+) AS (\S+)", argument).groups()  # type: ignore[union-attr]
            found[name] = Stage(name, origin)
        elif found:
            found[next(reversed(found))].steps.append((word, argument))
        else:
            assert word == "ARG", f"{word} before the first FROM"
    return found


def _instructions(text: str) -> Iterator[tuple[str, str]]:
    lines = "\n".join(line for line in text.splitlines() if not line.startswith("#"))
    for line in lines.replace("\\\n", " ").splitlines():
        if line.strip():
            word, _, argument = line.partition(" ")
            yield word, " ".join(argument.split()) if word != "RUN" else argument.strip()


def context() -> list[str]:
    """What ``.dockerignore`` lets go to the builder: it excludes all, then names what it takes."""
    lines = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    assert lines[0] == "*"
    return [line.removeprefix("!") for line in lines if line.startswith("!")]
