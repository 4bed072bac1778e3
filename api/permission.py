"""May this one do that to this object: the one place where it is decided, for reads and for writes.

A role reaches everywhere. A binding reaches what its selector selects: machines and images and networks by their labels,
a session by those of its machine (its own may only narrow that), because whoever starts sessions could set a session's.
A write is decided on what stands before and on what would stand after, inside its own transaction, so that nobody moves
the object or its machine in between. Images and networks are the whole site's: a binding shows them, it changes none.
"""

import re
from collections import ChainMap
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import cast

from api.bound import Grant
from api.deps import Door, Principal
from api.errors import Forbidden
from api.roles import Role, capped
from api.verbs import COVERS, HOLDS, PERSONAL, Verb, covered
from controller.core.steps import Plan
from manifests.kinds import Object
from manifests.load import Invalid, Problem
from manifests.machine import Machine
from manifests.session import Session

Pair = tuple[Object | None, Object | None]
Visible = Callable[[Object], bool]
_KEY = re.compile(r"\b(?:Network|Machine|Image|Session)/[a-z0-9-]+", re.ASCII)
_HIDDEN = "does not go together with an object that you may not see: ask an administrator"


@dataclass(frozen=True, slots=True)
class Reach:
    """What one asker may do: ``everywhere``, and more within what each of ``grants`` selects."""

    who: Principal
    everywhere: frozenset[Verb]
    grants: tuple[Grant, ...]

    def anywhere(self, verb: Verb) -> bool:
        return verb in self.everywhere or any(verb in grant.verbs for grant in self.grants)

    def over(self, verb: Verb, item: Object, objects: Mapping[str, Object]) -> bool:
        """``objects`` has a session's machine, if there is one."""
        if verb in self.everywhere:
            return True
        if verb is not Verb.READ and not isinstance(item, Machine | Session):
            return False
        return any(verb in grant.verbs and _selected(grant, item, objects) for grant in self.grants)


def reach(door: Door, who: Principal) -> Reach:
    """As the bindings and the account stand: asked anew for each request, and for each look of a stream."""
    role, through = _role(door, who), covered(who.scopes)
    if role is None:
        return Reach(who, frozenset(), ())
    if role is Role.ADMIN:
        return Reach(who, HOLDS[Role.ADMIN] & through, ())
    grants = door.bound.of(who.name)
    narrowed = any(grant.narrows for grant in grants)
    everywhere = HOLDS[role] & through & (PERSONAL if narrowed else HOLDS[role])
    cut = tuple(Grant(grant.verbs & through, grant.matches, grant.narrows) for grant in grants)
    return Reach(who, everywhere, cut)


def _role(door: Door, who: Principal) -> Role | None:
    """What they may be by now; None once their account is gone, and with it what had narrowed them."""
    if not who.uid:
        return who.role
    user = door.identity.known.user(who.uid)
    return None if user is None else capped(Role(user.role), who.scopes)


def _selected(grant: Grant, item: Object, objects: Mapping[str, Object]) -> bool:
    if not isinstance(item, Session):
        return grant.matches(item.metadata.labels)
    machine = objects.get(_machine(item))
    if machine is None:
        return False
    theirs = machine.metadata.labels
    return grant.matches(theirs) and grant.matches({**theirs, **item.metadata.labels})


def _machine(session: Session) -> str:
    return f"Machine/{session.spec.machine}"


# to write


def allow(
    door: Door,
    who: Principal,
    verb: Verb,
    pairs: Sequence[Pair],
    standing: Mapping[str, Object],
    *,
    force: bool = False,
    revived: Collection[str] = (),
) -> None:
    """Whether these objects may be changed so; ``standing`` is all that there is, ``revived`` are the keys of those that
    the asker has seen deleted.

    Before is None for an object that is not there, after for one that goes. Forbidden; Invalid for an image or a network
    that may not be seen, as if there were none.
    """
    found = reach(door, who)
    after = ChainMap({new.key: new for _, new in pairs if new is not None}, cast(dict[str, Object], standing))
    for old, new in pairs:
        for needed in _needed(verb, old, new, force):
            if needed not in found.everywhere:
                if Verb.READ in found.everywhere or (old is not None and found.over(Verb.READ, old, standing)):
                    _demand(found, needed, old, new, standing, after)
                else:
                    _demand_unseen(found, needed, old, new, after, revived)
        if new is not None and Verb.READ not in found.everywhere:
            _named(found, old, new, after)


def _needed(verb: Verb, old: Object | None, new: Object | None, force: bool) -> Iterator[Verb]:
    """The verb itself, and what hides in a flag or an annotation."""
    yield verb
    if verb is Verb.READ:
        return
    disrupts = new is not None and new.metadata.disruption_allowed and not (old and old.metadata.disruption_allowed)
    if force or disrupts:
        yield Verb.FORCE
    if new is not None and new.metadata.paused != (old is not None and old.metadata.paused):
        yield Verb.SUSPEND


def _demand(
    found: Reach,
    verb: Verb,
    old: Object | None,
    new: Object | None,
    standing: Mapping[str, Object],
    after: Mapping[str, Object],
) -> None:
    """Forbidden."""
    one = old or new
    assert one is not None
    if old is not None and not found.over(verb, old, standing):
        raise refusal(found.who, verb, one.key)
    if new is not None and not found.over(verb, new, after):
        moves = isinstance(old, Session) and isinstance(new, Session) and old.spec.machine != new.spec.machine
        raise refusal(found.who, verb, one.key, "spec.machine" if moves else "metadata.labels")
    if verb is not Verb.READ and old is None and new is not None:
        _bears(new)


def _demand_unseen(
    found: Reach, verb: Verb, old: Object | None, new: Object | None, after: Mapping[str, Object], revived: Collection[str]
) -> None:
    """Of what the asker may not see it is not told whether it is there: to make it is refused as to change it is. Only the
    session of a machine that they see may be made, under its name, which tells nothing. Forbidden."""
    one = old or new
    assert one is not None
    if new is not None:
        _bears(new)
    known = isinstance(new, Session) or one.key in revived
    if old is not None or new is None or not known or not found.over(verb, new, after):
        raise refusal(found.who, verb, one.key)


def _bears(new: Object) -> None:
    """Forbidden."""
    if isinstance(new, Session) and new.name != new.spec.machine:
        message = f"{new.key}: a binding lets you make the session that bears its machine's name, {new.spec.machine}, alone."
        raise Forbidden(message, "metadata.name")


def _named(found: Reach, old: Object | None, new: Object, after: Mapping[str, Object]) -> None:
    """What a manifest newly names must be there for its writer. Invalid, in the words for what is not."""
    before = {key for _, key in _names(old)} if old is not None else set()
    for field, key in _names(new):
        if key in before:
            continue
        one = after.get(key)
        if one is not None and not found.over(Verb.READ, one, after):
            raise Invalid([Problem("", 0, new.key, f"spec.{field}", f"there is no {key} for {new.key} in this set")])


def _names(one: Object) -> list[tuple[str, str]]:
    match one:
        case Session():
            return [(field, f"Image/{ref.image}") for field, ref in one.spec.images]
        case Machine() if one.spec.network is not None:
            return [("network", f"Network/{one.spec.network}")]
        case _:
            return []


def refusal(who: Principal, verb: Verb, key: str = "", field: str = "permission") -> Forbidden:
    """What is missing, and who can give it; never what the object holds."""
    where = f" for {key}" if key else ""
    if verb not in covered(who.scopes):
        scope = next(name for name, verbs in COVERS.items() if verb in verbs)
        return Forbidden(f"The scopes of this API key do not cover '{verb}'{where}: use a key with scope {scope}.", field)
    if verb is Verb.ADMINISTER:
        message = f"This is for administrators ('{verb}'), and your role is {who.role}: one of them (ADMIN) can change that."
        return Forbidden(message, field)
    give = "give you a role that has it"
    if key:
        give += ", or bind you to what you look after (ggnet binding create)"
    return Forbidden(
        f"This needs the permission '{verb}'{where}, which your role {who.role} and your bindings do not give here: "
        f"an administrator (ADMIN) can {give}.",
        field,
    )


# to read


def visible(door: Door, who: Principal) -> Visible:
    """Whether the asker may see an object as it stands; of an older state of it also whether the newest may be seen."""
    found, objects = reach(door, who), door.mirror.objects
    if Verb.READ in found.everywhere:
        return lambda item: True

    def sees(item: Object) -> bool:
        now = objects.get(item.key, item)
        return found.over(Verb.READ, item, objects) and (now is item or found.over(Verb.READ, now, objects))

    return sees


def tellable(door: Door, who: Principal) -> Callable[[str], bool]:
    """Whether the asker may hear of this key. Of what is gone only those hear who see everything."""
    if Verb.READ in reach(door, who).everywhere:
        return lambda key: True
    may_see, objects = visible(door, who), door.mirror.objects
    return lambda key: key in objects and may_see(objects[key])


def sees_all(door: Door, who: Principal) -> bool:
    return Verb.READ in reach(door, who).everywhere


def check(door: Door, who: Principal, verb: Verb, item: Object) -> None:
    """For what is done to one object where it stands. Forbidden."""
    if not reach(door, who).over(verb, item, door.mirror.objects):
        raise refusal(who, verb, item.key)


def part(door: Door, who: Principal, plan: Plan, objects: Mapping[str, Object]) -> Plan:
    """Of a plan for ``objects`` what concerns only what the asker may see."""
    found = reach(door, who)
    if Verb.READ in found.everywhere:
        return plan
    keys = {key for key, one in objects.items() if found.over(Verb.READ, one, objects)}
    steps = tuple(step for step in plan.steps if step.owners and step.owners <= keys)
    return Plan(steps, {key: message for key, message in plan.waits.items() if key in keys})


@contextmanager
def discreet(door: Door, who: Principal) -> Iterator[None]:
    """What is wrong with a set, without the names of objects that the asker may not see."""
    try:
        yield
    except Invalid as error:
        found = reach(door, who)
        if Verb.READ in found.everywhere:
            raise
        raise Invalid([_masked(found, problem, door.mirror.objects) for problem in error.problems]) from None


def _masked(found: Reach, problem: Problem, objects: Mapping[str, Object]) -> Problem:
    def hidden(key: str) -> bool:
        return key in objects and not found.over(Verb.READ, objects[key], objects)

    if hidden(problem.object):
        return Problem("", 0, "", "", f"what you sent {_HIDDEN}")
    if problem.message.startswith("there is no "):
        return problem  # which is what a hidden object and one that is not there have in common
    if any(map(hidden, _KEY.findall(problem.message))):
        return Problem(problem.file, problem.line, problem.object, problem.field, _HIDDEN)
    return problem
