"""Uploads by clients that nobody here wrote: cut at random, over a daemon that is killed, the file arrives as it was."""

import hashlib
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from tests.api.cutting import Line, cutting
from tests.api.served import ROOT, Served, environment
from tests.api.test_daemons import free_port, running

SCRIPT = Path(__file__).parent / "tus_js"
Words = Callable[[str, str, Path], list[str]]
"""The command that uploads: to this address, with this token, this file."""


@pytest.fixture(scope="session")
def disk(tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config) -> Path:
    path, source = tmp_path_factory.mktemp("disk") / "disk.raw", random.Random(7)
    with path.open("wb") as file:
        for _ in range(pytestconfig.getoption("upload_mib")):
            file.write(source.randbytes(1 << 20))
    return path


@pytest.fixture(scope="session")
def node_modules() -> Path:
    """tus-js-client as the lock has it, installed once, by npm from its registry."""
    named = hashlib.sha256(b"".join(path.read_bytes() for path in sorted(SCRIPT.iterdir()))).hexdigest()
    folder = ROOT / ".lab" / f"tus-js-{named[:16]}"
    if not (folder / "done").exists():
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(SCRIPT, folder)
        words = ["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts"]
        try:
            done = subprocess.run(words, cwd=folder, capture_output=True, text=True, timeout=100, check=False)
            why = done.stderr if done.returncode else None
        except (FileNotFoundError, subprocess.TimeoutExpired) as error:
            why = str(error)
        if why is not None:
            said = f"tus-js-client cannot be installed: {why[-300:]}"
            pytest.fail(said) if "CI" in os.environ else pytest.skip(said)
        (folder / "done").touch()
    return folder


@pytest.fixture(params=["tuspy", "tuspy with checksums", "tus-js-client", "tus-js-client in chunks"])
def words(request: pytest.FixtureRequest) -> Words:
    if request.param.startswith("tuspy"):
        return by_tuspy(*(["4194304", "checksum"] if "checksums" in request.param else ["0"]))
    return by_tus_js(request.getfixturevalue("node_modules"), "4194304" if "chunks" in request.param else "0")


def by_tuspy(*more: str) -> Words:
    more = more or ("0",)
    return lambda url, token, file: [sys.executable, "-m", "tests.api.tus_py", url, token, str(file), *more]


def by_tus_js(folder: Path, chunk: str) -> Words:
    return lambda url, token, file: ["node", str(folder / "upload.mjs"), url, token, str(file), chunk]


def digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def test_a_file_arrives_as_it_was_over_a_line_that_is_cut_at_random(door: Served, words: Words, disk: Path) -> None:
    size, chance = disk.stat().st_size, random.Random(11)
    cuts = [chance.randrange(1000, size // 5) for _ in range(6)]
    with cutting(urlsplit(door.url).port or 0, cuts) as line:
        url = f"http://127.0.0.1:{line.port}/api/v1/uploads"
        done = subprocess.run(
            words(url, door.token, disk),
            env=environment(),
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    assert len(line.done) >= 3, "the line was cut"
    upload = door.settings.uploads / done.stdout.strip().rpartition("/")[2]
    assert digest(upload) == digest(disk)
    with door.http as http:
        assert http.get(f"/api/v1/uploads/{upload.name}").json()["complete"]


def test_a_daemon_that_is_killed_in_the_middle_costs_nothing_that_was_acknowledged(
    tmp_path: Path, node_modules: Path, disk: Path
) -> None:
    port, size, uploads = free_port(), disk.stat().st_size, tmp_path / "pool" / "uploads"
    with cutting(port, []) as one, cutting(port, []) as other, ExitStack() as clients:
        one.limit = other.limit = size // 2
        clients.callback(_let, one, other)
        with running("api", folder=tmp_path, port=port) as daemon:
            token = (tmp_path / "admin.token").read_text().strip()
            started = [
                clients.enter_context(_started(client(f"http://127.0.0.1:{line.port}/api/v1/uploads", token, disk)))
                for line, client in ((one, by_tuspy()), (other, by_tus_js(node_modules, "4194304")))
            ]
            _until(lambda: len(grown := _sizes(uploads)) == 2 and min(grown) > size // 8)
            daemon.send_signal(signal.SIGKILL)
            daemon.wait(60)
        assert max(_sizes(uploads)) < size, "both were in the middle"
        kept = {path.name.removesuffix(".part") for path in uploads.glob("*.part")}
        with running("api", folder=tmp_path, port=port):
            _let(one, other)
            said = {client.communicate(timeout=100)[0].strip().rpartition("/")[2] for client in started}
            assert [client.returncode for client in started] == [0, 0]
            bearer = {"Authorization": f"Bearer {token}"}
            uploaded = f"http://127.0.0.1:{port}/api/v1/uploads"
            told = httpx.get(uploaded, headers=bearer, trust_env=False, timeout=60).json()["items"]
        assert said == kept == {one["id"] for one in told if one["complete"]}
        assert {digest(uploads / name) for name in said} == {digest(disk)}


def _let(*lines: Line) -> None:
    """All that comes may pass."""
    for line in lines:
        line.limit = 1 << 62


@contextmanager
def _started(words: list[str]) -> Iterator["subprocess.Popen[str]"]:
    with subprocess.Popen(words, env=environment(), cwd=ROOT, stdout=subprocess.PIPE, text=True) as one:
        try:
            yield one
        finally:
            one.kill()


def _sizes(uploads: Path) -> list[int]:
    return [path.stat().st_size for path in uploads.glob("*.part")]


def _until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not true():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.002)
