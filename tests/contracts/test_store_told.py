"""A change of who may do what, and its row in the audit log: both databases write the two, or neither."""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import anyio
import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import DBAPIError

from controller.adapters.notices import SqlNotices
from controller.adapters.store import SqlStore
from controller.adapters.store_uploads import UploadRow
from controller.adapters.tables import metadata
from controller.core.notices import PING, Notice, Webhook
from controller.ports.accounts import ApiKey, Ending, User
from controller.ports.audit import Actor, Asked, Entry
from controller.ports.logins import Family, Reused
from controller.ports.permission import Binding, Widens
from controller.ports.store import Conflict, NotFound, StoreError
from tests.contracts.stores import API, NOW, later, machine

pytestmark = pytest.mark.anyio

FOLDER = "f" * 32
ADA = User("ada", "u1", "OPERATOR", "hash", NOW)
KEY = ApiKey("k1", "u1", "ci", "d" * 64, ("read",), NOW)
BOUND = Binding("b1", "ada", ("start",), "room=main", True, NOW, "root")
HOOK = Webhook("w1", "http://127.0.0.1/", None, (), (), "", "whsec_x", True, NOW, "root")
UPLOAD = UploadRow("0" * 32, FOLDER, "u1", "", 10, None, NOW, later(60))


class Desk:
    """The stores of one database, and the rows that their changes are told with."""

    def __init__(self, url: str) -> None:
        self.store = SqlStore(url)
        self.notices = SqlNotices(self.store.database, self.store.trail)

    async def fill(self) -> None:
        """One of each that can be changed or taken away."""
        store, row = self.store, Entry(NOW, Actor("api:root"), "fill")
        await store.add_user(ADA, row)
        await store.add_key(KEY, row)
        await store.bind(BOUND, row)
        await store.open_family(Family("f1", "u1"), "r1", NOW, later(600), password="hash", told=row)
        await store.rotate("r1", "r2", NOW, later(600), until=later(60), told=lambda _: row)
        await store.failed(["account:ada"], NOW, 1, 900)
        await store.add_upload(UPLOAD, 100, row)
        await store.add_upload(replace(UPLOAD, id="2" * 32, folder="e" * 32, expires_at=later(-60)), 100, row)
        await self.notices.add(HOOK, row)
        await self.notices.enqueue("w1", Notice(PING, "ping/1", {}, {}), NOW, row)

    async def held(self) -> dict[str, list[str]]:
        """All that the database holds, the log included."""
        found = {}
        async with self.store.database.read() as conn:
            for table in metadata.sorted_tables:
                found[table.name] = sorted(repr(tuple(row)) for row in await conn.execute(select(table)))
        return found

    async def without_a_log(self, change: Callable[["Desk"], Awaitable[Any]]) -> None:
        """Appending fails where it always could: in the database."""
        for old, new in (("audit", "elsewhere"), ("elsewhere", "audit")):
            async with self.store.database.write() as conn:
                await conn.execute(text(f"ALTER TABLE {old} RENAME TO {new}"))
            if old == "audit":
                with pytest.raises((StoreError, DBAPIError), match="audit"):
                    await change(self)


@pytest.fixture(params=["sqlite_url", "postgres_url"])
def url(request: pytest.FixtureRequest) -> str:
    return str(request.getfixturevalue(request.param))


@pytest.fixture
async def desk(url: str) -> AsyncIterator[Desk]:
    made = Desk(url)
    yield made
    await made.store.close()


def row(action: str, **more: Any) -> Entry:
    return Entry(NOW, Actor("api:root", "127.0.0.1", "r1"), action, **more)


def _ping() -> Notice:
    return Notice(PING, "ping/2", {}, {})


async def _again(desk: Desk) -> None:
    (sent,) = await desk.notices.deliveries("w1", None, None, 10)
    await desk.notices.again("w1", sent.id, later(1), row("webhook-retry"))


async def _replayed(desk: Desk) -> None:
    try:
        await desk.store.rotate("r1", "r9", NOW, later(600), until=later(60), told=lambda use: row(f"again {use.again}"))
    except Reused:
        return
    raise AssertionError("a used token was taken")


ENDS = Ending(NOW, NOW + timedelta(hours=1))
CHANGES: dict[str, Callable[[Desk], Awaitable[Any]]] = {
    "user-create": lambda d: d.store.add_user(replace(ADA, name="bob", uid="u2"), row("user-create")),
    "role OPERATOR": lambda d: d.store.change_user(
        "ada", disabled=True, ends=ENDS, forgiven="account:ada", told=lambda was: row(f"role {was.role}")
    ),
    "user-delete": lambda d: d.store.remove_user("ada", "account:ada", row("user-delete")),
    "token-create": lambda d: d.store.add_key(replace(KEY, id="k2"), row("token-create")),
    "token-rotate": lambda d: d.store.rotate_key("k1", "e" * 64, row("token-rotate")),
    "token-revoke": lambda d: d.store.remove_key("k1", row("token-revoke")),
    "login": lambda d: d.store.open_family(Family("f2", "u1"), "r8", NOW, later(600), password="hash", told=row("login")),
    "again False": lambda d: d.store.rotate(
        "r2", "r3", NOW, later(600), until=later(60), told=lambda use: row(f"again {use.again}")
    ),
    "again True": _replayed,
    "logout": lambda d: d.store.close_family("f1", NOW, later(60), row("logout")),
    "binding-create": lambda d: d.store.bind(replace(BOUND, id="b2"), row("binding-create")),
    "unbound room=main": lambda d: d.store.unbind("b1", lambda was: row(f"unbound {was.selector}"), widen=True),
    "upload-create": lambda d: d.store.add_upload(replace(UPLOAD, id="1" * 32), 100, row("upload-create")),
    "upload-complete": lambda d: d.store.complete_upload(UPLOAD.id, row("upload-complete")),
    "upload-delete": lambda d: d.store.drop_upload(UPLOAD.id, row("upload-delete")),
    "upload-expire 22": lambda d: d.store.forget_uploads(FOLDER, NOW, lambda gone: row(f"upload-expire {gone[:2]}")),
    "webhook-create": lambda d: d.notices.add(replace(HOOK, id="w2"), row("webhook-create")),
    "webhook-change": lambda d: d.notices.change("w1", {"enabled": False}, row("webhook-change")),
    "webhook-delete": lambda d: d.notices.drop("w1", row("webhook-delete")),
    "webhook-test": lambda d: d.notices.enqueue("w1", _ping(), NOW, row("webhook-test")),
    "webhook-retry": _again,
}


@pytest.mark.parametrize("action", CHANGES)
async def test_what_cannot_be_told_is_not_done_and_what_is_done_is_told_once(desk: Desk, action: str) -> None:
    await desk.fill()
    before = await desk.held()
    await desk.without_a_log(CHANGES[action])
    assert await desk.held() == before
    await CHANGES[action](desk)
    after = await desk.held()
    assert any(after[name] != before[name] for name in after.keys() - {"audit", "audit_marks", "actors"})
    newest, second = await desk.store.audit(Asked(limit=2))
    assert (newest.action, second.action, newest.who) == (action, "fill", "api:root")
    assert not (await desk.store.verify_audit()).findings


async def test_what_was_refused_is_not_told(desk: Desk) -> None:
    await desk.fill()
    before = await desk.held()
    assert not await desk.store.add_user(replace(ADA, uid="u9"), row("user-create"))
    assert await desk.store.rotate("r7", "r8", NOW, later(600), until=later(60), told=lambda _: row("refresh")) is None
    refused: list[Callable[[], Awaitable[Any]]] = [
        lambda: desk.store.change_user("eve", told=lambda _: row("user-change")),
        lambda: desk.store.change_user("ada", if_password="other", told=lambda _: row("password")),
        lambda: desk.store.remove_user("eve", "account:eve", row("user-delete")),
        lambda: desk.store.rotate_key("k9", "e" * 64, row("token-rotate")),
        lambda: desk.store.unbind("b1", lambda _: row("binding-delete")),
        lambda: desk.store.drop_upload("9" * 32, row("upload-delete")),
        lambda: desk.store.complete_upload("9" * 32, row("upload-complete")),
        lambda: desk.notices.drop("w9", row("webhook-delete")),
        lambda: desk.notices.again("w1", "msg_9", NOW, row("webhook-retry")),
    ]
    for change in refused:
        with pytest.raises((NotFound, Conflict, Widens)):
            await change()
    assert await desk.held() == before


async def test_an_upload_is_completed_once(desk: Desk) -> None:
    await desk.fill()
    told = [await desk.store.complete_upload(UPLOAD.id, row("upload-complete")) for _ in range(2)]
    assert told == [True, False]
    assert len(await desk.store.audit(Asked(action="upload-complete"))) == 1


async def test_many_at_once_of_every_kind_leave_one_whole_chain(desk: Desk) -> None:
    """Nobody waits in a circle: each takes the head's lock last."""
    await desk.fill()
    before = (await desk.store.verify_audit()).head.seq
    done: list[str] = []

    async def change(number: int) -> None:
        name = f"user{number}"
        await desk.store.add_user(replace(ADA, name=name, uid=name), row("user-create"))
        await desk.store.bind(replace(BOUND, id=f"b-{name}", user=name), row("binding-create"))
        await desk.store.add_upload(replace(UPLOAD, id=f"{number:032x}", owner=name), 100, row("upload-create"))
        await desk.notices.enqueue("w1", _ping(), NOW, row("webhook-test"))
        await desk.store.put([machine(f"pc{number}", number)], API, NOW)
        done.append(name)

    async with anyio.create_task_group() as tasks:
        for number in range(3, 11):
            tasks.start_soon(change, number)
    assert len(done) == 8
    verified = await desk.store.verify_audit()
    assert (verified.head.seq - before, verified.findings) == (40, [])
