"""The image without an engine: its rules read, and each of its steps run as it stands, in folders of the test's own."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.deploy.composed import services
from tests.deploy.dockerfile import ROOT, Stage, context, stages

pytestmark = pytest.mark.timeout(400)  # it installs what the lock says

LOCKED = re.compile(r"^([a-z0-9._-]+)==(\S+)", re.MULTILINE)


def test_the_default_image_is_the_api_without_privileges_or_tools() -> None:
    api = list(stages().values())[-1]
    assert (api.name, api.origin, api.arguments("USER")) == ("api", "base", ["10001:10001"])
    assert api.arguments("RUN") == stages()["base"].arguments("ADD") == []
    assert "STOPSIGNAL SIGTERM" in [" ".join(step) for step in stages()["base"].steps]
    assert stages()["base"].arguments("LABEL")


def test_what_runs_is_copied_from_the_build_and_no_compiler_is_installed() -> None:
    assert {stage.origin for stage in stages().values()} == {"${PYTHON_IMAGE}", "base"}
    for stage in stages().values():
        if stage.name != "build":
            assert set(stage.arguments("COPY")) <= {"--from=build /opt/ggnet /opt/ggnet"}
    assert not {"gcc", "g++", "make", "build-essential", "python3-dev"} & set(packages())


def test_no_image_is_newest_and_nothing_is_fetched_from_an_address() -> None:
    text = (ROOT / "Dockerfile").read_text()
    assert re.findall(r"^ARG PYTHON_IMAGE=(\S+)$", text, re.MULTILINE) == ["python:3.11-slim-bookworm"]
    assert not re.search(r"https?://(?!127\.0\.0\.1)|:latest|^ADD ", text, re.MULTILINE)


def test_only_what_is_copied_goes_to_the_builder() -> None:
    copied = {word for copy in stages()["build"].arguments("COPY") for word in copy.split()[:-1]}
    assert copied == set(context())
    assert all((ROOT / name).exists() for name in copied)


@pytest.mark.parametrize("name", ["api", "controller"])
def test_the_health_check_is_the_one_of_compose(name: str) -> None:
    (told,) = stages()[name].arguments("HEALTHCHECK")
    kind, *words = services()[name]["healthcheck"]["test"]
    command = told.partition(" CMD ")[2]
    assert command == words[0].replace("$$", "$") if kind == "CMD-SHELL" else shlex.split(command) == words
    for option in ("interval", "timeout", "start_period", "retries"):
        assert f"--{option.replace('_', '-')}={services()[name]['healthcheck'][option]}" in told


def packages() -> list[str]:
    (line,) = stages()["controller"].arguments("RUN")
    return line.partition("--no-install-recommends ")[2].partition(" &&")[0].split()


def test_the_controllers_packages_exist() -> None:
    command = ["apt-get", "--simulate", "--quiet", "--no-install-recommends", "install", *packages()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    missing = subprocess.run([*command, "no-such-package-of-ours"], capture_output=True, text=True, timeout=60, check=False)
    assert missing.returncode != 0


@dataclass(frozen=True)
class Built:
    folder: Path

    def place(self, path: str) -> Path:
        return self.folder / path.lstrip("/")

    def text(self, step: str) -> str:
        return re.sub(r"(?<![\w./])/(build|opt/ggnet)\b", lambda match: str(self.place(match[0])), step)

    def run(self, step: str) -> "subprocess.CompletedProcess[str]":
        surroundings = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
        for name in ("VIRTUAL_ENV", "PYTHONPATH"):
            surroundings.pop(name, None)
        return subprocess.run(
            ["/bin/sh", "-c", self.text(step)],
            cwd=self.place("/build"),
            env=surroundings,
            capture_output=True,
            text=True,
            timeout=290,
            check=False,
        )

    def copy(self, sources: list[str]) -> None:
        for name in sources:
            assert name in context(), name
            origin, target = ROOT / name, self.place("/build") / name
            if origin.is_dir():
                shutil.copytree(origin, target, ignore=shutil.ignore_patterns("__pycache__", "*.pyc"))
            else:
                shutil.copy(origin, target)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Built]:
    """The build stage, step by step."""
    image = Built(tmp_path_factory.mktemp("image"))
    image.place("/build").mkdir()
    image.place("/opt").mkdir()
    for word, argument in stages()["build"].steps:
        if word == "RUN":
            done = image.run(argument)
            assert done.returncode == 0, f"{argument}\n{done.stdout}{done.stderr}"
        elif word == "COPY":
            image.copy(argument.split()[:-1])
        else:
            assert (word, argument) == ("WORKDIR", "/build")
    yield image
    shutil.rmtree(image.folder)


def test_the_steps_end_in_a_command_that_works(built: Built) -> None:
    ggnet = built.place("/opt/ggnet/bin/ggnet")
    told = subprocess.run([ggnet, "--help"], capture_output=True, text=True, env={"LANG": "C.UTF-8"}, cwd="/", check=True)
    assert "backup" in told.stdout
    valid = subprocess.run(
        [ggnet, "validate", ROOT / "manifests" / "examples"], capture_output=True, text=True, env={}, cwd="/", check=False
    )
    assert (valid.returncode, "all valid" in valid.stdout) == (0, True), valid.stderr


def test_what_is_installed_is_what_the_lock_says_and_ourselves(built: Built) -> None:
    listed = subprocess.run(
        [
            built.place("/build/tools/bin/uv"),
            "pip",
            "list",
            "--python",
            built.place("/opt/ggnet/bin/python"),
            "--format=freeze",
        ],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    found = dict(line.split("==") for line in listed.split())
    wanted = dict(LOCKED.findall((ROOT / "requirements-runtime.lock").read_text()))
    assert {name: version for name, version in found.items() if name != "ggnet"} == wanted
    assert "ggnet" in found


def test_the_wheel_has_the_program_and_no_test(built: Built) -> None:
    (wheel,) = built.place("/build/dist").glob("*.whl")
    names = subprocess.run(
        [sys.executable, "-m", "zipfile", "-l", wheel], capture_output=True, text=True, check=True
    ).stdout.split()
    tops = {name.partition("/")[0] for name in names if "/" in name and name.endswith(".py")}
    assert tops == {"api", "controller", "manifests", "migrations"}


def test_a_file_that_the_lock_does_not_know_is_not_installed(built: Built) -> None:
    lock = built.place("/build/requirements-runtime.lock")
    text = lock.read_text()
    step = next(run for run in stages()["build"].arguments("RUN") if "pip sync" in run)
    entry = re.search(r"^annotated-types==.*?(?=^\S)", text, re.MULTILINE | re.DOTALL)
    assert entry is not None
    lock.write_text(re.sub(r"sha256:[0-9a-f]{8}", "sha256:00000000", entry[0]))
    try:
        done = built.run(step.replace("--compile-bytecode", "--reinstall --no-cache"))
    finally:
        lock.write_text(text)
    assert (done.returncode != 0, "Hash mismatch" in done.stderr) == (True, True), done.stderr


def test_the_run_stage_makes_its_user_and_its_folder(tmp_path: Path) -> None:
    """In a mount namespace of its own, whose /etc and /var/lib are copies."""
    if os.geteuid() != 0:
        pytest.skip("needs root: it mounts over /etc in a namespace of its own")
    base: Stage = stages()["base"]
    etc, var = tmp_path / "etc", tmp_path / "var"
    etc.mkdir()
    var.mkdir()
    for name in ("passwd", "group", "login.defs", "nsswitch.conf"):
        shutil.copy(Path("/etc", name), etc)
    for name in ("shadow", "gshadow"):
        (etc / name).touch(0o600)
    mounts = f"mount --bind {etc} /etc && mount --bind {var} /var/lib"
    for step in base.arguments("RUN"):
        done = subprocess.run(
            ["unshare", "--mount", "/bin/sh", "-c", f"{mounts} && {step}"], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
    assert "ggnet:x:10001:10001::/var/lib/ggnet:/usr/sbin/nologin" in (etc / "passwd").read_text()
    made = (var / "ggnet").stat()
    assert (made.st_uid, made.st_gid, oct(made.st_mode & 0o7777)) == (10001, 10001, "0o2770")
