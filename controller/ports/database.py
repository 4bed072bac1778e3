"""All that the doors ask of the one database."""

from typing import Protocol

from controller.ports.audit import Audit
from controller.ports.permission import Bindings
from controller.ports.requests import Requests
from controller.ports.store import Store
from controller.ports.tombstones import Tombstones


class Database(Store, Requests, Tombstones, Bindings, Audit, Protocol):
    """Objects, what was deleted of them, the requests that changed them, who is bound to which, and who did it: in one
    place, so that a write is one transaction over all of these."""
