"""The doctor finds what is missing or in the way on a real host, and says what to do about it."""

import os
import pwd
import socket
import subprocess
import sys
from pathlib import Path

import anyio
import pytest

from controller.adapters import dhcp_probe, listeners, migrate
from controller.adapters.command import find
from controller.adapters.confine import LAYERS
from controller.adapters.doctor import examine
from controller.adapters.finding import Finding
from controller.adapters.store import SqlStore
from controller.settings import Settings
from manifests.machine import Chap
from tests.contracts.stores import NOW, machine


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody here offers addresses: to wait for them is most of an examination."""
    monkeypatch.setattr("controller.adapters.doctor._PROBE_SECONDS", 0.05)


def findings(tmp_path: Path, **settings: object) -> dict[str, Finding]:
    places = {"configfs": "cfg", "pool_dir": "pool", "tftp_root": "tftp", "nbp_dir": "nbp", "dhcpd_conf": "dhcpd.conf"}
    made = Settings(state_dir=tmp_path, **{name: tmp_path / place for name, place in places.items()} | settings)  # type: ignore[arg-type]
    return {one.subject: one for one in examine(made)}


def test_what_a_boot_needs_and_is_not_there_is_an_error_with_a_remedy(tmp_path: Path) -> None:
    found = findings(tmp_path)
    for subject in ("kernel target", "pool", "TFTP root", "ipxe.efi", "undionly.kpxe", "dhcpd.conf"):
        assert found[subject].level == "error", subject
        assert found[subject].remedy, subject


def test_a_host_that_has_it_all_is_told_so(tmp_path: Path) -> None:
    for folder in ("cfg/target/iscsi", "pool/imports", "tftp", "nbp"):
        (tmp_path / folder).mkdir(parents=True)
    for program in ("ipxe.efi", "undionly.kpxe"):
        (tmp_path / "nbp" / program).touch()
    include = tmp_path / "ggnet.conf"
    (tmp_path / "dhcpd.conf").write_text(f'# mine\ninclude "{include}";\n')
    found = findings(tmp_path, dhcpd_include=include)
    for subject in ("iSCSI fabric", "pool", "TFTP root", "ipxe.efi", "dhcpd include"):
        assert found[subject].level == "ok", found[subject]


def test_what_converts_images_is_told_with_its_version_and_what_holds_it(tmp_path: Path) -> None:
    if find("qemu-img") is None:
        pytest.skip("qemu-img is not installed (package qemu-utils)")
    found = findings(tmp_path)
    assert found["tool qemu-img"].message.startswith("qemu-img version ")
    assert found["image confinement"].message.startswith("user, " if os.geteuid() == 0 else "")
    for layer in ("capabilities", "limits", "system-calls"):
        assert layer in found["image confinement"].message


def test_a_layer_that_cannot_be_had_is_named_with_its_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("controller.adapters.doctor.confine.LAYERS", (*LAYERS, "a-moat"))
    found = findings(tmp_path)["image confinement"]
    assert found.level == "warning"
    assert found.remedy.endswith("a-moat: a newer kernel")
    assert "not to be had here: " in found.message


@pytest.mark.parametrize(
    ("mode", "group", "level"),
    [(0o770, True, "ok"), (0o750, True, "error"), (0o770, False, "error"), (0o777, False, "ok"), (0o700, True, "error")],
)
def test_the_upload_folder_must_be_the_apis_to_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: int, group: bool, level: str
) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root: it gives a folder to another user's group")
    nobody = pwd.getpwnam("nobody")
    monkeypatch.setattr("controller.adapters.doctor_uploads._USER", nobody.pw_name)
    folder = tmp_path / "pool/uploads"
    folder.mkdir(parents=True)
    folder.chmod(mode)
    os.chown(folder, 0, nobody.pw_gid if group else 0)
    found = findings(tmp_path)["upload folder"]
    assert (found.level, "nobody may not write" in found.message) == (level, level == "error")
    ran = subprocess.run(
        ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", "test", "-w", folder], check=False
    )
    assert (ran.returncode == 0) == (level == "ok") or not reachable(folder)


def reachable(folder: Path) -> bool:
    """Whether others get as far as that: pytest's own folder is for root alone."""
    return all(parent.stat().st_mode & 0o001 for parent in folder.parents)


def test_an_upload_folder_that_is_missing_or_on_another_disk_is_told(tmp_path: Path) -> None:
    (tmp_path / "pool").mkdir()
    missing = findings(tmp_path)["upload folder"]
    assert (missing.level, missing.remedy) == ("warning", "start the controller once, which makes it")
    assert "install -d -m 770" in findings(tmp_path, upload_dir=tmp_path / "none")["upload folder"].remedy
    elsewhere = findings(tmp_path, upload_dir=Path("/dev/shm"))
    if Path("/dev/shm").stat().st_dev != tmp_path.stat().st_dev:
        assert "another file system" in elsewhere["upload folder"].message
    assert "GiB free" in elsewhere["upload space"].message


@pytest.mark.parametrize(("content", "told"), [(None, "No such file"), ("no certificate", "holds no certificates")])
def test_authorities_that_cannot_be_used_are_found_before_they_are_needed(
    tmp_path: Path, content: str | None, told: str
) -> None:
    if content is not None:
        (tmp_path / "ca.pem").write_text(content)
    found = findings(tmp_path, import_ca_file=tmp_path / "ca.pem")["import authorities"]
    assert (found.level, told in found.message) == ("error", True)
    assert "import authorities" not in findings(tmp_path)


def test_an_include_that_is_only_a_comment_is_none(tmp_path: Path) -> None:
    (tmp_path / "dhcpd.conf").write_text('# include "/etc/dhcp/ggnet.conf";\n')
    found = findings(tmp_path)["dhcpd include"]
    assert found.level == "error"
    assert 'include "/etc/dhcp/ggnet.conf";' in found.remedy


@pytest.mark.parametrize("protocol", ["udp", "tcp"])
def test_the_program_that_holds_a_port_is_named(protocol: str) -> None:
    kind = socket.SOCK_DGRAM if protocol == "udp" else socket.SOCK_STREAM
    with socket.socket(socket.AF_INET, kind) as mine:
        mine.bind(("127.0.0.1", 0))
        if protocol == "tcp":
            mine.listen()
        port = mine.getsockname()[1]
        name = Path("/proc/self/comm").read_text().strip()
        assert listeners.holders(port, protocol) == {name}  # type: ignore[arg-type]
    assert listeners.holders(port, protocol) == frozenset()  # type: ignore[arg-type]


def holding(port: int, name: str) -> subprocess.Popen[bytes]:
    """A program of this name that listens there."""
    code = f"import socket,sys; open('/proc/self/comm','w').write('{name}'); s=socket.create_server(('127.0.0.1',{port}))"
    held = subprocess.Popen([sys.executable, "-c", f"{code}; print(1,flush=True); sys.stdin.read()"], stdin=-1, stdout=-1)
    assert held.stdout is not None
    assert held.stdout.readline() == b"1\n"
    return held


def kept(tmp_path: Path, **spec: object) -> None:
    """The database holds this machine."""

    async def put() -> None:
        await migrate.upgrade(f"sqlite:///{tmp_path / 'ggnet.db'}")
        store = SqlStore(f"sqlite:///{tmp_path / 'ggnet.db'}")
        one = machine()
        await store.put([one.model_copy(update={"spec": one.spec.model_copy(update=spec)})], "api:ada", NOW)
        await store.close()

    anyio.run(put)


@pytest.mark.parametrize(("name", "level"), [("ggnet", "ok"), ("nginx", "error")])
def test_the_port_of_secrets_is_told_where_a_machine_has_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, level: str
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    monkeypatch.setattr("controller.adapters.doctor_chap.SECRETS_PORT", port)
    with holding(port, name) as held:
        assert not findings(tmp_path).keys() & {"port 8067/tcp"}, "there is no database, which is not made"
        assert not (tmp_path / "ggnet.db").exists()
        kept(tmp_path)
        assert "port 8067/tcp" not in findings(tmp_path)
        kept(tmp_path, chap=Chap(credential="pc1"), server="boot2")
        assert "port 8067/tcp" not in findings(tmp_path), "another server's"
        kept(tmp_path, chap=Chap(credential="pc1"))
        found = findings(tmp_path)["port 8067/tcp"]
        assert (found.level, "nginx has it" in found.message) == (level, level == "error")
        assert found.remedy == ("stop nginx" if level == "error" else "")
        held.communicate()
    assert findings(tmp_path)["port 8067/tcp"].message == "free"


def test_a_port_of_secrets_that_is_taken_is_told_while_the_database_cannot_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "ggnet.db").write_text("no database")
    assert "port 8067/tcp" not in findings(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    monkeypatch.setattr("controller.adapters.doctor_chap.SECRETS_PORT", port)
    with holding(port, "nginx") as held:
        assert findings(tmp_path)["port 8067/tcp"].level == "warning"
        held.communicate()


def test_an_offer_names_its_server_and_anything_else_is_no_offer() -> None:
    number = 0x12345678
    head = bytes([2, 1, 6, 0]) + number.to_bytes(4, "big") + bytes(228) + b"\x63\x82\x53\x63"
    offer = head + bytes([53, 1, 2, 54, 4, 10, 77, 0, 9, 255])
    assert dhcp_probe._server(offer, number) == "10.77.0.9"
    assert dhcp_probe._server(offer, number + 1) is None
    assert dhcp_probe._server(head + bytes([53, 1, 5, 54, 4, 10, 77, 0, 9, 255]), number) is None
    assert all(dhcp_probe._server(offer[:length], number) in (None, "", "10.77.0.9") for length in range(len(offer)))


def test_how_disks_are_made_here_is_tried_and_told_with_the_reason(tmp_path: Path) -> None:
    (tmp_path / "pool").mkdir()
    found = findings(tmp_path)["pool driver"]
    assert found.message.startswith(("reflink", "snapshot", "copy"))
    assert (found.level == "ok") == bool(not found.remedy)
    assert list((tmp_path / "pool").iterdir()) == []
    assert findings(tmp_path, pool_driver="copy")["pool driver"].message == "copy: asked for by GGNET_POOL_DRIVER"


@pytest.mark.skipif(Path("/dev/mapper/control").exists(), reason="here is a device-mapper: the lab's guest tries it")
def test_a_driver_that_was_asked_for_and_does_not_work_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "pool").mkdir()
    found = findings(tmp_path, pool_driver="snapshot")["pool driver"]
    assert (found.level, "modprobe" in found.message) == ("error", True)
