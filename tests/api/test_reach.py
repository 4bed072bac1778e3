"""What is decided of objects, as a law: no run of writes that a binding permits touches what it does not select."""

import sqlite3
import uuid
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from api import permission, writes
from api.auth.identity import identity
from api.bound import Bound
from api.deps import Door, Principal
from api.errors import Forbidden
from api.roles import Role
from api.verbs import BINDABLE, Verb
from controller.adapters.clock import SystemClock
from controller.adapters.hints import LocalHints
from controller.adapters.store import SqlStore
from controller.bootstrap import doors
from controller.ports.accounts import User
from controller.ports.permission import Binding
from controller.ports.store import StoreError
from controller.settings import Settings
from manifests.image import Image
from manifests.kinds import Object
from manifests.load import Invalid
from manifests.machine import Machine
from manifests.network import Network
from manifests.session import Session
from tests.contracts.stores import API, NOW, TOLD, machine, session

ROOM = {"room": "main"}
VERBS = tuple(sorted(verb.value for verb in BINDABLE))


def who(name: str = "ada", role: Role = Role.VIEWER) -> Principal:
    return Principal(name, role, "127.0.0.1", "r")


async def door(url: str, *bindings: Binding) -> Door:
    store, clock = SqlStore(url), SystemClock()
    for user in {one.user for one in bindings}:
        await store.add_user(User(user, str(uuid.uuid4()), "VIEWER", "no hash", NOW), TOLD)
    for one in bindings:
        await store.bind(one, TOLD)
    with TemporaryDirectory() as folder:
        here = Settings(state_dir=Path(folder))
        ours, outbox = identity(store, store, clock, here), doors.outbox(here, store)
        made = Door(store, clock, here, "x" * 43, LocalHints(), ours, outbox, doors.uploads(here, store))
    await made.bound.fresh()
    await store.close()
    return made


def binding(*verbs: str, selector: str = "room=main", narrows: bool = False, user: str = "ada") -> Binding:
    return Binding(f"{user}{selector}{narrows}"[:36], user, verbs, selector, narrows, NOW, "admin")


@pytest.fixture
def bound_door(sqlite_url: str) -> Door:
    """Ada may do all that a binding can give in room main; eve sees that alone."""
    return anyio.run(door, sqlite_url, binding(*VERBS), binding(*VERBS, user="eve", narrows=True))


# the law

LABELS = st.sampled_from(({}, {"room": "main"}, {"room": "lab"}, {"room": "main", "gpu": "yes"}, {"gpu": "yes"}))
NAMES = st.sampled_from(("a", "b"))
MACHINES = st.builds(lambda name, labels: machine(name, labels=labels), NAMES, LABELS)
SESSIONS = st.builds(
    lambda name, on, state, labels: _labelled(session(name, on, state), labels),
    NAMES,
    NAMES,
    st.sampled_from(("running", "stopped")),
    LABELS,
)
SITE = st.builds(
    lambda kind, labels: _labelled(kind, labels),
    st.sampled_from(
        (
            Network.model_validate(
                {"metadata": {"name": "a"}, "spec": {"cidr": "10.77.0.0/24", "serverAddress": "10.77.0.1"}}
            ),
            Image.model_validate({"metadata": {"name": "a"}, "spec": {"source": {"path": "a.raw"}}}),
        )
    ),
    LABELS,
)
OBJECTS = st.one_of(MACHINES, SESSIONS, SITE)
WRITES = st.lists(st.tuples(st.sampled_from(VERBS), st.lists(OBJECTS, min_size=1, max_size=3)), max_size=12)


def _labelled(item: Object, labels: dict[str, str]) -> Object:
    return item.model_copy(update={"metadata": item.metadata.model_copy(update={"labels": labels})})


def foreign(world: Mapping[str, Object]) -> dict[str, Object]:
    """What is not room main's: written out apart from the code that decides."""

    def ours(item: Object) -> bool:
        if isinstance(item, Session):
            on = world.get(f"Machine/{item.spec.machine}")
            return on is not None and ours(on) and item.metadata.labels.get("room", "main") == "main"
        return isinstance(item, Machine) and item.metadata.labels.get("room") == "main"

    return {key: item for key, item in world.items() if not ours(item)}


@pytest.mark.parametrize("user", ["ada", "eve"])
def test_no_run_of_permitted_writes_changes_what_is_foreign(bound_door: Door, user: str) -> None:
    permitted = set[str]()

    @settings(max_examples=300)
    @given(st.lists(OBJECTS, max_size=9), WRITES)
    def law(start: list[Object], writes: list[tuple[str, list[Object]]]) -> None:
        world = whole({item.key: item for item in start})
        for verb, items in writes:
            new = {item.key: item for item in items if verb != "delete" or item.key in world}
            pairs = [(world.get(key), None if verb == "delete" else item) for key, item in new.items()]
            after = {**world, **new} if verb != "delete" else {key: world[key] for key in world.keys() - new.keys()}
            try:
                permission.allow(bound_door, who(user), Verb(verb), pairs, world)
            except (Forbidden, Invalid):
                continue
            if verb == "read" or whole(after) != after:
                continue  # reading writes nothing, and a set that does not hold together is refused
            permitted.add(verb)
            assert foreign(after) == foreign(world)
            world = after

    law()
    assert {"write", "delete", "start"} <= permitted, "the law was tried on something"


def whole(world: dict[str, Object]) -> dict[str, Object]:
    """Without sessions that name no machine."""
    return {
        key: item for key, item in world.items() if not isinstance(item, Session) or f"Machine/{item.spec.machine}" in world
    }


# what a decision rests on

pytestmark = pytest.mark.anyio


@pytest.fixture
async def store(sqlite_url: str) -> AsyncIterator[SqlStore]:
    opened = SqlStore(sqlite_url)
    yield opened
    await opened.close()


async def test_a_machine_that_moves_before_the_write_is_looked_at_again_in_it(bound_door: Door, store: SqlStore) -> None:
    """The copy of this process says main; another process has made it lab, and the write finds out."""
    await store.put([machine("a", labels=ROOM)], API, NOW)
    await bound_door.mirror.fresh()
    ada, wish = who(), writes.Wish([session("a", "a", "stopped")], {}, verb=Verb.START)
    permission.allow(bound_door, ada, Verb.START, [(None, wish.objects[0])], bound_door.mirror.objects)
    await store.put([machine("a", labels={"room": "lab"})], API, NOW)
    assert bound_door.mirror.objects["Machine/a"].metadata.labels == ROOM
    with pytest.raises(Forbidden):
        await writes.put(bound_door, ada, wish)
    assert [item.key for item in (await store.list())[0]] == ["Machine/a"]
    await bound_door.store.close()


async def test_a_machine_that_another_process_moved_is_not_put_back(bound_door: Door, store: SqlStore) -> None:
    await store.put([machine("a", labels=ROOM)], API, NOW)
    await bound_door.mirror.fresh()
    await store.put([machine("a", labels={"room": "lab"})], API, NOW)
    with pytest.raises(Forbidden):
        await writes.put(bound_door, who(), writes.Wish([machine("a", 8, labels=ROOM)], {}))
    with pytest.raises(Forbidden):
        await writes.delete(bound_door, who(), writes.Removal(["Machine/a"]))
    assert (await store.get("Machine/a")).metadata.labels == {"room": "lab"}
    await bound_door.store.close()


# what is kept of the bindings


async def test_who_lost_account_and_bindings_in_another_process_sees_nothing(sqlite_url: str) -> None:
    narrowed = await door(sqlite_url, binding("read", user="eve", narrows=True))
    await narrowed.identity.known.fresh()
    ((uid, _),) = narrowed.identity.known.users().items()
    eve = Principal("eve", Role.VIEWER, "127.0.0.1", "r", uid)
    assert permission.reach(narrowed, eve).grants
    await narrowed.identity.store.remove_user("eve", "account:eve", TOLD)
    await narrowed.bound.look()
    assert not permission.reach(narrowed, eve).anywhere(Verb.READ)


async def test_a_store_that_does_not_answer_leaves_what_was_known(sqlite_url: str) -> None:
    kept = await door(sqlite_url, binding("start", narrows=True))
    with sqlite3.connect(sqlite_url.removeprefix("sqlite:///")) as database:
        database.execute("ALTER TABLE bindings RENAME TO lost")
    database.close()
    await anyio.sleep(1.1)
    await kept.bound.fresh()
    assert [grant.narrows for grant in kept.bound.of("ada")] == [True]
    unread = SqlStore(sqlite_url)
    with pytest.raises(StoreError):
        await Bound(unread, SystemClock()).fresh()
    for opened in (unread, kept.store):
        await opened.close()


async def test_a_binding_that_this_version_cannot_read_gives_nothing_and_still_narrows(sqlite_url: str) -> None:
    strange = [binding("write", selector="room ~ main"), replace(binding("teleport", "administer"), narrows=True)]
    odd = await door(sqlite_url, *strange)
    found = permission.reach(odd, who("ada", Role.OPERATOR))
    assert not found.over(Verb.WRITE, machine("a", labels=ROOM), {})
    assert not found.anywhere(Verb.ADMINISTER)
    assert Verb.READ not in found.everywhere


async def test_bindings_are_of_the_name_as_it_is_spelt(bound_door: Door) -> None:
    for name in ("Ada", "ada ", "ad", "adaa", "ADA", ""):
        assert permission.reach(bound_door, who(name)).grants == ()
