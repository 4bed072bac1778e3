"""A backup is one moment of the whole database, restores into either kind of database, and refuses what it cannot trust."""

import io
import json
import os
import stat
import tarfile
import uuid
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import anyio
import pytest
from alembic import command
from sqlalchemy import Connection, text

from controller.adapters import backup, backup_files, backup_tables, migrate, schema
from controller.adapters.backup_archive import MANIFEST, Manifest, TablePart, write
from controller.adapters.database import Database
from controller.adapters.every_table import metadata
from controller.adapters.store import SqlStore
from controller.ports.backup import BackupError, Contents
from tests.contracts.stores import API, NOW, later, machine
from tests.controller.adapters import filled
from tests.controller.adapters.archives import Parts, changed, member, packed, table, unpacked
from tests.servers import Postgres

pytestmark = pytest.mark.anyio
DIALECTS = ("sqlite", "postgresql")
Make = Callable[[str], Awaitable[str]]
TOKEN = "t" * 43
FIRST = "changes counters dirty events leases objects observations orphans revisions statuses"


@pytest.fixture
def empty(request: pytest.FixtureRequest, tmp_path: Path) -> Make:
    """Makes a database of that dialect that nobody has used; its URL."""

    async def make(dialect: str) -> str:
        name = f"backup-{uuid.uuid4()}"
        if dialect == "sqlite":
            return f"sqlite:///{tmp_path / name}.db"
        server: Postgres = request.getfixturevalue("postgres_server")
        return await server.create(name)

    return make


async def full(url: str) -> str:
    await migrate.upgrade(url)
    database = Database(url)
    await filled.fill(database)
    await database.close()
    return url


async def taken(url: str, folder: Path, state: Path | None = None) -> bytes:
    scratch = folder / f"scratch-{uuid.uuid4()}"
    scratch.mkdir()
    stream = io.BytesIO()
    await backup.create(url, state, "0.1", NOW, stream, scratch)
    return stream.getvalue()


async def restored(
    archive: bytes, url: str, state: Path | None = None, *, replace: bool = False, at: float = 1e9
) -> Contents:
    return await backup.restore(url, io.BytesIO(archive), state, later(at), replace=replace)


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """A state folder with secrets, and with something that is made anew."""
    folder = tmp_path / "state"
    (folder / "keys").mkdir(parents=True)
    (folder / "admin.token").write_text(TOKEN)
    (folder / "keys" / "2026-01.pem").write_bytes(b"secret\0key")
    (folder / "dhcpd.json").write_text("{}")
    return folder


@pytest.mark.parametrize("target", DIALECTS)
@pytest.mark.parametrize("source", DIALECTS)
async def test_every_row_of_every_table_comes_back(empty: Make, tmp_path: Path, source: str, target: str) -> None:
    origin = await full(await empty(source))
    archive = await taken(origin, tmp_path)
    place = await empty(target)
    contents = await restored(archive, place)
    wanted = await filled.rows(origin)
    assert await filled.rows(place) == wanted
    assert contents.tables == {name: len(rows) for name, rows in wanted.items()}
    assert all(len(rows) >= 3 for rows in wanted.values())
    assert contents.tables.keys() == metadata.tables.keys()
    again = await taken(place, tmp_path)
    assert unpacked(again)[1] == unpacked(archive)[1]


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_ids_go_on_after_the_restored_ones(empty: Make, dialect: str) -> None:
    """A table as none of ours is yet: its ids come from the database."""
    make = "id INTEGER PRIMARY KEY AUTOINCREMENT" if dialect == "sqlite" else "id BIGSERIAL PRIMARY KEY"
    database = Database(await empty(dialect))
    await database.prepare()
    async with database.write() as conn:
        await conn.execute(text(f"CREATE TABLE told ({make}, what TEXT)"))
        (described,) = await backup_tables.described(conn, ["told"])
        part = {"name": "tables/told.jsonl", "size": 0, "sha256": "0" * 64, "table": "told", "rows": 2}
        columns = [{"name": "id", "kind": "int"}, {"name": "what", "kind": "text"}]
        told = TablePart.model_validate({**part, "columns": columns})
        await backup_tables.load(conn, described, told, iter([b'[3,"a"]\n[17', b",null]\n"]))
        await conn.execute(text("INSERT INTO told (what) VALUES ('c')"))
        assert (await conn.execute(text("SELECT id FROM told ORDER BY id"))).scalars().all() == [3, 17, 18]
    await database.close()


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_a_backup_is_one_moment_while_writers_go_on(
    request: pytest.FixtureRequest, empty: Make, tmp_path: Path, dialect: str
) -> None:
    url = await empty(dialect)
    await migrate.upgrade(url)
    store = await SqlStore.open(url)
    archives: list[bytes] = []

    async def write_on() -> None:
        for number in range(10_000):
            await store.put([machine(f"pc{number % 7}", labels={"n": str(number)})], API, NOW)
            await store.mark_deleted([f"Machine/pc{(number + 3) % 7}"], NOW) if number > 7 else None

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(write_on)
        while len(archives) < 5:
            await anyio.sleep(0.05)
            archives.append(await taken(url, tmp_path))
        tasks.cancel_scope.cancel()
    await store.close()
    versions = []
    for archive in archives:
        place = f"sqlite:///{tmp_path / str(uuid.uuid4())}.db"
        await restored(archive, place)
        rows = await filled.rows(place)
        version = dict(rows["counters"])["resource_version"]
        versions.append(version)
        assert [row[0] for row in rows["changes"]] == list(range(1, version + 1))
        newest = {key: number for number, key, *_ in rows["changes"]}
        position = list(metadata.tables["objects"].columns.keys()).index("resource_version")
        assert {row[0]: row[position] for row in rows["objects"]} == newest
    assert versions == sorted(set(versions)), "the writer went on"


async def test_an_older_schema_is_brought_up_with_all_that_it_holds(empty: Make, tmp_path: Path) -> None:
    for source in DIALECTS:
        old = await empty(source)
        archive = await first_schema(old, tmp_path / source)
        for target in DIALECTS:
            place = await empty(target)
            contents = await restored(archive, place)
            assert contents.revision == "0001"
            assert await schema.check(place)
            rows = await filled.rows(place)
            assert [row[0] for row in rows["objects"]] == ["Machine/pc1"]
            assert len(rows["statuses"]) == 1
            assert dict(rows["counters"])["resource_version"] == 41


async def first_schema(url: str, folder: Path) -> bytes:
    """A backup as the first version made it."""
    folder.mkdir()
    database = Database(url)
    await database.prepare()
    at = "2026-01-05 12:00:00" + ("+00" if "postgresql" in url else "")

    def begin(connection: Connection) -> None:
        migrate.move(connection, "it", lambda config: command.upgrade(config, "0001"))

    async with database.write() as conn:
        await conn.run_sync(begin)
        values = f"'Machine/pc1', 'Machine', 'pc1', 'u-1', 1, 40, '{at}', 'api:ada', '{{}}', '{{}}', '{{}}', '{{}}'"
        columns = "key, kind, name, uid, generation, resource_version, created_at, managed_by, labels, annotations"
        await conn.execute(text(f"INSERT INTO objects ({columns}, overrides, spec) VALUES ({values})"))
        await conn.execute(text("INSERT INTO statuses VALUES ('u-1', 41, '{}')"))
        await conn.execute(text("UPDATE counters SET value = 41"))
    async with database.read() as conn:
        names = [
            "changes",
            "counters",
            "dirty",
            "events",
            "leases",
            "objects",
            "observations",
            "orphans",
            "revisions",
            "statuses",
        ]
        parts = [await backup_tables.dump(conn, one, folder) for one in await backup_tables.described(conn, names)]
    await database.close()
    manifest = Manifest(format=1, version="0.0.9", revision="0001", made_at=NOW, tables=tuple(parts), files=())
    stream = io.BytesIO()
    write(stream, manifest, [folder / f"{part.table}.jsonl" for part in parts])
    return stream.getvalue()


@pytest.fixture
async def archive(sqlite_url: str, tmp_path: Path, state: Path) -> bytes:
    database = Database(sqlite_url)
    await filled.fill(database)
    await database.close()
    return await taken(sqlite_url, tmp_path, state)


async def refused(archive: bytes, folder: Path, wanted: str) -> None:
    """It is refused with these words, and what the database and the state folder held is as it was."""
    target = folder / f"target-{uuid.uuid4()}"
    target.mkdir()
    (target / "admin.token").write_text("mine")
    url = f"sqlite:///{target / 'ggnet.db'}"
    await full(url)
    before = await filled.rows(url)
    with pytest.raises(BackupError, match=wanted) as said:
        await restored(archive, url, target, replace=True)
    assert "\n" not in str(said.value)
    assert await filled.rows(url) == before
    assert (target / "admin.token").read_text() == "mine"
    assert not (target / "keys").exists()


async def test_a_backup_that_was_cut_or_altered_anywhere_is_refused(archive: bytes) -> None:
    backup.check(io.BytesIO(archive))
    for place in range(12, len(archive), 101):
        broken = bytearray(archive)
        broken[place] ^= 0x55
        for damaged in (bytes(broken), archive[:place]):
            with pytest.raises(BackupError, match=r"damaged|manifest"):
                backup.check(io.BytesIO(damaged))


@pytest.mark.parametrize("junk", [b"", b"diary", b"\x1f\x8b", bytes(10_000), packed([]), packed([member("x", b"y")])])
async def test_what_is_no_backup_is_refused(junk: bytes, tmp_path: Path) -> None:
    await refused(junk, tmp_path, "damaged|no backup of ggnet")


def rename(old: str, new: str) -> Callable[[dict[str, Any], Parts], None]:
    def change(manifest: dict[str, Any], parts: Parts) -> None:
        for told in manifest["files"] + manifest["tables"]:
            told["name"] = new if told["name"] == old else told["name"]
        for name in list(parts):
            parts[new if name == old else name] = parts.pop(name)

    return change


OUTSIDE = ("state/keys/../../x", "/etc/cron.d/x", "state/../x", "state/keys/..", "state/ggnet.db", "state/keys/a/b")


@pytest.mark.parametrize("name", OUTSIDE)
async def test_a_path_that_leads_elsewhere_is_refused(archive: bytes, tmp_path: Path, name: str) -> None:
    await refused(changed(archive, rename("state/admin.token", name)), tmp_path, "no backup of ggnet")


LINKS = (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE, b"L", b"x", b"S")


@pytest.mark.parametrize("kind", LINKS)
async def test_what_is_no_plain_file_is_refused(archive: bytes, tmp_path: Path, kind: bytes) -> None:
    manifest, parts = unpacked(archive)
    members = [member(MANIFEST, json.dumps(manifest).encode())]
    names = [told["name"] for told in manifest["tables"]]
    members += [member(name, parts[name]) for name in names]
    evil = packed([*members, member("state/admin.token", parts["state/admin.token"], kind, "/etc/passwd")])
    await refused(evil, tmp_path, "refused whole")


def damage(name: str) -> tuple[Callable[[dict[str, Any], Parts], object], str]:
    """A change that keeps every digest right, and what is said of it."""
    row = b'["a","b"]\n'
    objects = "tables/objects.jsonl"
    changes: dict[str, tuple[Callable[[dict[str, Any], Parts], object], str]] = {
        "newer": (lambda m, p: m.update(revision="9999"), "does not know"),
        "format": (lambda m, p: m.update(format=2), "format"),
        "extra": (lambda m, p: m.update(run="sh"), "run"),
        "naive": (lambda m, p: m.update(made_at="2026-01-05T12:00:00"), "made_at"),
        "twice": (lambda m, p: m["tables"].append(m["tables"][0]), "twice"),
        "missing table": (lambda m, p: p.pop(m["tables"].pop(0)["name"]), "does not fit its schema"),
        "foreign table": (lambda m, p: _foreign(m, p), "does not fit its schema"),
        "unlisted": (lambda m, p: m["tables"].pop(), "more than its manifest|missing"),
        "rows": (lambda m, p: table(m, "orphans").update(rows=99), "rows"),
        "column": (lambda m, p: table(m, "orphans")["columns"][0].update(name="x"), "column"),
        "kind": (lambda m, p: table(m, "orphans")["columns"][0].update(kind="bytes"), "column"),
        "no row": (lambda m, p: p.update({objects: b"{}\n"}), "objects.jsonl:1"),
        "short row": (lambda m, p: p.update({objects: row}), "objects.jsonl:1"),
        "half a row": (lambda m, p: p.update({objects: p[objects][:-1]}), "middle of a line"),
        "deep row": (lambda m, p: p.update({objects: b"[" * 200_000 + b"\n"}), "objects.jsonl:1"),
        "wrong value": (lambda m, p: p.update({"tables/counters.jsonl": b'[["x"],7]\n'}), "counters.jsonl:1"),
        "twice the same": (lambda m, p: _double(m, p), "does not take"),
        "no parent": (lambda m, p: p.update({"tables/statuses.jsonl": b'["nobody",1,"{}"]\n'}), "does not take"),
        "too large": (lambda m, p: p.update({"tables/counters.jsonl": b'["x",' + b"9" * 30 + b"]\n"}), "does not take|rows"),
        "big key": (lambda m, p: p.update({"state/admin.token": bytes((1 << 20) + 1)}), "MiB"),
    }
    return changes[name] if name else (lambda m, p: None, ",".join(changes))


def _double(manifest: dict[str, Any], parts: Parts) -> None:
    first = parts["tables/orphans.jsonl"].splitlines(keepends=True)[0]
    parts["tables/orphans.jsonl"] = first * 2
    table(manifest, "orphans")["rows"] = 2


def _foreign(manifest: dict[str, Any], parts: Parts) -> None:
    name = "tables/alembic_version.jsonl"
    columns = [{"name": "version_num", "kind": "text"}]
    manifest["tables"].append({"name": name, "table": "alembic_version", "rows": 0, "columns": columns})
    files = {name: parts.pop(name) for name in list(parts) if name.startswith("state/")}
    parts[name] = b""
    parts.update(files)


@pytest.mark.parametrize("name", damage("")[1].split(","))
async def test_what_does_not_fit_is_refused_though_its_digests_do(archive: bytes, tmp_path: Path, name: str) -> None:
    change, wanted = damage(name)
    await refused(changed(archive, change), tmp_path, wanted)


async def test_a_part_that_does_not_have_its_digest_is_named(archive: bytes, tmp_path: Path) -> None:
    def change(manifest: dict[str, Any], parts: Parts) -> None:
        parts["tables/orphans.jsonl"] = bytes(reversed(parts["tables/orphans.jsonl"]))

    await refused(changed(archive, change, sums=False), tmp_path, "tables/orphans.jsonl has another SHA-256")


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_what_a_database_holds_is_given_up_only_when_that_is_said(
    archive: bytes, empty: Make, tmp_path: Path, dialect: str
) -> None:
    place = await empty(dialect)
    await migrate.upgrade(place)
    store = await SqlStore.open(place)
    await store.put([machine("mine")], API, NOW)
    await store.close()
    before = await filled.rows(place)
    with pytest.raises(BackupError, match="--replace"):
        await restored(archive, place)
    assert await filled.rows(place) == before
    await restored(archive, place, replace=True)
    assert len((await filled.rows(place))["objects"]) == filled.ROWS


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_a_migrated_database_without_a_row_is_empty(archive: bytes, empty: Make, dialect: str) -> None:
    place = await empty(dialect)
    await migrate.upgrade(place)
    await restored(archive, place)
    assert len((await filled.rows(place))["objects"]) == filled.ROWS


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_nothing_is_restored_under_a_controller_that_leads(archive: bytes, empty: Make, dialect: str) -> None:
    place = await empty(dialect)
    await migrate.upgrade(place)
    store = await SqlStore.open(place)
    assert await store.acquire("controller/hall", "host:/state", NOW, 30)
    await store.close()
    with pytest.raises(BackupError, match=r"controller/hall is held by host:/state: stop the controller"):
        await restored(archive, place, replace=True, at=29)
    await restored(archive, place, replace=True, at=31)


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_nothing_is_restored_under_a_daemon_that_has_the_database_open(
    archive: bytes, empty: Make, dialect: str
) -> None:
    place = await empty(dialect)
    await migrate.upgrade(place)
    store = await SqlStore.open(place)
    with pytest.raises(BackupError, match="stop the"):
        await restored(archive, place, replace=True)
    assert (await store.put([machine()], API, NOW)).resource_version == 1
    await store.close()
    await restored(archive, place, replace=True)


async def test_the_keys_come_back_for_their_owner_alone(archive: bytes, empty: Make, tmp_path: Path) -> None:
    folder = tmp_path / "fresh"
    folder.mkdir(0o750)
    contents = await restored(archive, await empty("sqlite"), folder)
    assert contents.files == ("state/admin.token", "state/keys/2026-01.pem")
    assert (folder / "admin.token").read_text() == TOKEN
    assert (folder / "keys" / "2026-01.pem").read_bytes() == b"secret\0key"
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.rglob("*")}
    assert modes == {"admin.token": 0o600, "keys": 0o700, "2026-01.pem": 0o600}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes files for others")
async def test_what_root_restores_belongs_to_the_daemon(archive: bytes, tmp_path: Path) -> None:
    folder = tmp_path / "theirs"
    folder.mkdir()
    os.chown(folder, 65534, 65534)
    await restored(archive, f"sqlite:///{folder / 'ggnet.db'}", folder)
    made = {path.name: (path.stat().st_uid, path.stat().st_gid) for path in folder.rglob("*")}
    assert made == dict.fromkeys(("ggnet.db", "admin.token", "keys", "2026-01.pem"), (65534, 65534))


async def test_other_keys_are_given_up_only_when_that_is_said(archive: bytes, empty: Make, tmp_path: Path) -> None:
    folder, place = tmp_path / "fresh", await empty("sqlite")
    folder.mkdir()
    (folder / "admin.token").write_text("mine")
    with pytest.raises(BackupError, match=r"admin\.token is there and differs"):
        await restored(archive, place, folder)
    assert not await schema.check(place), "the database was rolled back"
    await restored(archive, place)
    assert (folder / "admin.token").read_text() == "mine"
    await restored(archive, place, folder, replace=True)
    assert (folder / "admin.token").read_text() == TOKEN


async def test_a_link_among_the_keys_is_not_followed(sqlite_url: str, tmp_path: Path, state: Path) -> None:
    (state / "keys" / "shadow").symlink_to("/etc/shadow")
    with pytest.raises(BackupError, match=r"keys/shadow cannot be backed up.*--without-keys"):
        await taken(sqlite_url, tmp_path, state)
    assert unpacked(await taken(sqlite_url, tmp_path))[0]["files"] == []


async def test_a_database_of_another_schema_is_not_backed_up(empty: Make, tmp_path: Path) -> None:
    for dialect in DIALECTS:
        place = await empty(dialect)
        if dialect == "postgresql":
            with pytest.raises(BackupError, match="revision none"):
                await taken(place, tmp_path)
        else:
            with pytest.raises(BackupError, match="no database"):
                await taken(place, tmp_path)


async def test_a_damaged_sqlite_file_says_what_to_do(archive: bytes, tmp_path: Path) -> None:
    (tmp_path / "ggnet.db").write_bytes(b"diary " * 1000)
    with pytest.raises(BackupError, match="move it away"):
        await restored(archive, f"sqlite:///{tmp_path / 'ggnet.db'}", replace=True)


def test_a_new_file_appears_whole_and_for_us_alone_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "b.tar.gz"

    def fail() -> None:
        with backup_files.new_file(path) as (stream, _):
            stream.write(b"half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert list(tmp_path.iterdir()) == []
    with backup_files.new_file(path) as (stream, _):
        stream.write(b"whole")
        assert not path.exists()
    assert (path.read_bytes(), stat.S_IMODE(path.stat().st_mode)) == (b"whole", 0o600)
    assert list(tmp_path.iterdir()) == [path]
    for there in (path, tmp_path):
        with pytest.raises(BackupError, match="overwrites nothing"), backup_files.new_file(there):
            pass


def test_of_the_dated_backups_the_newest_stay_and_nothing_else_goes(tmp_path: Path) -> None:
    dated = [backup_files.dated(tmp_path, later(3600.0 * number)) for number in range(5)]
    others = [tmp_path / name for name in ("ggnet-mine.tar.gz", "notes", "ggnet-20200101T000000Z.tar.gz.part")]
    for path in (*dated, *others):
        path.touch()
    assert backup_files.forget(tmp_path, 2) == dated[:3]
    assert sorted(tmp_path.iterdir()) == sorted((*dated[3:], *others))
