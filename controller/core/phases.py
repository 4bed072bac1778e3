"""The life of a Session, and of the Machine that it runs on, as a table: what is asked and how far it is -> phase."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Literal

from controller.core.observed import Login

Phase = Literal[
    "Pending", "Preparing", "Ready", "Active", "Stopping", "Stopped", "Committing", "Failed", "Unknown", "Local",
    "Importing", "Downloading"
]  # fmt: skip


class Progress(StrEnum):
    """How far the world is from what is asked of it."""

    BLIND = "cannot be read"
    MISSING = "something that it needs is not there"
    FAILED = "a step did not end well"
    WORK = "steps are due"
    HELD = "steps wait for somebody"
    DONE = "nothing left to do"


Asked = Literal["running", "stopped", "committed"]

SESSION: Mapping[tuple[Asked, Progress], Phase] = {
    ("running", Progress.BLIND): "Unknown",
    ("running", Progress.MISSING): "Pending",
    ("running", Progress.FAILED): "Failed",
    ("running", Progress.WORK): "Preparing",
    ("running", Progress.HELD): "Pending",
    ("running", Progress.DONE): "Ready",
    ("stopped", Progress.BLIND): "Unknown",
    ("stopped", Progress.MISSING): "Stopped",
    ("stopped", Progress.FAILED): "Failed",
    ("stopped", Progress.WORK): "Stopping",
    ("stopped", Progress.HELD): "Stopping",
    ("stopped", Progress.DONE): "Stopped",
    ("committed", Progress.BLIND): "Unknown",
    ("committed", Progress.MISSING): "Committing",
    ("committed", Progress.FAILED): "Failed",
    ("committed", Progress.WORK): "Committing",
    ("committed", Progress.HELD): "Committing",
    ("committed", Progress.DONE): "Committing",
}

SERVED: Mapping[Login, Phase | None] = {Login.ACTIVE: "Active", Login.UNKNOWN: "Unknown", Login.NONE: None}
"""A running session whose disk stands whole, whatever else waits: what its PC does decides, if it does anything."""

IMAGE: Mapping[Progress, Phase] = {
    Progress.BLIND: "Unknown",
    Progress.MISSING: "Pending",
    Progress.FAILED: "Failed",
    Progress.WORK: "Importing",
    Progress.HELD: "Pending",
    Progress.DONE: "Ready",
}

NETWORK: Mapping[Progress, Phase] = {**IMAGE, Progress.WORK: "Preparing", Progress.MISSING: "Failed"}


def session(asked: Asked, progress: Progress, *, whole: bool, login: Login) -> Phase:
    """``whole``: its disk stands and can be booted from, even if more is to be done."""
    if asked == "running" and whole and progress is not Progress.BLIND:
        return SERVED[login] or ("Ready" if progress is Progress.HELD else SESSION[asked, progress])
    return SESSION[asked, progress]


def machine(followed: Phase | None) -> Phase:
    """A machine follows its running session; without one it boots its local disk."""
    return followed or "Local"
