"""The units are sound and give each process no more than it needs, in systemd's own judgement."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

UNITS_MOST = [("ggnet-api.service", 24), ("ggnet-controller.service", 49), ("ggnet-backup.service", 24)]
_DEVICES = ("/dev/loop-control", "/dev/mapper/control", "block-loop", "block-device-mapper")
UNITS = Path(__file__).parents[2] / "systemd"


@pytest.fixture(params=["ggnet-api.service", "ggnet-controller.service", "ggnet-backup.service"])
def unit(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A unit whose program is there."""
    name: str = request.param
    text = (UNITS / name).read_text()
    assert "ExecStart=/opt/ggnet/bin/ggnet " in text
    path = tmp_path / name
    path.write_text(text.replace("/opt/ggnet/bin/ggnet", "/bin/true"))
    return path


def test_a_unit_has_nothing_that_systemd_would_complain_of(unit: Path) -> None:
    said = subprocess.run(["systemd-analyze", "verify", "--man=no", unit], capture_output=True, text=True, check=False)
    complaints = [line for line in said.stderr.splitlines() if unit.name in line]
    assert (said.returncode, complaints) == (0, [])


@pytest.mark.parametrize(("name", "most"), UNITS_MOST)
def test_a_service_is_exposed_no_more_than_it_must_be(name: str, most: int) -> None:
    command = ["systemd-analyze", "security", "--offline=true", f"--threshold={most}", "--no-pager", str(UNITS / name)]
    judged = subprocess.run(command, capture_output=True, text=True, check=False)
    assert judged.returncode == 0, judged.stdout


def test_only_the_controller_has_capabilities_for_secrets_in_configfs_and_for_becoming_another_user() -> None:
    api, controller = ((UNITS / f"ggnet-{name}.service").read_text() for name in ("api", "controller"))
    assert "CapabilityBoundingSet=\n" in api
    assert "User=ggnet\n" in api
    assert "CapabilityBoundingSet=CAP_SYS_ADMIN CAP_SETUID CAP_SETGID\n" in controller
    assert "Type=notify\n" in controller
    assert "WatchdogSec=" in controller


def test_the_controller_may_use_the_devices_of_snapshots_and_no_other() -> None:
    lines = (UNITS / "ggnet-controller.service").read_text().splitlines()
    assert "DevicePolicy=closed" in lines
    allowed = {line.removeprefix("DeviceAllow=") for line in lines if line.startswith("DeviceAllow=")}
    assert allowed == {f"{device} rw" for device in _DEVICES}
    loaded = "modprobe@loop.service modprobe@dm_mod.service"
    assert {f"Wants={loaded}", f"After={loaded}"} <= set(lines)


def test_of_the_pool_the_api_writes_the_uploads_alone() -> None:
    """systemd mounts the longest path last, so what is more exact holds."""
    api = (UNITS / "ggnet-api.service").read_text().splitlines()
    assert "ReadOnlyPaths=-/var/lib/ggnet/pool" in api
    assert [line for line in api if line.startswith("ReadWritePaths=")] == [
        "ReadWritePaths=/var/lib/ggnet -/var/lib/ggnet/pool/uploads"
    ]
    assert "ggnet-controller.service" in next(line for line in api if line.startswith("After="))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes folders for others")
def test_the_folders_that_are_made_at_boot_are_made(tmp_path: Path) -> None:
    for name, text in (("passwd", "root:x:0:0::/:\nggnet:x:990:990::/:\n"), ("group", "root:x:0:\nggnet:x:990:\n")):
        (tmp_path / "etc").mkdir(exist_ok=True)
        (tmp_path / "etc" / name).write_text(text)
    (tmp_path / "usr/lib/tmpfiles.d").mkdir(parents=True)
    shutil.copy(UNITS / "ggnet.tmpfiles", tmp_path / "usr/lib/tmpfiles.d/ggnet.conf")
    command = ["systemd-tmpfiles", "--create", f"--root={tmp_path}", "ggnet.conf"]
    said = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (said.returncode, said.stderr) == (0, "")
    pool = (tmp_path / "var/lib/ggnet/pool").stat()
    assert (pool.st_uid, pool.st_gid, pool.st_mode & 0o7777) == (0, 990, 0o750)


def test_the_timer_starts_the_backup_every_day(tmp_path: Path) -> None:
    for name in ("ggnet-backup.service", "ggnet-backup.timer"):
        (tmp_path / name).write_text((UNITS / name).read_text().replace("/opt/ggnet/bin/ggnet", "/bin/true"))
    command = ["systemd-analyze", "verify", "--man=no", str(tmp_path / "ggnet-backup.timer")]
    said = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (said.returncode, [line for line in said.stderr.splitlines() if "ggnet-backup" in line]) == (0, [])
    (when,) = (line[11:] for line in (UNITS / "ggnet-backup.timer").read_text().splitlines() if line[:11] == "OnCalendar=")
    days = subprocess.run(["systemd-analyze", "calendar", when], capture_output=True, text=True, check=True).stdout
    assert "*-*-* 03:15:00" in days


@pytest.mark.parametrize("name", ["ggnet-api", "ggnet-controller", "ggnet-backup"])
def test_what_the_installation_installs_it_takes_away_again(name: str) -> None:
    install, uninstall = ((UNITS / script).read_text() for script in ("install", "uninstall"))
    assert f"{name}.service" in install
    assert name.removeprefix("ggnet-") in uninstall.partition("rm -f")[2].splitlines()[0]


def test_the_backups_folder_is_made_for_its_user_alone() -> None:
    assert "d /var/backups/ggnet 0700 ggnet ggnet -" in (UNITS / "ggnet.tmpfiles").read_text().splitlines()
    assert "/var/backups/ggnet --keep 14" in (UNITS / "ggnet-backup.service").read_text()
