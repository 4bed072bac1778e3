"""A real controller fetches an image: it is killed in the middle, the next one goes on, and nothing is left behind."""

import hashlib
import os
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.api.test_daemons import free_port, running
from tests.webserver import Handler, Web, authority, webserver

CONTENT = random.Random(3).randbytes(1 << 20) * 72
DIGEST = hashlib.sha256(CONTENT).hexdigest()
OWN = 64 << 20  # what a process keeps to itself, at most


class Server:
    """``up`` on a host that has no kernel target: of its parts only the pool is there."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port, self.pool = folder, free_port(), folder / "state/pool"
        self.downloads = self.pool / "downloads"
        self.more = {
            "GGNET_IMPORT_ALLOW": "127.0.0.0/8",
            "GGNET_IMPORT_CA_FILE": str(folder / "tls/ca.pem"),
            "GGNET_CONFIGFS": str(folder / "none"),
            "GGNET_TFTP_ROOT": str(folder / "none"),
            "GGNET_DHCPD_CONF": str(folder / "none/dhcpd.conf"),
            "GGNET_DHCPD_INCLUDE": str(folder / "dhcp/ggnet.conf"),
            "GGNET_SWEEP_SECONDS": "1",
        }

    @contextmanager
    def up(self) -> Iterator["Running"]:
        with running("up", folder=self.folder / "state", port=self.port, **self.more) as daemon:
            token = (self.folder / "state/admin.token").read_text().strip()
            headers = {"Authorization": f"Bearer {token}"}
            with httpx.Client(
                base_url=f"http://127.0.0.1:{self.port}/api/v1", headers=headers, trust_env=False, timeout=60
            ) as http:
                yield Running(http, daemon)


class Running:
    def __init__(self, http: httpx.Client, daemon: Any) -> None:
        self.http, self.daemon = http, daemon

    def apply(self, name: str, **source: str) -> None:
        text = ", ".join(f"{field}: '{value}'" for field, value in source.items())
        image = f"apiVersion: ggnet/v1\nkind: Image\nmetadata: {{name: {name}}}\nspec: {{source: {{{text}}}}}\n"
        self.http.post("/apply", content=image).raise_for_status()

    def status(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = self.http.get(f"/images/{name}").raise_for_status().json()
        return {"phase": None, **found.get("status", {})}

    def reaches(self, name: str, true: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        until(lambda: true(self.status(name)))
        return self.status(name)

    def ends(self) -> str:
        """Its log."""
        self.daemon.terminate()
        return str(self.daemon.communicate(timeout=60)[1])


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Server:
    return Server(tmp_path_factory.mktemp("server"))


@pytest.fixture(scope="module")
def web(server: Server) -> Iterator[Web]:
    (server.folder / "tls").mkdir()
    with webserver(authority(server.folder / "tls"), CONTENT) as one:
        yield one


@pytest.fixture(scope="module")
def one(server: Server, web: Web) -> Iterator[Running]:
    """The controller of the first tests; the last one kills it."""
    with server.up() as running:
        yield running


def ready(status: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = next(one for one in status["conditions"] if one["type"] == "Ready")
    return found


def held(web: Web, at: int) -> None:
    """The server stalls there, once."""

    def behave(handler: Handler) -> bool:
        if len(web.requests) > 1:
            return False
        handler.head(200, content_length=str(len(CONTENT)), etag='"one"')
        handler.body(CONTENT[:at])
        web.stopping.wait(60)
        return True

    web.requests.clear()
    web.behave = behave


def until(true: Callable[[], bool]) -> None:
    for _ in range(300):
        if true():
            return
        time.sleep(0.1)
    raise AssertionError("it did not come to that")


def test_another_digest_is_one_clear_condition_and_is_not_fetched_again_and_again(
    server: Server, one: Running, web: Web
) -> None:
    one.apply("wrong", url=web.url(host="127.0.0.1"), sha256="0" * 64)
    failed = ready(one.reaches("wrong", lambda status: status["phase"] == "Failed"))
    assert (failed["reason"], DIGEST in failed["message"]) == ("DigestMismatch", True)
    assert [path.suffix for path in server.downloads.iterdir()] == [".vain"]
    time.sleep(2.5)  # two sweeps
    assert len(web.requests) == 1
    one.http.delete("/images/wrong").raise_for_status()


def test_what_a_deleted_image_had_fetched_is_removed(server: Server, one: Running, web: Web) -> None:
    held(web, 1 << 20)
    one.apply("gone", url=web.url(host="127.0.0.1"), sha256=DIGEST)
    one.reaches("gone", lambda status: status["phase"] == "Downloading")
    until(lambda: len(list(server.downloads.iterdir())) == 2)
    one.http.delete("/images/gone").raise_for_status()
    until(lambda: list(server.downloads.iterdir()) == [])


def test_an_upload_goes_once_its_version_is_there(server: Server, one: Running) -> None:
    disk = CONTENT[: 1 << 20]
    headers = {"Tus-Resumable": "1.0.0", "Upload-Length": str(len(disk)), "Content-Type": "application/offset+octet-stream"}
    upload = one.http.post("/uploads", content=disk, headers=headers).raise_for_status().json()["id"]
    file = server.pool / "uploads" / upload
    os.link(file, server.folder / "kept")
    one.apply("sent", upload=upload)
    until(lambda: not file.exists())
    assert one.reaches("sent", lambda status: status["phase"] == "Ready")["version"] == 1
    assert one.http.get("/uploads").json()["items"] == []
    assert one.http.get(f"/uploads/{upload}").status_code == 404
    (server.folder / "kept").rename(server.folder / upload)


def test_a_controller_killed_in_the_middle_is_followed_by_one_that_goes_on(server: Server, one: Running, web: Web) -> None:
    half = OWN + (2 << 20)
    held(web, half)
    one.apply("win11", url=web.url("win11.raw?signed=secret", host="127.0.0.1"), sha256=DIGEST)
    told = one.reaches("win11", lambda status: status["phase"] == "Downloading" and "92%" in ready(status)["message"])
    assert ready(told)["message"] == "downloading win11@v1.raw: 92% of 72 MiB"
    one.daemon.kill()
    log = str(one.daemon.communicate(timeout=60)[1])
    # As if it had died after a version was made, and before its upload was removed.
    (upload,) = (path for path in server.folder.iterdir() if len(path.name) == 32)
    upload.rename(server.pool / "uploads" / upload.name)
    with server.up() as after:
        status = after.reaches("win11", lambda status: status["phase"] == "Ready")
        assert (status["sha256"], status["version"], after.status("sent")["version"]) == (DIGEST, 1, 1)
        assert half - OWN <= int(str(web.asked[1]).removeprefix("bytes=").removesuffix("-")) <= half
        until(lambda: list(server.downloads.iterdir()) == [])
        until(lambda: [path.name for path in (server.pool / "uploads").iterdir()] == [".folder"])
        events = after.http.get("/events", params={"limit": 500}).text
        log += after.ends()
    assert hashlib.sha256((server.pool / "images/win11@v1.raw").read_bytes()).hexdigest() == DIGEST
    assert "Downloading" in events
    assert "secret" not in log + events
    assert "Traceback" not in log
