"""All that the doors ask of the one database."""

from typing import Protocol

from controller.ports.requests import Requests
from controller.ports.store import Store
from controller.ports.tombstones import Tombstones


class Database(Store, Requests, Tombstones, Protocol):
    """Objects, what was deleted of them, and the requests that changed them: in one place, so that a write is one
    transaction over all of these."""
