"""The units are sound and give each process no more than it needs, in systemd's own judgement."""

import subprocess
from pathlib import Path

import pytest

UNITS_MOST = [("ggnet-api.service", 24), ("ggnet-controller.service", 49), ("ggnet-backup.service", 24)]
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


def test_only_the_controller_has_a_capability_and_it_is_the_one_that_secrets_in_configfs_need() -> None:
    api, controller = ((UNITS / f"ggnet-{name}.service").read_text() for name in ("api", "controller"))
    assert "CapabilityBoundingSet=\n" in api
    assert "User=ggnet\n" in api
    assert "CapabilityBoundingSet=CAP_SYS_ADMIN\n" in controller
    assert "Type=notify\n" in controller
    assert "WatchdogSec=" in controller


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
