"""The audit log on the real databases: with each change its row, and no row changed without being found."""

import io
import sqlite3
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import anyio
import pytest
from sqlalchemy.exc import DBAPIError

from controller.adapters import backup
from controller.adapters.store import SqlStore
from controller.adapters.tables import audit
from controller.core.chain import Mark
from controller.ports.audit import Actor, Asked, Audited, Entry
from controller.ports.store import Conflict, NotFound
from tests.contracts.stores import API, GIT, NOW, later, machine, revision, session

pytestmark = pytest.mark.anyio
ADA = Actor("api:ada", "10.0.0.7", "req-1")
BEN = Actor("api:ben", "10.0.0.7", "req-2")
CAM = Actor("api:cam")
ALL = Asked(limit=1000)


@pytest.fixture(params=["sqlite_url", "postgres_url"])
def url(request: pytest.FixtureRequest) -> str:
    found: str = request.getfixturevalue(request.param)
    return found


@pytest.fixture
async def store(url: str) -> AsyncIterator[SqlStore]:
    opened = await SqlStore.open(url)
    yield opened
    await opened.close()


async def rows(store: SqlStore) -> list[Audited]:
    """The oldest first."""
    return list(reversed(await store.audit(ALL)))


async def told(store: SqlStore) -> list[tuple[str, str, str | None]]:
    return [(row.who, row.action, row.object) for row in await rows(store)]


async def findings(store: SqlStore, noted: Mark | None = None) -> list[tuple[str, int, int]]:
    return [(one.kind, one.first, one.last) for one in (await store.verify_audit(noted)).findings]


async def tamper(store: SqlStore, *statements: str) -> None:
    """As somebody who owns the database would: without its triggers."""
    async with store._db.write() as conn:
        if store._db.file:
            names = await conn.exec_driver_sql("SELECT name FROM sqlite_master WHERE type = 'trigger'")
            for name in names.scalars().all():
                await conn.exec_driver_sql(f"DROP TRIGGER {name}")
        else:
            await conn.exec_driver_sql("SET LOCAL session_replication_role = replica")
        for statement in statements:
            await conn.exec_driver_sql(statement)


async def ten(store: SqlStore) -> None:
    for number in range(1, 11):
        await store.put([machine(f"pc{number}", mac=number)], API, NOW, by=ADA)


async def test_a_change_is_told_by_who_from_where_and_in_which_request(store: SqlStore) -> None:
    await store.put([machine(labels={"room": "main"})], API, NOW, by=ADA)
    await store.put([machine(mac=8, labels={"room": "lab"})], API, later(5), by=BEN)
    first, second = await rows(store)
    assert (first.seq, first.at, first.who, first.address, first.request_id) == (1, NOW, "api:ada", "10.0.0.7", "req-1")
    assert (first.action, first.object, first.outcome, first.before) == ("create", "Machine/pc1", "ok", None)
    assert first.after["metadata"] == {"annotations": {}, "labels": {"room": "main"}, "managedBy": "api"}
    assert first.after["spec"]["macs"] == ["52:54:00:00:00:07"]
    assert (second.at, second.who, second.action) == (later(5), "api:ben", "update")
    assert second.before == {"metadata": {"labels": {"room": "main"}}, "spec": {"macs": ["52:54:00:00:00:07"]}}
    assert second.after == {"metadata": {"labels": {"room": "lab"}}, "spec": {"macs": ["52:54:00:00:00:08"]}}


async def test_a_life_is_a_row_a_step(store: SqlStore) -> None:
    await store.put([machine(), session("pc1")], GIT, NOW)
    await store.annotate("Machine/pc1", {"ggnet/paused": "true"}, by=ADA)
    await store.mark_deleted(["Session/pc1"], NOW, annotations={"ggnet/disruption": "allowed"}, by=ADA)
    await store.put([machine()], GIT, NOW, prune=True)
    await store.put([machine(), session("pc1")], GIT, NOW)
    await store.mark_deleted(["Session/pc1"], NOW)
    await store.remove("Session/pc1", (await store.get("Session/pc1")).metadata.uid or "", NOW)
    await store.record(revision("abcd", verdict="guarded"))
    await store.approve("main", "abcd", by=ADA)
    assert await told(store) == [
        (GIT, "create", "Machine/pc1"),
        (GIT, "create", "Session/pc1"),
        ("api:ada", "annotate", "Machine/pc1"),
        ("api:ada", "delete", "Session/pc1"),
        (GIT, "update", "Session/pc1"),
        ("controller", "delete", "Session/pc1"),
        ("controller", "remove", "Session/pc1"),
        ("api:ada", "approve", "Revision/abcd"),
    ]
    found = await rows(store)
    assert found[2].after == {"metadata": {"annotations": {"ggnet/paused": "true"}}}
    assert found[3].before == {"metadata": {"annotations": {"ggnet/disruption": None}, "deletedAt": None}}
    assert found[3].after["metadata"]["annotations"] == {"ggnet/disruption": "allowed"}
    assert found[4].after["metadata"]["deletedAt"] is None
    assert found[6].after is None
    assert found[6].before["spec"]["machine"] == "pc1"
    assert await findings(store) == []


async def test_what_changes_nothing_is_not_told(store: SqlStore) -> None:
    await store.put([machine()], API, NOW, by=ADA)
    await store.put([machine()], API, NOW, by=ADA)
    await store.put([machine(mac=9)], API, NOW, by=ADA, dry_run=True)
    await store.annotate("Machine/pc1", {"ggnet/paused": None}, by=ADA)
    with pytest.raises(Conflict):
        await store.put([machine(mac=9)], API, NOW, expect={"Machine/pc1": 7}, by=ADA)
    with pytest.raises(NotFound):
        await store.mark_deleted(["Machine/pc2"], NOW, by=ADA)
    assert await told(store) == [("api:ada", "create", "Machine/pc1")]
    await store.put([machine("pc2", mac=2)], API, NOW, by=ADA)
    assert (await rows(store))[-1].seq == 2, "a dry run uses up no number"
    assert await findings(store) == []


async def test_a_write_that_is_cut_leaves_neither_change_nor_row(store: SqlStore, url: str) -> None:
    await ten(store)
    async with store._db.write() as conn:
        await tamper_in(conn, store)
    for who in (ADA, CAM):
        with pytest.raises(DBAPIError):
            await store.put([machine("pc11", mac=11)], API, NOW, by=who)
    with pytest.raises(NotFound):
        await store.get("Machine/pc11")
    async with store._db.write() as conn:
        await restore_in(conn, store)
    assert len(await rows(store)) == 10
    await store.put([machine("pc12", mac=12)], API, NOW, by=CAM)
    other = await SqlStore.open(url)
    await other.put([machine("pc13", mac=13)], API, NOW, by=ADA)
    await store.put([machine("pc14", mac=14)], API, NOW, by=ADA)
    await other.close()
    assert [row.seq for row in await rows(store)] == list(range(1, 14))
    assert await findings(store) == []


async def tamper_in(conn: Any, store: SqlStore) -> None:
    """From now on the very last statement of a write fails: its row is made, and does not fit."""
    if store._db.file:
        await conn.exec_driver_sql(
            "CREATE TRIGGER cut BEFORE INSERT ON audit WHEN NEW.seq = 11 BEGIN SELECT RAISE(ABORT, 'cut'); END"
        )
    else:
        await conn.exec_driver_sql("ALTER TABLE audit ADD CONSTRAINT cut CHECK (seq <> 11)")


async def restore_in(conn: Any, store: SqlStore) -> None:
    await conn.exec_driver_sql("DROP TRIGGER cut" if store._db.file else "ALTER TABLE audit DROP CONSTRAINT cut")


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit SET action = 'nothing' WHERE seq = 3",
        "DELETE FROM audit WHERE seq = 10",
        "DELETE FROM audit",
        "UPDATE actors SET name = 'api:eve'",
        "DELETE FROM audit_marks",
        "UPDATE audit_marks SET seq = 3 WHERE name = 'head'",
    ],
)
async def test_the_database_refuses_to_change_what_is_written(store: SqlStore, statement: str) -> None:
    await ten(store)
    with pytest.raises(DBAPIError, match="only grows"):
        async with store._db.write() as conn:
            await conn.exec_driver_sql(statement)
    assert len(await rows(store)) == 10
    assert await findings(store) == []


async def test_emptying_a_whole_table_is_refused_too(postgres_url: str) -> None:
    store = await SqlStore.open(postgres_url)
    await ten(store)
    for table in ("audit", "audit_marks"):
        with pytest.raises(DBAPIError, match="only grows"):
            async with store._db.write() as conn:
                await conn.exec_driver_sql(f"TRUNCATE {table}")
    await store.close()


async def test_replacing_a_row_is_no_way_around(sqlite_url: str) -> None:
    store = await SqlStore.open(sqlite_url)
    await ten(store)
    for statement in (
        "INSERT OR REPLACE INTO audit SELECT seq, at, actor, request_id, 'nothing', outcome, object, subject, times, "
        '"before", "after", previous, hash FROM audit WHERE seq = 10',
        "INSERT OR REPLACE INTO actors SELECT id, salt, 'api:eve', address FROM actors",
    ):
        with pytest.raises(DBAPIError, match="only grows"):
            async with store._db.write() as conn:
                await conn.exec_driver_sql(statement)
    await store.close()


_COPY = ", ".join("seq - 4" if column.name == "seq" else f'"{column.name}"' for column in audit.columns)
TAMPERED: dict[str, tuple[Sequence[str], list[tuple[str, int, int]]]] = {
    "altered": (["UPDATE audit SET object = 'Machine/pc99' WHERE seq = 4"], [("altered", 4, 4)]),
    "another time": (["UPDATE audit SET at = (SELECT at FROM audit WHERE seq = 11) WHERE seq = 4"], [("altered", 4, 4)]),
    "another who": (
        ["UPDATE audit SET actor = (SELECT actor FROM audit WHERE seq = 11) WHERE seq = 4"],
        [("altered", 4, 4)],
    ),
    "removed": (["DELETE FROM audit WHERE seq IN (4, 5)"], [("removed", 4, 5)]),
    "removed the first": (["DELETE FROM audit WHERE seq = 1"], [("removed", 1, 1)]),
    "removed the newest": (["DELETE FROM audit WHERE seq > 9"], [("removed", 10, 11)]),
    "removed all": (["DELETE FROM audit"], [("removed", 1, 11)]),
    "inserted": (
        [
            "UPDATE audit SET seq = -seq - 1 WHERE seq > 4",
            "UPDATE audit SET seq = -seq WHERE seq < 0",
            f"INSERT INTO audit SELECT {_COPY.replace('seq - 4', '5', 1)} FROM audit WHERE seq = 4",
        ],
        [("inserted", 4, 5), ("moved", 5, 12)],
    ),
    "inserted at the end": (
        [f"INSERT INTO audit SELECT {_COPY.replace('seq - 4', '12', 1)} FROM audit WHERE seq = 4"],
        [("inserted", 4, 12), ("moved", 12, 12)],
    ),
    "reordered": (
        [
            "UPDATE audit SET seq = 0 WHERE seq = 4",
            "UPDATE audit SET seq = 4 WHERE seq = 7",
            "UPDATE audit SET seq = 7 WHERE seq = 0",
        ],
        [("moved", 4, 4), ("moved", 7, 7)],
    ),
    "another name": (["UPDATE actors SET name = 'api:eve' WHERE name = 'api:ada'"], [("name", 1, 1)]),
    "a name removed": (["DELETE FROM actors WHERE name = 'api:ada'"], [("name", 1, 1)]),
    "another head": (["UPDATE audit_marks SET seq = 9 WHERE name = 'head'"], [("inserted", 10, 11)]),
    "a head of another hash": (["UPDATE audit_marks SET hash = repeat_f WHERE name = 'head'"], [("head", 11, 11)]),
    "a false checkpoint": (
        [
            "UPDATE audit_marks SET seq = 3, hash = (SELECT hash FROM audit WHERE seq = 3) WHERE name = 'checkpoint'",
            "DELETE FROM audit WHERE seq < 4",
        ],
        [("checkpoint", 3, 3)],
    ),
}


@pytest.mark.parametrize("case", TAMPERED)
async def test_tampering_is_found_and_the_rows_are_named(store: SqlStore, case: str) -> None:
    await ten(store)
    await store.put([machine("pc11", mac=11)], API, later(9), by=BEN)
    assert await findings(store) == []
    statements, wanted = TAMPERED[case]
    await tamper(store, *(one.replace("repeat_f", f"'{'f' * 64}'") for one in statements))
    assert await findings(store) == wanted


async def test_newest_rows_that_went_with_the_head_are_found_by_a_noted_head(store: SqlStore) -> None:
    await ten(store)
    noted = (await store.verify_audit()).head
    await tamper(
        store,
        "DELETE FROM audit WHERE seq > 8",
        "UPDATE audit_marks SET seq = 8, hash = (SELECT hash FROM audit WHERE seq = 8) WHERE name = 'head'",
    )
    assert await findings(store) == [], "the log alone cannot show it"
    assert await findings(store, noted) == [("noted", 10, 10)]
    assert await findings(store, Mark(0, noted.hash)) == [("noted", 0, 0)]
    await store.put([machine("pc11", mac=11)], API, NOW, by=ADA)
    assert await findings(store) == []


async def test_many_writers_make_one_chain(url: str) -> None:
    stores = [await SqlStore.open(url) for _ in range(2)]

    async def write(store: SqlStore, writer: int) -> None:
        for number in range(12):
            many = [machine(f"w{writer}-{number}-{part}", mac=number) for part in range(number % 3 + 1)]
            await store.put(many, API, NOW, by=Actor(f"api:w{writer % 3}", request_id=str(number)))
            await store.note([Entry(NOW, Actor(f"api:w{writer}"), "login")])

    with anyio.fail_after(60):
        async with anyio.create_task_group() as tasks:
            for writer in range(4):
                tasks.start_soon(write, stores[writer % 2], writer)
    verified = await stores[1].verify_audit()
    assert (verified.rows, list(verified.findings)) == (4 * (24 + 12), [])
    assert verified.head.seq == verified.rows
    for store in stores:
        await store.close()


async def test_filters_choose_and_pages_hold_every_row_once(store: SqlStore) -> None:
    await ten(store)
    await store.put([machine("pc3", mac=33)], API, later(3600 * 5), by=BEN)
    await store.note([Entry(later(3600 * 5), Actor("api:eve", "10.9.9.9"), "login-failed", subject="ada", outcome="failed")])

    async def chosen(**asked: Any) -> list[int]:
        return [row.seq for row in await store.audit(Asked(**asked))]

    assert await chosen(who="ben") == await chosen(who="api:ben") == [11]
    assert await chosen(object="Machine/pc3") == [11, 3]
    assert await chosen(object="User/ada") == [12]
    assert await chosen(action="update") == [11]
    assert await chosen(since=later(3600)) == [12, 11]
    assert await chosen(since=later(3600), who="ben", action="create") == []
    assert await chosen(who="ada' OR 1=1 --") == []
    pages, below = list[int](), None
    while page := await chosen(limit=5, below=below):
        pages, below = pages + page, page[-1]
    assert pages == list(range(12, 0, -1))


async def test_what_is_old_goes_and_the_rest_still_verifies(store: SqlStore) -> None:
    await ten(store)
    await store.put([machine("pc1", mac=99)], API, later(100), by=BEN)
    head = (await store.verify_audit()).head
    assert await store.prune_audit(later(50), Actor("local:root"), later(200)) == 10
    assert [(row.seq, row.who, row.action) for row in await rows(store)] == [
        (11, "api:ben", "update"),
        (12, "local:root", "audit-prune"),
    ]
    verified = await store.verify_audit(head)
    assert (verified.rows, verified.checkpoint.seq, list(verified.findings)) == (2, 10, [])
    async with store._db.read() as conn:
        names = (await conn.exec_driver_sql("SELECT name FROM actors ORDER BY name")).scalars().all()
    assert names == ["api:ben", "local:root"], "nobody is remembered longer than their rows"
    assert await store.prune_audit(later(50), Actor("local:root"), later(200)) == 0
    await store.put([machine("pc1", mac=98)], API, later(300), by=ADA)
    assert await store.prune_audit(later(250), Actor("local:root"), later(400)) == 2
    assert await findings(store) == []
    await tamper(store, "DELETE FROM audit WHERE seq = 13")
    assert await findings(store) == [("removed", 13, 13)]


async def test_a_user_is_forgotten_and_the_chain_is_whole(store: SqlStore) -> None:
    await ten(store)
    await store.put([machine("pc20", mac=20)], "api:ada", NOW, by=Actor("api:ada", "10.0.0.8", "req-3"))
    await store.put([machine("pc21", mac=21)], "api:ben", NOW, by=BEN)
    await store.note([Entry(NOW, BEN, "password-changed", subject="ada")])
    about = await store.audit_about("ada")
    assert [row.seq for row in about] == [*range(1, 12), 13]
    assert {row.address for row in about} == {"10.0.0.7", "10.0.0.8"}

    await store.mark_deleted(["Machine/pc1", "Machine/pc2"], NOW, who="api:ada", by=ADA)
    await store.remove("Machine/pc1", (await store.get("Machine/pc1")).metadata.uid or "", NOW)
    assert await store.erase("ada", BEN, NOW) == {"identities": 3, "objects": 10}

    found = await rows(store)
    assert [row.who for row in found if row.who.startswith("api:")] == ["api:ben"] * 3
    assert found[0].who.startswith("erased:")
    assert found[0].address == ""
    assert str(found[12].object).startswith("User/erased:")
    assert found[11].address == "10.0.0.7", "another's address is not theirs"
    assert (found[-1].who, found[-1].action) == ("api:ben", "erase")
    assert (await store.get("Machine/pc20")).metadata.managed_by == "api:erased"
    assert await store.audit_about("ada") == []
    assert await findings(store) == []
    async with store._db.read() as conn:
        for table in ("audit", "actors", "objects", "tombstones"):
            held = (await conn.exec_driver_sql(f"SELECT * FROM {table}")).all()
            assert "api:ada" not in str(held)
            assert "10.0.0.8" not in str(held)
    await store.put([machine("pc22", mac=22)], API, NOW, by=ADA)
    assert [row.seq for row in await store.audit_about("ada")] == [18], "who comes back is somebody new"
    assert await findings(store) == []
    assert await store.erase("nobody", BEN, NOW) == {"identities": 0, "objects": 0}
    assert len(await rows(store)) == 18


async def test_names_and_addresses_can_forge_no_line(store: SqlStore) -> None:
    evil = "ada\nlevel=error \x1b[31m\x00\u202e\ud800"
    await store.note([Entry(NOW, Actor(evil, f"10.0.0.1{evil}", evil), "login-failed", evil, evil, "failed")])
    await store.note([Entry(NOW, Actor("x" * 10_000), "login-failed", after={"password": "hunter2", "to": "x" * 9999})])
    first, second = await rows(store)
    for text in (first.who, first.address, first.request_id, str(first.object)):
        assert text.isprintable()
        assert "ada\\nlevel=error \\x1b[31m\\x00\\u202e\\ud800" in text
    assert len(second.who) < 140
    assert second.after["cut"] is True
    assert "hunter2" not in str(second)
    assert await findings(store) == []


async def test_a_reader_of_the_file_finds_no_secret(sqlite_url: str) -> None:
    store = await SqlStore.open(sqlite_url)
    await store.put([machine(labels={"chap-password": "hunter2"})], API, NOW, by=ADA)
    await store.close()
    with sqlite3.connect(sqlite_url.removeprefix("sqlite:///")) as file:
        (after,) = file.execute("SELECT after FROM audit").fetchone()
    assert '"chap-password":"***"' in after


async def test_a_restored_log_is_whole_and_goes_on(sqlite_url: str, postgres_url: str, tmp_path: Path) -> None:
    """Also in a database of the other kind: the hashes are over what is said, not over how it is kept."""
    origin = await SqlStore.open(postgres_url)
    await ten(origin)
    await origin.erase("ben", ADA, NOW)
    head = (await origin.verify_audit()).head
    await origin.close()
    stream = io.BytesIO()
    await backup.create(postgres_url, None, "0.1", NOW, stream, tmp_path)
    stream.seek(0)
    await backup.restore(sqlite_url, stream, None, NOW, replace=False)
    store = await SqlStore.open(sqlite_url)
    assert await findings(store, head) == []
    await store.put([machine("pc11", mac=11)], API, NOW, by=ADA)
    assert (await findings(store, head), len(await rows(store))) == ([], 11)
    await store.close()
