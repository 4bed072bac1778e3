"""What the store's suites share: a store of each kind, times, and small manifests."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest

from controller.adapters.store import SqlStore
from controller.ports.audit import Actor, Entry
from controller.ports.store import Event, Revision, Store
from manifests.machine import Machine
from manifests.session import Session
from tests.fakes_store import MemoryStore

NOW = datetime(2026, 1, 5, 12, 0, 0, 123456, tzinfo=UTC)
GIT = "git:main"
API = "api:ada"
TOLD = Entry(NOW, Actor("api:root"), "test")
"""The audit row of a change that a test makes."""


def later(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


@pytest.fixture
async def store(store_url: str | None) -> AsyncIterator[Store]:
    """Keeps little, so that tests see it go."""
    opened: Store = MemoryStore(changes_kept=64, events_kept=32, tombstones_kept=8)
    if store_url:
        opened = SqlStore(store_url, changes_kept=64, events_kept=32, tombstones_kept=8)
    yield opened
    await opened.close()


def machine(name: str = "pc1", mac: int = 7, *, labels: dict[str, str] | None = None, **annotations: str) -> Machine:
    meta = {"name": name, "labels": labels or {}, "annotations": {f"ggnet/{k}": v for k, v in annotations.items()}}
    return Machine.model_validate(
        {"metadata": meta, "spec": {"macs": [f"52:54:00:00:00:{mac:02x}"], "address": "10.77.0.57"}}
    )


def session(name: str, machine: str = "pc1", state: str = "running") -> Session:
    return Session.model_validate(
        {"metadata": {"name": name}, "spec": {"machine": machine, "image": "win11@v3", "state": state}}
    )


def event(key: str, reason: str = "Repaired", at: float = 0, message: str = "done", count: int = 1) -> Event:
    return Event(key, "Normal", reason, message, later(at), later(at), count)


def revision(sha: str, at: float = 0, **rest: object) -> Revision:
    values = {"source": "main", "author": "Ada", "message": "add pc7", "verdict": "accepted", "problems": (), **rest}
    return Revision(sha=sha, received_at=later(at), **values)  # type: ignore[arg-type]
