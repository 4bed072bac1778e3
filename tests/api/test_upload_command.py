"""``ggnet image``: a file goes up, over broken lines and restarts, and what to do next is always said."""

import hashlib
import json
import os
import pty
import random
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from manifests.image import ImageSource
from tests.api.cutting import cutting
from tests.api.served import Served, environment, serving
from tests.api.warm import Started, Warm

MIB = 1 << 20
WHOLE = 1 << 62
WRITTEN = 0 if "upload" in ImageSource.model_fields else 5
"""How the command ends whose upload is whole: whether the Image is taken is the language's to say."""


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory, warm: Warm) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("images"), warm) as served:
        yield served


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    """Some pieces, the last of them no whole one."""
    path = tmp_path / "win11.vhdx"
    path.write_bytes(random.Random(5).randbytes(40 * MIB))
    return path


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def known(door: Served) -> list[dict[str, object]]:
    with door.http as http:
        found: list[dict[str, object]] = http.get("/api/v1/uploads").json()["items"]
    return found


def emptied(door: Served) -> None:
    until(lambda: _discarded(door))


def _discarded(door: Served) -> bool:
    """Once the daemon has noticed that nobody sends any more."""
    with door.http as http:
        gone = [http.delete(f"/api/v1/uploads/{one['id']}", headers={"Tus-Resumable": "1.0.0"}) for one in known(door)]
    return all(one.status_code == 204 for one in gone)


@contextmanager
def started(door: Served, url: str, *words: str) -> Iterator[Started]:
    here = environment(GGNET_STATE_DIR=str(door.folder), GGNET_URL=url, PYTHONUNBUFFERED="1")
    with door.warm.start(["image", "upload", *words], here, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as one:
        try:
            yield one
        finally:
            one.kill()


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not true():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.002)


def parts(door: Served) -> list[int]:
    return [path.stat().st_size for path in door.settings.uploads.glob("*.part")]


def test_a_file_goes_up_and_becomes_an_image(daemon: Served, disk: Path) -> None:
    done = daemon.ggnet("image", "upload", str(disk), "--name", "win11", "--os", "windows")
    assert done.returncode == WRITTEN, done.stderr
    (one,) = known(daemon)
    assert digest(daemon.settings.uploads / str(one["id"])) == digest(disk)
    assert f"{disk} is on the server (upload {one['id']})" in done.stdout
    told = [line for line in done.stderr.splitlines() if line.startswith("win11.vhdx: ")]
    assert told[0] == "win11.vhdx: 0 % (0 B of 40.0 MiB)"
    assert told[-1].startswith("win11.vhdx: 100 % (40.0 MiB of 40.0 MiB, ")
    assert len(told) <= 11
    if WRITTEN == 0:
        assert "next: ggnet wait image/win11" in done.stdout
        spec = json.loads(daemon.ggnet("get", "image/win11", "-o", "json").stdout)["spec"]
        assert spec == {"source": {"upload": one["id"]}, "format": "auto", "os": "windows"}
        assert str(one["id"]) in daemon.ggnet("get", "images", "-o", "wide").stdout, "as its source"
    else:
        assert "Image/win11" in done.stderr
    again = daemon.ggnet("image", "upload", str(disk), "--name", "win11", "--os", "windows")
    assert (again.returncode, "%" in again.stderr, len(known(daemon))) == (WRITTEN, False, 1), "nothing is sent twice"
    listed = json.loads(daemon.ggnet("image", "uploads", "-o", "json").stdout)["items"]
    assert [item["id"] for item in listed] == [one["id"]]
    gone = daemon.ggnet("image", "discard", str(one["id"]))
    assert (gone.returncode, gone.stdout) == (0, f"upload {one['id']} is gone\n")
    assert known(daemon) == []


def test_another_file_of_an_image_is_still_of_its_system_and_has_not_the_comment_of_the_one_before(
    daemon: Served, disk: Path
) -> None:
    upload = ("image", "upload", str(disk), "--name", "win12")
    assert daemon.ggnet(*upload, "--os", "windows").returncode == 0
    with daemon.http as http:
        spec = {"comment": "with office", "channels": {"stable": "v1"}}
        assert http.patch("/api/v1/images/win12", json={"spec": spec}).status_code == 200
    for left in ("with office", None):
        assert daemon.ggnet(*upload).returncode == 0
        spec = json.loads(daemon.ggnet("get", "image/win12", "-o", "json").stdout)["spec"]
        assert (spec["os"], spec.get("comment"), spec["channels"]) == ("windows", left, {"stable": "v1"})
        os.utime(disk, (2, 2))  # so that it is another file
    emptied(daemon)


def test_it_goes_on_by_itself_when_the_line_breaks(daemon: Served, disk: Path) -> None:
    with cutting(urlsplit(daemon.url).port or 0, [5 * MIB, 3 * MIB, 18 * MIB]) as line:
        done = daemon.ggnet("image", "upload", str(disk), "--name", "win11", GGNET_URL=f"http://127.0.0.1:{line.port}")
    assert done.returncode == WRITTEN, done.stderr
    assert len(line.done) == 3
    assert done.stderr.count("trying again in 0.5 s") >= 2
    (one,) = known(daemon)
    assert digest(daemon.settings.uploads / str(one["id"])) == digest(disk)
    emptied(daemon)


def test_the_same_command_goes_on_where_an_earlier_one_gave_up(daemon: Served, disk: Path) -> None:
    with cutting(urlsplit(daemon.url).port or 0, [20 * MIB]) as line:
        url = f"http://127.0.0.1:{line.port}"
        done = daemon.ggnet("image", "upload", str(disk), "--name", "win11", "--retry", "0s", GGNET_URL=url)
    (one,) = known(daemon)
    assert (done.returncode, one["complete"]) == (1, False), done.stderr
    assert one["offset"] in (8 * MIB, 16 * MIB), "whole pieces"
    stands = int(str(one["offset"])) // MIB
    assert f"upload {one['id']} is kept: run the same command to go on" in done.stderr
    shown = daemon.ggnet("image", "uploads").stdout.splitlines()
    assert shown[0].split() == ["ID", "FILE", "SIZE", "DONE", "AGE", "KEPT", "UNTIL", "OWNER"]
    assert shown[1].split()[:5] == [one["id"], "win11.vhdx", "40.0", "MiB", f"{100 * stands // 40}%"]
    again = daemon.ggnet("image", "upload", str(disk), "--name", "win11")
    assert again.returncode == WRITTEN, again.stderr
    assert f"goes on at {stands}.0 MiB" in again.stderr
    (whole,) = known(daemon)
    assert (whole["id"], digest(daemon.settings.uploads / str(whole["id"]))) == (one["id"], digest(disk))
    os.utime(disk, (1, 1))
    other = daemon.ggnet("image", "upload", str(disk), "--name", "win11")
    assert (other.returncode, len(known(daemon))) == (WRITTEN, 2), "a file that was changed is another file"
    emptied(daemon)


def test_it_goes_on_when_the_daemon_comes_back(tmp_path: Path, warm: Warm, disk: Path) -> None:
    folder = tmp_path / "state"
    folder.mkdir()
    with cutting(1, []) as line:
        with serving(folder, warm) as first:
            line.target, line.limit = urlsplit(first.url).port or 0, 10 * MIB
            client = started(first, f"http://127.0.0.1:{line.port}", str(disk), "--name", "win11")
            running = client.__enter__()
            until(lambda: max(parts(first), default=0) > 5 * MIB)
        with serving(folder, warm) as second:
            line.target, line.limit = urlsplit(second.url).port or 0, WHOLE
            _, told = running.communicate(timeout=60)
            assert running.returncode == WRITTEN, told
            assert "trying again" in told
            (one,) = known(second)
            assert digest(second.settings.uploads / str(one["id"])) == digest(disk)
        client.__exit__(None, None, None)


def test_ctrl_c_says_how_to_go_on(daemon: Served, disk: Path) -> None:
    with cutting(urlsplit(daemon.url).port or 0, []) as line:
        line.limit = 10 * MIB
        with started(daemon, f"http://127.0.0.1:{line.port}", str(disk), "--name", "win11") as running:
            until(lambda: max(parts(daemon), default=0) > 5 * MIB)
            running.send_signal(signal.SIGINT)
            _, told = running.communicate(timeout=60)
        line.limit = WHOLE
    assert running.returncode == 130
    assert "run the same command to go on, or ggnet image discard" in told
    assert "Traceback" not in told
    emptied(daemon)


def test_on_a_terminal_there_is_a_bar(daemon: Served, disk: Path) -> None:
    ours, theirs = pty.openpty()
    here = environment(GGNET_STATE_DIR=str(daemon.folder), GGNET_URL=daemon.url, TERM="xterm-256color")
    with daemon.warm.start(["image", "upload", str(disk), "--name", "win11"], here, stderr=theirs) as running:
        os.close(theirs)
        shown = b""
        while True:
            try:
                shown += os.read(ours, 1 << 16)
            except OSError:
                break
        assert running.wait(60) == WRITTEN
    os.close(ours)
    assert "━" in shown.decode(errors="replace")
    assert b"/41.9 MB" in shown or b"40.0/40.0 MiB" in shown
    emptied(daemon)


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (("nowhere.raw", "--name", "x"), 1, "nowhere.raw cannot be read: No such file"),
        (("/", "--name", "x"), 1, "/ cannot be read: Is a directory"),
        (("/dev/null", "--name", "x"), 1, "/dev/null holds nothing"),
        (("FILE", "--name", "Win 11"), 5, "--name: 'Win 11' is not a name"),
        (("FILE", "--name", "x", "--format", "zip"), 2, "--format"),
        (("FILE", "--name", "x", "--retry", "soon"), 2, "is not a duration"),
    ],
)
def test_what_cannot_be_uploaded_is_said_before_anything_is_sent(
    daemon: Served, tmp_path: Path, words: tuple[str, ...], code: int, told: str
) -> None:
    file = tmp_path / "small.raw"
    file.write_bytes(b"x")
    done = daemon.ggnet("image", "upload", *(str(file) if word == "FILE" else word for word in words))
    assert (done.returncode, told in done.stderr) == (code, True), done.stderr
    assert known(daemon) == []


def test_what_the_server_refuses_is_said_with_the_remedy(tmp_path: Path, warm: Warm) -> None:
    file = tmp_path / "large.raw"
    file.write_bytes(bytes(3000))
    (tmp_path / "state").mkdir()
    with serving(tmp_path / "state", warm, upload_quota="4KiB") as door:
        assert door.ggnet("image", "upload", str(file), "--name", "x").returncode == WRITTEN
        os.utime(file, (1, 1))
        refused = door.ggnet("image", "upload", str(file), "--name", "x")
        assert (refused.returncode, "ggnet image discard" in refused.stderr) == (3, True)
        for unknown, code in (("0" * 32, 4), ("../users", 1), ("", 1)):
            gone = door.ggnet("image", "discard", unknown)
            assert (gone.returncode, "Traceback" in gone.stderr) == (code, False), gone.stderr


def test_a_hostile_name_steers_no_terminal(daemon: Served, tmp_path: Path) -> None:
    file = tmp_path / "\x1b[31mred\n"
    file.write_bytes(b"x")
    done = daemon.ggnet("image", "upload", str(file), "--name", "x")
    shown = daemon.ggnet("image", "uploads")
    assert done.returncode == WRITTEN
    assert "\x1b" not in done.stdout + done.stderr + shown.stdout
    assert "\\x1b[31mred" in shown.stdout
    emptied(daemon)
