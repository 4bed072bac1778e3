"""Uploads in a folder beside either database: what is acknowledged stays, whatever happens in between."""

import hashlib
import os
import time
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from pathlib import Path

import anyio
import pytest

from controller.adapters.store import SqlStore
from controller.adapters.store_uploads import MOST
from controller.adapters.uploads import FolderUploads
from controller.adapters.uploads_folder import Folder
from controller.ports.accounts import User
from controller.ports.audit import Actor, Entry
from controller.ports.store import NotFound
from controller.ports.uploads import (
    Act,
    Busy,
    Checksum,
    ChecksumMismatch,
    FolderUnusable,
    NoRoom,
    NoUpload,
    OverQuota,
    Swept,
    TooLong,
    TooManyUploads,
    Upload,
    WrongOffset,
)
from tests.contracts.pool_bench import mounted, why_no_mount
from tests.contracts.stores import NOW, TOLD

pytestmark = pytest.mark.anyio
MOUNTS = pytest.mark.skipif(why_no_mount() is not None and "CI" not in os.environ, reason=str(why_no_mount()))
DAY = timedelta(hours=24)
QUOTA = 64 << 20
ADA = "5d0e0a2e-8f0b-4a2e-9b7e-2f6f0c1d2e3f"


def told(act: Act, upload: Upload) -> Entry:
    return Entry(NOW, Actor("api:ada"), act, upload.key)


class Hands:
    """A clock that a test turns."""

    def __init__(self) -> None:
        self.at = NOW

    def now(self) -> datetime:
        return self.at

    def monotonic(self) -> float:
        return self.at.timestamp()

    async def sleep(self, seconds: float) -> None:
        raise AssertionError("nothing here waits")


class Bench:
    """One process's uploads in a folder; ``again`` is another process with no memory of this one."""

    def __init__(self, folder: Path, store: SqlStore) -> None:
        self.folder, self.store, self.clock = folder, store, Hands()
        self.uploads = self.again()

    def again(self, reserve: float = 0.0) -> FolderUploads:
        return FolderUploads(self.folder, self.store, self.clock, life=DAY, quota=QUOTA, reserve=reserve)

    async def create(self, length: int = 10, owner: str = ADA, metadata: str = "") -> Upload:
        return await self.uploads.create(owner, length, metadata, told)

    async def send(self, upload: Upload, offset: int, *pieces: bytes, **more: object) -> Upload:
        size = sum(map(len, pieces))
        return await self.uploads.append(upload.id, offset, these(*pieces), size, told, **more)  # type: ignore[arg-type]

    def names(self) -> set[str]:
        return {path.name for path in self.folder.iterdir() if not path.name.startswith(".")}

    def part(self, upload: Upload) -> Path:
        return self.folder / f"{upload.id}.part"


class Cut(Exception):
    """The line is lost."""


async def these(*pieces: bytes, then: type[Exception] | None = None) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece
    if then is not None:
        raise then


def sha256(content: bytes) -> Checksum:
    return Checksum("sha256", hashlib.sha256(content).digest())


@pytest.fixture(params=["sqlite_url", "postgres_url"])
def url(request: pytest.FixtureRequest) -> str:
    return str(request.getfixturevalue(request.param))


@pytest.fixture
async def bench(url: str, tmp_path: Path) -> AsyncIterator[Bench]:
    store = SqlStore(url)
    await store.add_user(User("ada", ADA, "OPERATOR", "no hash", NOW), TOLD)
    yield Bench(tmp_path / "uploads", store)
    await store.close()


async def test_a_file_that_came_in_pieces_is_whole_under_its_id(bench: Bench) -> None:
    upload = await bench.create(metadata="filename eA==")
    assert (upload.offset, upload.complete, upload.owner_name) == (0, False, "ada")
    assert upload.expires_at == NOW + DAY
    assert bench.names() == {f"{upload.id}.part"}
    assert (await bench.send(upload, 0, b"one", b"two")).offset == 6
    assert not (await bench.uploads.find(upload.id)).complete
    assert (await bench.send(upload, 6, b"four")).complete
    found = await bench.again().find(upload.id)
    assert (found.offset, found.complete, found.expires_at, found.metadata) == (10, True, None, "filename eA==")
    assert bench.names() == {upload.id}
    path = bench.folder / upload.id
    assert (path.read_bytes(), path.stat().st_mode & 0o777) == (b"onetwofour", 0o440)


async def test_one_without_bytes_is_complete_at_once(bench: Bench) -> None:
    upload = await bench.create(0)
    assert upload.complete
    assert bench.names() == {upload.id}


async def test_what_came_before_the_line_was_cut_stays(bench: Bench) -> None:
    upload = await bench.create()
    bench.clock.at += timedelta(hours=5)
    with pytest.raises(Cut):
        await bench.uploads.append(upload.id, 0, these(b"abc", b"de", then=Cut), 10, told)
    found = await bench.again().find(upload.id)
    assert (found.offset, found.expires_at) == (5, NOW + timedelta(hours=29))
    assert bench.part(upload).read_bytes() == b"abcde"


async def test_of_a_piece_whose_digest_nobody_could_check_nothing_stays(bench: Bench) -> None:
    upload = await bench.create()
    await bench.send(upload, 0, b"ab")
    with pytest.raises(Cut):
        await bench.uploads.append(upload.id, 2, these(b"cde", then=Cut), 5, told, sha256(b"cdefg"))
    with pytest.raises(ChecksumMismatch):
        await bench.send(upload, 2, b"xxx", checksum=sha256(b"cde"))
    assert (await bench.uploads.find(upload.id)).offset == 2
    assert bench.part(upload).read_bytes() == b"ab"
    assert (await bench.send(upload, 2, b"cde", checksum=sha256(b"cde"))).offset == 5
    assert (await bench.send(upload, 5, b"fghij", checksum=Checksum("sha1", hashlib.sha1(b"fghij").digest()))).complete


async def test_a_process_that_died_in_a_piece_with_a_digest_leaves_nothing_of_it(bench: Bench) -> None:
    """As kill -9 does: the bytes are in the file, and nobody has told anybody that they are good."""
    upload = await bench.create()
    await bench.send(upload, 0, b"ab", checksum=sha256(b"ab"))
    with bench.part(upload).open("ab") as file:
        file.write(b"xxxx")
    after = bench.again()
    assert (await after.find(upload.id)).offset == 2
    assert (await after.append(upload.id, 2, these(b"cdefghij"), 8, told)).complete
    assert (bench.folder / upload.id).read_bytes() == b"abcdefghij"


async def test_a_process_that_died_in_a_plain_piece_keeps_what_came(bench: Bench) -> None:
    upload = await bench.create()
    await bench.send(upload, 0, b"ab")
    with bench.part(upload).open("ab") as file:
        file.write(b"cd")
    assert (await bench.again().find(upload.id)).offset == 4


async def test_after_a_piece_with_a_digest_a_plain_one_keeps_what_came_again(bench: Bench) -> None:
    upload = await bench.create()
    await bench.send(upload, 0, b"ab", checksum=sha256(b"ab"))
    with pytest.raises(Cut):
        await bench.uploads.append(upload.id, 2, these(b"cd", then=Cut), 8, told)
    assert (await bench.uploads.find(upload.id)).offset == 4


@pytest.mark.parametrize("named", [False, True], ids=["before the name", "before the row"])
async def test_a_crash_after_the_last_byte_is_made_good_by_whoever_looks_next(bench: Bench, named: bool) -> None:
    for look in ("find", "sweep"):
        upload = await bench.create()
        bench.part(upload).write_bytes(b"0123456789")
        if named:
            bench.part(upload).rename(bench.folder / upload.id)
        after = bench.again()
        if look == "sweep":
            assert [one.id for one in (await after.sweep()).completed] == [upload.id]
        assert (await after.find(upload.id)).complete
        assert (bench.folder / upload.id).exists()
        assert (await after.sweep()).completed == ()


async def test_another_offset_is_refused_and_the_right_one_told(bench: Bench) -> None:
    upload = await bench.create()
    await bench.send(upload, 0, b"abc")
    for offset in (0, 2, 4, 10, 1 << 40):
        with pytest.raises(WrongOffset, match="stands at 3") as refused:
            await bench.send(upload, offset, b"x")
        assert refused.value.offset == 3
    assert bench.part(upload).read_bytes() == b"abc"


async def test_more_than_was_announced_is_refused(bench: Bench) -> None:
    upload = await bench.create()
    with pytest.raises(TooLong, match="10 bytes"):
        await bench.send(upload, 0, b"0123456789x")
    assert bench.part(upload).read_bytes() == b""
    with pytest.raises(TooLong):
        await bench.uploads.append(upload.id, 0, these(b"0123456789x"), None, told)
    assert (await bench.uploads.find(upload.id)).offset == 0
    await bench.send(upload, 0, b"0123456789")
    with pytest.raises(TooLong):
        await bench.send(upload, 10, b"x")
    with pytest.raises(WrongOffset):
        await bench.send(upload, 0, b"x")
    assert (await bench.send(upload, 10)).complete


async def test_of_two_writers_the_second_is_told_to_wait_also_in_another_process(bench: Bench) -> None:
    upload = await bench.create()
    came, go = anyio.Event(), anyio.Event()

    async def slow() -> AsyncIterator[bytes]:
        yield b"01234"
        came.set()
        await go.wait()
        yield b"56789"

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(bench.uploads.append, upload.id, 0, slow(), 10, told)
        await came.wait()
        for other in (bench.uploads, bench.again()):
            with pytest.raises(Busy):
                await other.append(upload.id, 0, these(b"x"), 1, told)
            with pytest.raises(Busy):
                await other.remove(upload.id, told)
        bench.clock.at += 2 * DAY
        assert (await bench.again().sweep()).expired == ()
        bench.clock.at -= 2 * DAY
        go.set()
    assert (bench.folder / upload.id).read_bytes() == b"0123456789"


async def test_a_discarded_upload_is_gone_with_its_bytes(bench: Bench) -> None:
    half, whole = await bench.create(), await bench.create(2)
    await bench.send(half, 0, b"abc")
    await bench.send(whole, 0, b"ab")
    for upload in (half, whole):
        await bench.uploads.remove(upload.id, told)
        with pytest.raises(NotFound):
            await bench.uploads.find(upload.id)
        with pytest.raises(NotFound):
            await bench.uploads.remove(upload.id, told)
        with pytest.raises(NotFound):
            await bench.send(upload, 0, b"x")
    assert bench.names() == set()


@pytest.mark.parametrize("name", ["", "x", "..", "../../etc/passwd", "A" * 32, "0" * 31, "0" * 33, "0" * 32, "٠" * 32, "\0"])
async def test_what_is_no_id_of_ours_leads_nowhere(bench: Bench, name: str) -> None:
    with pytest.raises(NotFound):
        await bench.uploads.find(name)
    with pytest.raises(NotFound):
        await bench.uploads.remove(name, told)
    with pytest.raises(NotFound):
        await bench.uploads.append(name, 0, these(b"x"), 1, told)


async def test_a_link_in_the_folder_is_never_followed(bench: Bench, tmp_path: Path) -> None:
    upload, other = await bench.create(), tmp_path / "other"
    other.write_bytes(b"keep me")
    bench.part(upload).unlink()
    bench.part(upload).symlink_to(other)
    with pytest.raises(FolderUnusable):
        await bench.send(upload, 0, b"x")
    with pytest.raises(FolderUnusable):
        await bench.uploads.find(upload.id)
    assert other.read_bytes() == b"keep me"


# until when


async def test_a_day_after_its_last_byte_an_unfinished_upload_is_gone(bench: Bench) -> None:
    upload, whole = await bench.create(), await bench.create(1)
    await bench.send(whole, 0, b"x")
    bench.clock.at += timedelta(hours=23)
    assert (await bench.send(upload, 0, b"abc")).expires_at == NOW + timedelta(hours=47)
    bench.clock.at += timedelta(hours=23)
    assert (await bench.uploads.sweep()).expired == ()
    bench.clock.at += timedelta(hours=1)
    with pytest.raises(NotFound):
        await bench.uploads.find(upload.id)
    with pytest.raises(NotFound):
        await bench.uploads.remove(upload.id, told)
    with pytest.raises(NotFound):
        await bench.send(upload, 3, b"x")
    assert [one.id for one in (await bench.uploads.sweep()).expired] == [upload.id]
    assert bench.names() == {whole.id}
    assert (await bench.uploads.find(whole.id)).complete


async def test_a_row_without_a_file_goes_once_it_cannot_be_about_to_have_one(bench: Bench) -> None:
    half, whole = await bench.create(), await bench.create(1)
    await bench.send(whole, 0, b"x")
    bench.part(half).unlink()
    (bench.folder / whole.id).unlink()
    await bench.uploads.sweep()
    assert len(await bench.store.uploads_in(half_mark(bench))) == 2
    bench.clock.at += timedelta(minutes=11)
    await bench.uploads.sweep()
    assert await bench.store.uploads_in(half_mark(bench)) == []


async def test_an_upload_that_was_imported_and_removed_is_not_shown_and_then_forgotten(bench: Bench) -> None:
    upload, other = await bench.create(QUOTA // 2), await bench.create(10)
    await bench.send(upload, 0, bytes(QUOTA // 2))
    (bench.folder / upload.id).unlink()
    shown, _ = await bench.uploads.list(None, None, 10)
    assert [one.id for one in shown] == [other.id]
    with pytest.raises(NoUpload):
        await bench.uploads.find(upload.id)
    with pytest.raises(OverQuota):
        await bench.create(QUOTA // 2)
    bench.clock.at += timedelta(minutes=11)
    assert await bench.again().sweep() == Swept()
    assert await bench.create(QUOTA // 2)


async def test_a_file_without_a_row_goes_once_nobody_has_touched_it_for_a_day(bench: Bench) -> None:
    await bench.create()
    stray = [bench.folder / name for name in (f"{'a' * 32}.part", "b" * 32)]
    foreign = [bench.folder / name for name in ("notes.txt", f"{'c' * 31}.part", f"{'A' * 32}")]
    now = NOW.timestamp()
    for path in (*stray, *foreign):
        path.write_bytes(b"x")
        os.utime(path, (now, now))
    assert (await bench.uploads.sweep()).stray == ()
    bench.clock.at += DAY + timedelta(seconds=1)
    assert (await bench.uploads.sweep()).stray == tuple(path.name.removesuffix(".part") for path in stray)
    assert [path.exists() for path in (*stray, *foreign)] == [False, False, True, True, True]


async def test_uploads_of_another_folder_are_left_alone(bench: Bench, tmp_path: Path) -> None:
    """So an empty disk that is mounted there by mistake makes nobody forget what lies on the right one."""
    upload = await bench.create()
    right = bench.folder.rename(tmp_path / "right")
    bench.folder.mkdir()
    bench.clock.at += timedelta(hours=1)
    with pytest.raises(FolderUnusable, match="mounted"):
        await bench.uploads.sweep()
    other = bench.again()
    assert (await other.sweep()).expired == ()
    with pytest.raises(NotFound):
        await other.find(upload.id)
    assert (await other.list(None, None, 10)) == ([], None)
    for path in bench.folder.iterdir():
        path.unlink()
    bench.folder.rmdir()
    right.rename(bench.folder)
    assert (await bench.uploads.find(upload.id)).id == upload.id


async def test_uploads_of_a_folder_that_nobody_looks_after_are_forgotten_in_the_end(bench: Bench, tmp_path: Path) -> None:
    await bench.create()
    other = FolderUploads(tmp_path / "other", bench.store, bench.clock, life=DAY, quota=QUOTA)
    bench.clock.at += 2 * DAY
    await other.sweep()
    assert len(await bench.store.uploads_in(half_mark(bench))) == 1
    bench.clock.at += timedelta(seconds=1)
    await other.sweep()
    assert await bench.store.uploads_in(half_mark(bench)) == []


def half_mark(bench: Bench) -> str:
    return Folder(bench.folder).mark()


# how much


async def test_a_user_has_a_quota_and_what_is_discarded_gives_it_back(bench: Bench) -> None:
    first = await bench.create(QUOTA - 10)
    with pytest.raises(OverQuota, match="ggnet image discard"):
        await bench.create(11)
    await bench.create(11, owner="")
    await bench.create(10)
    await bench.uploads.remove(first.id, told)
    await bench.create(QUOTA - 10)


async def test_of_two_that_take_the_last_of_a_quota_at_once_one_is_refused(bench: Bench) -> None:
    ends: list[str] = []

    async def create() -> None:
        try:
            await bench.create(QUOTA // 2 + 1)
            ends.append("made")
        except OverQuota:
            ends.append("refused")

    async with anyio.create_task_group() as tasks:
        for _ in range(4):
            tasks.start_soon(create)
    assert sorted(ends) == ["made", "refused", "refused", "refused"]


async def test_a_user_has_a_bounded_number_of_unfinished_uploads(bench: Bench) -> None:
    made = [await bench.create(1) for _ in range(MOST)]
    with pytest.raises(TooManyUploads, match=str(MOST)):
        await bench.create(1)
    await bench.send(made[0], 0, b"x")
    await bench.create(1)


async def test_lists_come_in_pages_the_newest_first(bench: Bench) -> None:
    made = []
    for number in range(5):
        bench.clock.at += timedelta(seconds=number // 2)
        made.append(await bench.create(10, owner=ADA if number != 2 else ""))
    found, place = list[Upload](), None
    while True:
        page, place = await bench.uploads.list(None, place, 2)
        found += page
        if place is None:
            break
    assert sorted(found, key=lambda one: (one.created_at, one.id), reverse=True) == found
    assert {one.id for one in found} == {one.id for one in made}
    mine, more = await bench.uploads.list(ADA, None, 4)
    assert ({one.owner_name for one in mine}, len(mine), more) == ({"ada"}, 4, None)
    (local,), _ = await bench.uploads.list("", None, 4)
    assert local.owner_name == "admin"


async def test_who_gets_the_name_of_a_deleted_account_gets_none_of_its_uploads(bench: Bench) -> None:
    upload = await bench.create()
    await bench.store.remove_user("ada", "account:ada", TOLD)
    assert (await bench.uploads.find(upload.id)).owner_name == ""
    other = "6d0e0a2e-8f0b-4a2e-9b7e-2f6f0c1d2e3f"
    await bench.store.add_user(User("ada", other, "OPERATOR", "no hash", NOW), TOLD)
    assert await bench.uploads.list(other, None, 10) == ([], None)


@MOUNTS
async def test_the_reserve_is_not_promised_to_anybody(bench: Bench) -> None:
    """Of 16 MiB 15 % stay free; what is still to come counts as if it was there."""
    with mounted(bench.folder, "-t", "tmpfs", "-o", "size=16m", "tmpfs"):
        uploads = bench.again(reserve=0.15)
        first = await uploads.create(ADA, 10 << 20, "", told)
        with pytest.raises(NoRoom, match="15% of it stay free"):
            await uploads.create(ADA, 4 << 20, "", told)
        await uploads.append(first.id, 0, these(bytes(10 << 20)), 10 << 20, told)
        with pytest.raises(NoRoom):
            await uploads.create(ADA, 4 << 20, "", told)
        second = await uploads.create(ADA, 3 << 20, "", told)
        (bench.folder / "other").write_bytes(bytes(3 << 20))
        with pytest.raises(NoRoom):
            await uploads.append(second.id, 0, these(bytes(3 << 20)), 3 << 20, told)
        assert os.statvfs(bench.folder).f_bavail * 4096 >= 0.15 * (16 << 20)
        assert {one.id for one in (await uploads.list(None, None, 10))[0]} == {first.id, second.id}


@MOUNTS
@pytest.mark.parametrize("reserve", [0.0, -1.0], ids=["foreseen", "told by the kernel"])
async def test_a_full_disk_loses_nothing_and_goes_on_when_there_is_room(bench: Bench, reserve: float) -> None:
    content = os.urandom(6 << 20)
    with mounted(bench.folder, "-t", "tmpfs", "-o", "size=8m", "tmpfs"):
        bench.uploads = bench.again(reserve)
        upload = await bench.create(len(content))
        assert (await bench.send(upload, 0, content[: 1 << 20])).offset == 1 << 20
        ballast = bench.folder / "ballast"
        ballast.write_bytes(bytes((4 << 20) + 12345))
        with pytest.raises(NoRoom, match="nothing is lost"):
            await bench.send(upload, 1 << 20, *(content[at : at + (1 << 18)] for at in range(1 << 20, 6 << 20, 1 << 18)))
        kept = (await bench.uploads.find(upload.id)).offset
        assert 1 << 20 < kept < len(content)
        assert bench.part(upload).read_bytes() == content[:kept]
        with pytest.raises(NoRoom):
            await bench.send(upload, kept, content[kept:], checksum=sha256(content[kept:]))
        assert (await bench.uploads.find(upload.id)).offset == kept
        ballast.unlink()
        assert (await bench.send(upload, kept, content[kept:])).complete
        assert (bench.folder / upload.id).read_bytes() == content


async def test_a_long_piece_is_written_as_it_comes_and_never_held_whole(bench: Bench) -> None:
    length = 32 << 20
    upload, seen = await bench.create(length), list[int]()

    async def pieces() -> AsyncIterator[bytes]:
        for number in range(length >> 18):
            yield bytes([number % 251]) * (1 << 18)
            seen.append((number + 1 << 18) - bench.part(upload).stat().st_size)

    began = time.monotonic()
    assert (await bench.uploads.append(upload.id, 0, pieces(), length, told)).complete
    assert max(seen) <= 2 << 20
    assert time.monotonic() - began < 20
