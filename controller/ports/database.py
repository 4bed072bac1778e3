"""All that the doors ask of the one database."""

from typing import Protocol

from controller.ports.permission import Bindings
from controller.ports.requests import Requests
from controller.ports.store import Store
from controller.ports.tombstones import Tombstones


class Database(Store, Requests, Tombstones, Bindings, Protocol):
    """Objects, what was deleted of them, the requests that changed them, and who is bound to which: in one place, so that
    a write is one transaction over all of these."""
