"""What of the live changes is for whom."""

from collections import ChainMap
from collections.abc import Hashable

from api import permission
from api.deps import Door, Principal
from api.live.choice import Selection
from api.verbs import Verb
from controller.ports.store import Gone
from manifests.kinds import Object
from manifests.machine import Machine


class Watching:
    """What of the changes after ``since`` is for this asker, asked anew for each. Gone where that can no longer be told.

    A session that is deleted may come to be told after its machine has gone too, whose labels say whose it was: so those
    are remembered. Bare names of what went too long ago to know its labels are for nobody who is narrowed.
    """

    def __init__(self, door: Door, who: Principal, since: int, wants: Selection) -> None:
        recent = door.mirror.recent(since)
        if recent is None and not permission.sees_all(door, who):
            raise Gone(f"what you may see of the changes after resourceVersion {since} is no longer known: list again")
        self._door, self._who, self._wants = door, who, wants
        self._stood, self._found = self._standing(), permission.reach(door, who)
        self._remembered: dict[str, Object] = {}
        if Verb.READ not in self._found.everywhere:
            for item in (*door.mirror.objects.values(), *(one.before for one in recent or ())):
                self._remember(item)
        self._machines = ChainMap(door.mirror.objects, self._remembered)

    def __call__(self, key: str, item: Object | None, machine: Object | None = None, /) -> bool:
        if self.same() is not None:
            return self._wants(key, item)
        self._remember(item)
        then = self._machines if machine is None else ChainMap({machine.key: machine}, *self._machines.maps)
        return item is not None and self._found.over(Verb.READ, item, then) and self._wants(key, item)

    def same(self) -> Hashable | None:
        """By the bindings and the account of this moment: nobody who is narrowed shares what they choose."""
        if (now := self._standing()) != self._stood:
            self._stood, self._found = now, permission.reach(self._door, self._who)
        return self._wants.same() if Verb.READ in self._found.everywhere else None

    def _standing(self) -> Hashable:
        """What the asker's reach depends on."""
        return self._door.bound.of(self._who.name), self._door.identity.known.user(self._who.uid)

    def _remember(self, item: Object | None) -> None:
        """The newest state of each."""
        if isinstance(item, Machine):
            known = self._remembered.get(item.key, item).metadata.resource_version or 0
            if known <= (item.metadata.resource_version or 0):
                self._remembered[item.key] = item
