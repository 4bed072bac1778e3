"""``compose.yaml`` as an engine reads it, and its commands with the places of this machine."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
FILE = ROOT / "compose.yaml"
_VARIABLE = re.compile(r"\$\{(\w+):-([^}]*)\}")


def composed() -> dict[str, Any]:
    """With variables at their defaults; ``$$`` stays what it is."""
    found: dict[str, Any] = yaml.safe_load(_VARIABLE.sub(r"\2", FILE.read_text()))
    return found


def services() -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = composed()["services"]
    return found


@dataclass(frozen=True)
class Places:
    """What stands for what: text of the file -> text of this machine. What is not in the text is left."""

    known: Mapping[str, str]

    def text(self, given: str) -> str:
        for old, new in self.known.items():
            given = given.replace(old, new)
        return given.replace("$$", "$")

    def command(self, service: Mapping[str, Any]) -> list[str]:
        return [self.text(word) for word in service["command"]]

    def check(self, service: Mapping[str, Any]) -> list[str]:
        """The health check as a command: CMD is run as it is, CMD-SHELL by a shell."""
        kind, *words = service["healthcheck"]["test"]
        shell = {"CMD": [], "CMD-SHELL": ["/bin/sh", "-c"]}[kind]
        return [*shell, *(self.text(word) for word in words)]

    def environment(self, service: Mapping[str, Any]) -> dict[str, str]:
        return {name: self.text(str(value)) for name, value in service["environment"].items()}
