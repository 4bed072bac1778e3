"""Sources from the web, against servers that break off, lie, change their minds and never end."""

import hashlib
import os
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest

from controller.adapters import download_part
from controller.adapters.download_line import Line, authorities
from controller.adapters.download_part import Part
from controller.adapters.downloads import Downloads, Patience
from controller.adapters.outbound import Outbound
from controller.adapters.pool import PoolDir
from controller.core.addresses import networks
from controller.core.desired import Golden
from controller.core.steps import DiscardSource, ImportImage
from controller.ports.host import EffectFailed, EffectRefused, Fetched
from tests.contracts.pool_bench import SetClock, mounted, why_no_mount
from tests.controller.shell.outboxes import Names
from tests.webserver import NAME, Authority, Handler, Web, authority, webserver

pytestmark = pytest.mark.anyio
MIB = 1 << 20
CONTENT = random.Random(1).randbytes(3 * MIB)
HASTY = Patience(tries=4, first=0.0, longest=0.0, least=1, window=60.0)
MOUNTS = pytest.mark.skipif(why_no_mount() is not None and "CI" not in os.environ, reason=str(why_no_mount()))


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return authority(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def web(known: Authority) -> Iterator[Web]:
    with webserver(known, CONTENT) as one:
        yield one


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@dataclass(frozen=True)
class Options:
    """Of one process's downloads."""

    names: Names | None = None
    allowed: str = "127.0.0.0/8"
    trusts: bool = True
    seconds: float = 20.0
    most: int = 64 * MIB
    reserve: float = 0.0
    patience: Patience = HASTY


class Bench:
    """One process's downloads into a pool; ``again`` is another process with no memory of this one."""

    def __init__(self, root: Path, known: Authority, options: Options = Options(), clock: SetClock | None = None) -> None:
        self.root, self.known, self.options = root, known, options
        self.told: list[Fetched] = []
        root.mkdir(exist_ok=True)
        self.clock = clock or SetClock()
        self.pool = PoolDir(root, root / "imports", downloads=self.downloads, reserve=0.0, clock=self.clock)

    def downloads(self) -> Downloads:
        our = self.options
        outbound = Outbound(
            our.names or Names(),
            networks(our.allowed),
            "GGNET_IMPORT_ALLOW",
            connect_seconds=20.0,
            authorities=self.known.trusted if our.trusts else partial(authorities, None),
        )
        line = Line(outbound, our.seconds)
        return Downloads(self.root, line, most=our.most, reserve=our.reserve, patience=our.patience)

    def again(self, **changes: Any) -> "Bench":
        return Bench(self.root, self.known, replace(self.options, **changes), self.clock)

    async def fetch(self, web: Web, path: str = "win11.raw", content: bytes | None = None) -> bytes:
        """What was fetched."""
        action = asked(web, path, content)
        await self.pool.fetch_source(action, self.told.append)
        return (self.root / "downloads" / str(action.sha256)).read_bytes()

    @property
    def left(self) -> list[str]:
        """The kinds of files in the folder of downloads."""
        folder = self.root / "downloads"
        return sorted(path.suffix or "whole" for path in folder.iterdir()) if folder.exists() else []

    @property
    def size(self) -> int:
        """Of the part."""
        return sum(path.stat().st_size for path in (self.root / "downloads").glob("*.part"))


def asked(web: Web, path: str = "win11.raw", content: bytes | None = None) -> ImportImage:
    wanted = digest(web.content if content is None else content)
    return ImportImage("win11", 1, web.url(path), origin="url", sha256=wanted)


@pytest.fixture
def bench(tmp_path: Path, known: Authority) -> Bench:
    return Bench(tmp_path / "pool", known)


async def test_a_file_is_fetched_told_of_and_becomes_a_version(bench: Bench, web: Web) -> None:
    action, golden = asked(web), Golden("win11", web.url(), origin="url", sha256=digest(CONTENT))
    assert await bench.fetch(web) == CONTENT
    assert (bench.told[0], bench.told[-1]) == (Fetched(0, len(CONTENT)), Fetched(len(CONTENT), len(CONTENT)))
    assert len(bench.told) >= 4
    assert (bench.root / "downloads" / str(action.sha256)).stat().st_mode & 0o777 == 0o440
    await bench.pool.import_image(action)
    state = (await bench.pool.observe([golden])).state
    assert state.images["win11"][1].identity == golden.identity
    assert (state.images["win11"][1].sha256, set(state.brought)) == (digest(CONTENT), {golden.identity})
    await bench.pool.discard_source(DiscardSource(golden.identity))
    assert bench.left == []
    await bench.pool.discard_source(DiscardSource(golden.identity))


@pytest.mark.parametrize("seed", range(4))
async def test_a_line_that_breaks_anywhere_costs_only_what_was_not_there_yet(bench: Bench, web: Web, seed: int) -> None:
    chance = random.Random(seed)
    web.cuts = [chance.randrange(1, MIB // 2) for _ in range(5)]
    assert await bench.fetch(web) == CONTENT
    assert web.sent == len(CONTENT)
    starts = [int(str(one).removeprefix("bytes=").removesuffix("-")) for one in web.asked[1:]]
    assert (web.asked[0], len(starts)) == (None, 5)
    assert starts == sorted(set(starts))
    assert {headers.get("if-range") for _, headers in web.requests[1:]} == {'"one"'}


async def test_a_process_that_ends_is_followed_by_one_that_goes_on(bench: Bench, web: Web) -> None:
    web.cuts = [MIB] + [1] * 3
    with pytest.raises(EffectFailed, match="the connection broke") as failed:
        await bench.again(patience=replace(HASTY, least=2, tries=2)).fetch(web)
    assert (failed.value.reason, bench.left) == ("DownloadFailed", [".json", ".part"])
    web.cuts = []
    assert await bench.again().fetch(web) == CONTENT
    assert web.sent == len(CONTENT)
    assert bench.left == ["whole"]
    before = len(web.requests)
    assert await bench.again().fetch(web) == CONTENT
    assert len(web.requests) == before


async def test_one_that_is_cancelled_keeps_what_has_come_until_nobody_asks_for_it(bench: Bench, web: Web) -> None:
    stalled = stalling(web, 2 * MIB)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(bench.fetch, web)
        await until(lambda: bench.size == 2 * MIB)
        tasks.start_soon(bench.pool.discard_source, DiscardSource(f"sha256 {digest(b'another')}"))
        tasks.cancel_scope.cancel()
    assert (bench.left, bench.size) == ([".json", ".part"], 2 * MIB)
    web.behave = lambda handler: False
    other = bench.again()
    assert await other.fetch(web) == CONTENT
    assert web.asked[-1] == f"bytes={2 * MIB}-"
    assert stalled == [1]


async def test_one_that_is_being_fetched_is_discarded_only_once_it_has_ended(bench: Bench, web: Web) -> None:
    stalling(web, MIB)
    scope = anyio.CancelScope()

    async def fetch() -> None:
        with scope:
            await bench.fetch(web)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(fetch)
        await until(lambda: bench.size == MIB)
        tasks.start_soon(bench.pool.discard_source, DiscardSource(f"sha256 {digest(CONTENT)}"))
        await anyio.sleep(0.05)
        assert bench.left == [".json", ".part"]
        scope.cancel()
    assert bench.left == []


async def until(true: Callable[[], bool]) -> None:
    with anyio.fail_after(60):
        while not true():  # noqa: ASYNC110 a file grows by another's hand
            await anyio.sleep(0.01)


def stalling(web: Web, at: int) -> list[int]:
    """The server goes silent after so many bytes, until it is stopped."""
    stalled: list[int] = []

    def behave(handler: Handler) -> bool:
        handler.head(200, content_length=str(len(web.content)), etag='"one"')
        handler.wfile.write(web.content[:at])
        stalled.append(1)
        web.stopping.wait(20)
        return True

    web.behave = behave
    return stalled


@pytest.mark.parametrize(("etag", "ranges"), [(None, True), ('W/"one"', True), ('"one"', False)])
async def test_what_cannot_be_gone_on_with_is_begun_anew(bench: Bench, web: Web, etag: str | None, ranges: bool) -> None:
    web.etag, web.ranges, web.cuts = etag, ranges, [MIB]
    assert await bench.fetch(web) == CONTENT
    assert web.sent == len(CONTENT) + MIB
    assert (web.asked[1] is None) == (etag != '"one"')


async def test_what_never_comes_further_is_not_asked_for_for_ever(bench: Bench, web: Web) -> None:
    web.etag, web.cuts = None, [MIB] * 50
    with pytest.raises(EffectFailed) as failed:
        await bench.fetch(web)
    assert failed.value.reason == "DownloadFailed"
    assert len(web.requests) <= 6


async def test_what_has_changed_meanwhile_is_never_mixed_with_what_was_there(bench: Bench, web: Web) -> None:
    new = random.Random(2).randbytes(2 * MIB)
    web.cuts = [MIB]

    def behave(handler: Handler) -> bool:
        if len(web.requests) == 2:
            web.content, web.etag = new, '"two"'
        return False

    web.behave = behave
    assert await bench.fetch(web, content=new) == new
    assert web.asked[1] == f"bytes={MIB}-"


@pytest.mark.parametrize("wrong", ["another start", "another length", "another tag", "no range", "416"])
async def test_a_range_that_does_not_fit_is_not_taken(bench: Bench, web: Web, wrong: str) -> None:
    web.cuts = [MIB]
    size = len(CONTENT)

    def behave(handler: Handler) -> bool:
        if len(web.requests) != 2:
            return False
        start, total, tag = MIB - (wrong == "another start"), size + (wrong == "another length"), '"one"'
        if wrong == "416":
            handler.head(416, content_range=f"bytes */{size}", content_length="0")
            return True
        told = {} if wrong == "no range" else {"content_range": f"bytes {start}-{size - 1}/{total}"}
        tag = '"two"' if wrong == "another tag" else tag
        handler.head(206, content_length=str(size - start), etag=tag, **told)
        handler.wfile.write(bytes(size - start))
        return True

    web.behave = behave
    assert await bench.fetch(web) == CONTENT
    assert web.asked == [None, f"bytes={MIB}-", None]


async def test_a_file_whose_length_was_told_only_with_its_rest_is_gone_on_with(bench: Bench, web: Web) -> None:
    def chunked(handler: Handler) -> bool:
        if handler.headers.get("Range"):
            return False
        handler.head(200, transfer_encoding="chunked", etag='"one"')
        handler.wfile.write(b"%x\r\n" % MIB + CONTENT[:MIB] + b"\r\n")
        return True

    web.behave = chunked
    assert await bench.fetch(web) == CONTENT
    assert web.asked == [None, f"bytes={MIB}-"]
    assert bench.told[-1] == Fetched(len(CONTENT), len(CONTENT))


async def test_where_more_comes_than_was_told_it_is_begun_anew(bench: Bench, web: Web) -> None:
    def more(handler: Handler) -> bool:
        if not handler.headers.get("Range"):
            return False
        handler.head(206, content_range=f"bytes {MIB}-{len(CONTENT) - 1}/{len(CONTENT)}", transfer_encoding="chunked")
        handler.wfile.write(b"%x\r\n" % (3 * MIB) + bytes(3 * MIB) + b"\r\n0\r\n\r\n")
        return True

    web.behave, web.cuts = more, [MIB]
    assert await bench.fetch(web) == CONTENT
    assert web.asked == [None, f"bytes={MIB}-", None]
    assert [one.waits.partition(";")[0] for one in bench.told if one.waits][1:] == ["the server sent more than it told"]


async def test_another_url_for_the_same_file_begins_anew(bench: Bench, web: Web) -> None:
    web.cuts = [MIB, 1, 1]
    with pytest.raises(EffectFailed):
        await bench.again(patience=replace(HASTY, tries=1, least=4 * MIB)).fetch(web)
    web.cuts = []
    assert await bench.fetch(web, "mirror.raw") == CONTENT
    assert web.asked[-1] is None


async def test_what_the_disk_had_not_taken_for_sure_is_fetched_again(tmp_path: Path) -> None:
    part = Part(tmp_path, "a" * 64, "https://x/y")
    part.begin(100, '"one"')
    part.write([b"x" * 40])
    part.settle()
    part.write([b"y" * 20])
    part.close()
    after = Part(tmp_path, "a" * 64, "https://x/y")
    assert (after.end, after.total, after.etag) == (40, 100, '"one"')
    after.close()


@pytest.mark.parametrize("told", [b"", b"{", b"[]", b'{"url": 1}', bytes(1 << 17), b'{"etag": "x", "safe": "y"}'])
async def test_notes_that_cannot_be_read_are_no_notes(tmp_path: Path, told: bytes) -> None:
    part = Part(tmp_path, "a" * 64, "https://x/y")
    part.begin(100, '"one"')
    part.write([b"x" * 40])
    part.settle()
    part.close()
    (tmp_path / f"{'a' * 64}.json").write_bytes(told)
    after = Part(tmp_path, "a" * 64, "https://x/y")
    assert (after.end, after.etag) == (0, None)
    after.close()


async def test_another_file_than_was_asked_for_is_thrown_away_and_named(bench: Bench, web: Web) -> None:
    action = asked(web, "win11.raw?token=secret", content=b"what was wanted")
    await bench.pool.fetch_source(action, bench.told.append)
    with pytest.raises(EffectRefused, match="correct the digest or the url") as refused:
        await bench.pool.import_image(action)
    assert refused.value.reason == "DigestMismatch"
    assert digest(CONTENT) in str(refused.value)
    assert "secret" not in str(refused.value)
    assert (bench.left, list((bench.root / "images").glob("*")) if (bench.root / "images").exists() else []) == (
        [".vain"],
        [],
    )


async def test_a_process_that_begins_asks_no_sooner_for_what_was_another_file(bench: Bench, web: Web) -> None:
    action = asked(web, content=b"what was wanted")
    for times, pause in enumerate([3600, 7200, 14400], 1):
        await bench.pool.fetch_source(action, bench.told.append)
        with pytest.raises(EffectRefused) as wrong:
            await bench.pool.import_image(action)
        assert (wrong.value.again, len(web.requests)) == (pause, times)
        bench.clock.later(seconds=pause / 2)
        bench = bench.again()
        with pytest.raises(EffectRefused) as early:
            await bench.pool.fetch_source(action, bench.told.append)
        assert (early.value.reason, str(early.value), early.value.again) == ("DigestMismatch", str(wrong.value), pause / 2)
        assert len(web.requests) == times
        bench.clock.later(seconds=pause / 2)
    assert (await bench.pool.observe([])).state.brought == {action.identity}
    await bench.pool.discard_source(DiscardSource(action.identity))
    assert bench.left == []


async def test_what_was_another_file_is_asked_for_at_once_from_another_place_or_when_it_is_wanted_anew(
    bench: Bench, web: Web
) -> None:
    action = asked(web, content=b"what was wanted")
    await bench.pool.fetch_source(action, bench.told.append)
    with pytest.raises(EffectRefused):
        await bench.pool.import_image(action)
    after = bench.again()
    await after.pool.fetch_source(asked(web, "corrected.raw", b"what was wanted"), after.told.append)
    assert len(web.requests) == 2
    await after.pool.discard_source(DiscardSource(action.identity))
    again = after.again()
    await again.pool.fetch_source(action, again.told.append)
    assert len(web.requests) == 3


async def test_redirects_are_followed_five_times(bench: Bench, web: Web) -> None:
    def behave(handler: Handler) -> bool:
        number = int(handler.path.strip("/") or 0) if handler.path.strip("/").isdigit() else 0
        if number == 0:
            return False
        handler.head(302, location=f"/{number - 1}", content_length="0")
        return True

    web.behave = behave
    assert await bench.fetch(web, "5") == CONTENT
    with pytest.raises(EffectRefused, match="more than 5 redirects") as refused:
        await bench.again().pool.fetch_source(asked(web, "6", content=b"other"), bench.told.append)
    assert refused.value.reason == "DownloadRefused"


@pytest.mark.parametrize(
    ("location", "reason"),
    [
        ("https://127.0.0.2:{port}/inside?secret", "AddressRefused"),
        ("https://10.0.0.1/", "AddressRefused"),
        ("https://[::1]:{port}/", "AddressRefused"),
        ("https://[::ffff:127.0.0.2]:{port}/", "AddressRefused"),
        ("https://2130706434:{port}/", "DownloadRefused"),
        ("//169.254.169.254/latest", "AddressRefused"),
        ("http://images.example:{port}/win11.raw", "DownloadRefused"),
        ("https://me:secret@images.example:{port}/", "DownloadRefused"),
        ("file:///etc/shadow", "DownloadRefused"),
        ("", "DownloadRefused"),
    ],
)
async def test_a_redirect_leads_nowhere_that_the_url_may_not(
    bench: Bench, known: Authority, web: Web, location: str, reason: str
) -> None:
    def away(handler: Handler) -> bool:
        handler.head(307, location=location.format(port=inside.port), content_length="0")
        return True

    web.behave = away
    with webserver(known, CONTENT, "127.0.0.2") as inside:
        with pytest.raises(EffectRefused) as refused:
            await bench.again(allowed="127.0.0.1/32").fetch(web)
        assert inside.connections == 0
    assert "secret" not in str(refused.value)
    assert refused.value.reason == reason


async def test_what_is_not_public_is_refused_unless_it_was_allowed(bench: Bench, web: Web) -> None:
    with pytest.raises(EffectRefused, match=r"127\.0\.0\.1 is loopback.*GGNET_IMPORT_ALLOW") as refused:
        await bench.again(allowed="").fetch(web)
    assert (refused.value.reason, web.connections) == ("AddressRefused", 0)


async def test_the_name_is_looked_up_once_a_try_and_checked_each_time(bench: Bench, web: Web) -> None:
    """A name that leads elsewhere after the line broke is not followed there."""
    names, web.cuts = Names([["127.0.0.1"], ["10.0.0.1"]]), [MIB]
    with pytest.raises(EffectRefused, match=r"10\.0\.0\.1 is private"):
        await bench.again(names=names, allowed="127.0.0.1/32").fetch(web)
    assert (names.asked, len(web.requests)) == (2, 1)


async def test_a_certificate_that_nobody_vouches_for_ends_it(bench: Bench, web: Web) -> None:
    with pytest.raises(EffectRefused, match="set GGNET_IMPORT_CA_FILE") as refused:
        await bench.again(trusts=False).fetch(web)
    assert (refused.value.reason, web.requests) == ("CertificateRefused", [])
    action = replace(asked(web), source=web.url(host="other.example"))
    with pytest.raises(EffectRefused, match=r"other\.example.*certificate"):
        await bench.pool.fetch_source(action, bench.told.append)
    assert web.requests == []


@pytest.mark.parametrize(("content", "told"), [(None, "No such file"), (b"no certificate", "holds no certificates")])
async def test_authorities_that_cannot_be_read_are_named(tmp_path: Path, content: bytes | None, told: str) -> None:
    file = tmp_path / "ca.pem"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(EffectRefused, match=f"GGNET_IMPORT_CA_FILE: .*{told}"):
        authorities(file)


async def test_our_own_authorities_are_trusted_beside_the_systems(known: Authority) -> None:
    assert authorities(known.ca).cert_store_stats()["x509"] == authorities(None).cert_store_stats()["x509"] + 1


async def test_a_server_that_is_silent_or_drips_is_left(bench: Bench, web: Web) -> None:
    stalling(web, 0)
    began = time.monotonic()
    with pytest.raises(EffectFailed, match="no answer in time"):
        await bench.again(seconds=0.2, patience=replace(HASTY, tries=2)).fetch(web)
    assert time.monotonic() - began < 15

    def drip(handler: Handler) -> bool:
        handler.head(200, content_length="1000000", etag='"one"')
        while not web.stopping.wait(0.02):
            handler.wfile.write(b"x")
        return True

    web.behave = drip
    with pytest.raises(EffectFailed, match=r"too slow: [0-9]+ bytes"):
        await bench.again(patience=replace(HASTY, tries=2, least=1000, window=0.2)).fetch(web)


@pytest.mark.parametrize("length", [None, 10 * MIB])
async def test_what_is_too_long_or_never_ends_is_refused_and_leaves_nothing(
    bench: Bench, web: Web, length: int | None
) -> None:
    def endless(handler: Handler) -> bool:
        told = {"transfer_encoding": "chunked"} if length is None else {"content_length": str(length)}
        handler.head(200, etag='"one"', **told)
        while not web.stopping.is_set():
            handler.wfile.write(b"%x\r\n" % MIB + bytes(MIB) + b"\r\n")
            web.sent += MIB
        return True

    web.behave = endless
    with pytest.raises(EffectRefused, match=r"4MiB are taken at most.*GGNET_UPLOAD_QUOTA") as refused:
        await bench.again(most=4 * MIB).fetch(web)
    assert (refused.value.reason, bench.left) == ("SourceTooLarge", [])
    assert web.sent < 40 * MIB


async def test_a_file_of_unknown_length_ends_where_the_server_says_so(bench: Bench, web: Web) -> None:
    def chunked(handler: Handler) -> bool:
        handler.head(200, transfer_encoding="chunked")
        handler.wfile.write(b"%x\r\n" % len(CONTENT) + CONTENT + b"\r\n0\r\n\r\n")
        return True

    web.behave = chunked
    assert await bench.fetch(web) == CONTENT
    assert bench.told[-1] == Fetched(len(CONTENT), None)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 204, 304])
async def test_an_answer_that_no_waiting_mends_is_refused(bench: Bench, web: Web, status: int) -> None:
    def behave(handler: Handler) -> bool:
        handler.head(status, **({} if status in (204, 304) else {"content_length": "0"}))
        return True

    web.behave = behave
    with pytest.raises(EffectRefused, match=f"answered {status}: correct spec.source.url"):
        await bench.fetch(web)
    assert len(web.requests) == 1


@pytest.mark.parametrize("status", [429, 500, 502, 503])
async def test_an_answer_that_may_be_better_later_is_tried_again(bench: Bench, web: Web, status: int) -> None:
    def behave(handler: Handler) -> bool:
        if len(web.requests) > 2:
            return False
        handler.head(status, retry_after="0", content_length="0")
        return True

    web.behave = behave
    assert await bench.fetch(web) == CONTENT
    assert any(f"answered {status}; on again in" in one.waits for one in bench.told)


async def test_an_encoded_answer_is_not_taken_for_the_file(bench: Bench, web: Web) -> None:
    def behave(handler: Handler) -> bool:
        handler.head(200, content_encoding="gzip", content_length="0")
        return True

    web.behave = behave
    with pytest.raises(EffectRefused, match="compresses"):
        await bench.fetch(web)
    assert web.requests[0][1]["accept-encoding"] == "identity"


@MOUNTS
async def test_the_reserve_is_kept_and_it_goes_on_once_there_is_room(known: Authority, tmp_path: Path) -> None:
    with mounted(tmp_path / "pool", "-t", "tmpfs", "-o", "size=16m", "tmpfs") as root, webserver(known, CONTENT) as web:
        bench, filler = Bench(root, known, Options(reserve=0.5)), root / "filler"
        filler.write_bytes(bytes(6 * MIB))
        with pytest.raises(EffectRefused) as refused:
            await bench.fetch(web)
        assert (refused.value.reason, bench.size) == ("PoolReserve", 0)
        filler.unlink()
        assert await bench.again().fetch(web) == CONTENT


@MOUNTS
@pytest.mark.parametrize(("reserve", "reason"), [(0.0, "PoolReserve"), (-9.0, "PoolFull")])
async def test_a_disk_that_runs_full_meanwhile_loses_nothing_that_was_there(
    known: Authority, tmp_path: Path, reserve: float, reason: str
) -> None:
    """Without a reserve it is the disk itself that says so."""
    with mounted(tmp_path / "pool", "-t", "tmpfs", "-o", "size=4m", "tmpfs") as root, webserver(known, CONTENT) as web:
        bench, filler = Bench(root, known, Options(reserve=reserve)), root / "filler"
        web.etag = '"one"'

        def chunked(handler: Handler) -> bool:
            """So that nobody can know before that it does not fit."""
            if len(web.requests) > 1:
                return False
            filler.write_bytes(bytes(2 * MIB))
            handler.head(200, transfer_encoding="chunked", etag='"one"')
            handler.wfile.write(b"%x\r\n" % len(CONTENT) + CONTENT + b"\r\n0\r\n\r\n")
            return True

        web.behave = chunked
        with pytest.raises((EffectRefused, EffectFailed)) as failed:
            await bench.fetch(web)
        assert failed.value.reason == reason
        assert bench.size >= MIB
        filler.unlink()
        assert await bench.again().fetch(web) == CONTENT


async def test_what_a_killed_process_left_half_written_is_removed_first(bench: Bench, web: Web) -> None:
    left = bench.root / f"downloads/.{'a' * 64}.json.0123456789ab.tmp"
    left.parent.mkdir()
    left.write_text("{")
    await bench.fetch(web)
    assert bench.left == ["whole"]


async def test_two_images_of_one_file_fetch_it_once(bench: Bench, web: Web) -> None:
    async with anyio.create_task_group() as tasks:
        for _ in range(2):
            tasks.start_soon(bench.fetch, web)
    assert len(web.requests) == 1


async def test_only_so_many_are_fetched_at_a_time_and_the_others_say_that_they_wait(bench: Bench, web: Web) -> None:
    said = "waiting for other downloads"
    stalling(web, MIB)
    async with anyio.create_task_group() as tasks:
        for content in (b"one", b"two", b"three"):
            tasks.start_soon(bench.fetch, web, "win11.raw", content)
        # On a busy machine a server that has gone silent may already be given up, which is told as well.
        await until(lambda: bench.size == 2 * MIB and any(one.waits == said for one in bench.told))
        assert [one.waits for one in bench.told].count(said) == 1
        tasks.cancel_scope.cancel()


async def test_names_that_are_no_digest_are_neither_seen_nor_removed(tmp_path: Path) -> None:
    for name in ("..", "x" * 64, "A" * 64, "../../etc/x"):
        with pytest.raises(ValueError, match="is no digest"):
            download_part.drop(tmp_path, name)
    (tmp_path / "README").write_text("by hand")
    (tmp_path / ("b" * 64)).write_text("")
    assert download_part.there(tmp_path) == {"b" * 64}


def test_the_name_of_the_server_is_in_its_certificate(known: Authority) -> None:
    assert NAME in Web(port=1).url()
    assert known.ca.exists()
