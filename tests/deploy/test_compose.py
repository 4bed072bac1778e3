"""The compose file says only what exists, gives no service more than it needs, and keeps no secret."""

import os
import re
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from controller.settings import Settings
from tests.deploy.composed import FILE, ROOT, composed, services

TEXT = {"type": "string"}
WORDS = {"type": "array", "items": TEXT, "minItems": 1}
DURATION = {"type": "string", "pattern": "^[0-9]+(s|m|h)$"}
CONDITIONS = ["service_healthy", "service_completed_successfully"]  # started alone says nothing
# What an engine would take of the Compose Specification, narrowed to what is used here.
SERVICE: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "required": ["image", "restart", "read_only", "cap_drop", "security_opt", "logging", "deploy"],
    "properties": {
        "image": {"type": "string", "pattern": r"^[a-z-]+:[a-z0-9.-]+$", "not": {"pattern": ":latest$"}},
        "build": {"type": "object", "required": ["context", "target"], "properties": {"context": {"const": "."}}},
        "profiles": WORDS,
        "command": WORDS,
        "user": {"type": "string", "pattern": "^[0-9]+:[0-9]+$"},
        "group_add": {"const": ["10001"]},
        "restart": {"enum": ["unless-stopped", "no"]},
        "read_only": {"const": True},
        "cap_drop": {"const": ["ALL"]},
        "cap_add": {"const": ["SYS_ADMIN", "SETUID", "SETGID"]},
        "security_opt": {"const": ["no-new-privileges:true"]},
        "network_mode": {"const": "host"},
        "pid": {"const": "host"},
        "networks": {"type": ["array", "object"]},
        "ports": WORDS,
        "environment": {"type": "object", "additionalProperties": {"type": ["string", "number"]}},
        "env_file": {"const": [{"path": "deploy/ggnet.env", "required": False}]},
        "secrets": WORDS,
        "volumes": {"type": "array", "items": {"type": "string", "pattern": r"^[\w./-]+:/[\w./-]+(:ro)?$"}},
        "tmpfs": {"type": "array", "items": {"type": "string", "pattern": "^/[a-z]+:size=[0-9]+m,mode=1777$"}},
        "shm_size": TEXT,
        "stop_signal": {"enum": ["SIGINT", "SIGQUIT"]},
        "stop_grace_period": DURATION,
        "healthcheck": {
            "type": "object",
            "additionalProperties": False,
            "required": ["test", "interval", "timeout", "retries", "start_period"],
            "properties": {
                "test": {"type": "array", "prefixItems": [{"enum": ["CMD", "CMD-SHELL"]}], "minItems": 2},
                "retries": {"type": "integer", "minimum": 1},
                **dict.fromkeys(("interval", "timeout", "start_period"), DURATION),
            },
        },
        "depends_on": {
            "type": "object",
            "additionalProperties": {
                "type": "object",
                "required": ["condition"],
                "additionalProperties": False,
                "properties": {"condition": {"enum": CONDITIONS}},
            },
        },
        "logging": {
            "properties": {"driver": {"const": "json-file"}, "options": {"required": ["max-size", "max-file"]}},
            "required": ["driver", "options"],
        },
        "deploy": {
            "type": "object",
            "required": ["resources"],
            "additionalProperties": False,
            "properties": {
                "replicas": {"type": "integer", "minimum": 1},
                "resources": {
                    "properties": {"limits": {"required": ["cpus", "memory", "pids"]}},
                    "required": ["limits"],
                },
            },
        },
    },
}


@pytest.mark.parametrize("name", services())
def test_a_service_is_hardened_limited_and_well_formed(name: str) -> None:
    assert [error.message for error in Draft202012Validator(SERVICE).iter_errors(services()[name])] == []


def test_a_service_that_is_privileged_or_latest_would_be_found() -> None:
    changes: list[dict[str, Any]] = [{"privileged": True}, {"image": "redis:latest"}, {"image": "redis"}, {"cap_drop": []}]
    for change in changes:
        assert not Draft202012Validator(SERVICE).is_valid({**services()["redis"], **change})


def test_the_services_are_those_that_a_site_has() -> None:
    assert services().keys() == {"migrate", "api", "controller", "postgres", "redis", "nginx"}
    assert composed().keys() - {"services", "networks", "volumes", "secrets", "name"} == {
        "x-logging",
        "x-hardened",
        "x-ggnet-environment",
        "x-ggnet",
    }


def test_what_a_service_waits_for_exists_and_can_become_so() -> None:
    for name, service in services().items():
        for other, how in service.get("depends_on", {}).items():
            awaited = services()[other]
            if how["condition"] == "service_healthy":
                assert "healthcheck" in awaited, (name, other)
            else:
                assert awaited["restart"] == "no", (name, other)


def test_a_failed_migration_stops_what_needs_the_schema() -> None:
    for name in ("api", "controller"):
        assert services()[name]["depends_on"]["migrate"] == {"condition": "service_completed_successfully"}
    assert services()["nginx"]["depends_on"] == {"api": {"condition": "service_healthy"}}


def test_whatever_runs_on_has_a_health_check() -> None:
    assert {name for name, one in services().items() if "healthcheck" not in one} == {"migrate"}


def test_volumes_secrets_and_networks_are_declared_and_used() -> None:
    whole = composed()
    used: dict[str, set[str]] = {"volumes": set(), "secrets": set(), "networks": set()}
    for service in services().values():
        used["secrets"] |= set(service.get("secrets", []))
        used["networks"] |= set(service.get("networks", []))
        sources = {volume.partition(":")[0] for volume in service.get("volumes", [])}
        used["volumes"] |= {source for source in sources if not source.startswith(("/", "."))}
        assert all((ROOT / source).exists() for source in sources if source.startswith("."))
    for kind, names in used.items():
        assert whole[kind].keys() == names, kind


def test_every_setting_that_is_given_exists() -> None:
    known = {f"GGNET_{name.upper()}" for name in Settings.model_fields}
    given = set(re.findall(r"\bGGNET_[A-Z_]+", FILE.read_text())) | {
        name for one in services().values() for name in one.get("environment", {}) if name.startswith("GGNET_")
    }
    assert given - known == {"GGNET_IMAGE", "GGNET_CONTROLLER_IMAGE"}, "variables of compose itself"


def test_the_database_is_reached_by_nobody_outside_and_only_the_proxy_is() -> None:
    assert composed()["networks"]["database"]["internal"] is True
    assert [name for name, one in services().items() if "ports" in one] == ["nginx"]
    assert services()["postgres"]["networks"] == services()["redis"]["networks"] == ["database"]
    assert "database" not in services()["nginx"]["networks"]


def test_only_the_controller_may_more_and_it_starts_only_when_asked_for() -> None:
    more = {name for name, one in services().items() if {"cap_add", "network_mode", "pid"} & one.keys()}
    assert more == {"controller"}
    assert services()["controller"]["profiles"] == ["controller"]


def test_the_proxy_is_started_as_these_tests_start_it() -> None:
    service = services()["nginx"]
    assert service["command"] == ["nginx", "-e", "/dev/stderr", "-g", "daemon off;"]
    places = dict(volume.split(":")[:2] for volume in service["volumes"])
    assert places == {f"./deploy/nginx/{name}": f"/etc/nginx/{name}" for name in ("nginx.conf", "ggnet.conf")}
    assert {port.partition(":")[2] for port in service["ports"]} == {"8080", "8443"}


def test_no_secret_stands_in_the_file_and_git_takes_none() -> None:
    text = FILE.read_text()
    assert not re.search(r"(?i)(password|token|secret)\s*[:=]\s*[^/\s{\[*]*[a-z0-9]{12}", text.replace("/run/secrets", ""))
    assert not re.search(r"://[^/\s@]*:[^/\s@]+@", text), "a password in a URL"
    for path in ("deploy/secrets/database_password", "deploy/ggnet.env"):
        ignored = subprocess.run(["git", "check-ignore", "--quiet", path], cwd=ROOT, check=False)
        assert ignored.returncode == 0, path


def secrets(folder: Path, *more: str) -> subprocess.CompletedProcess[str]:
    command = [str(ROOT / "deploy" / "make-secrets"), *more, str(folder)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_secrets_are_made_once_for_the_containers_group_alone(tmp_path: Path) -> None:
    folder = tmp_path / "secrets"
    first = secrets(folder, "--self-signed", "pcs.internal")
    assert first.returncode == 0, first.stderr
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert files.keys() == set(composed()["secrets"])
    declared = {Path(one["file"]).name for one in composed()["secrets"].values()}
    assert declared == files.keys()
    assert re.fullmatch(rb"[0-9a-f]{64}\n", files["database_password"])
    assert files["database_password"] != files["redis_password"]
    found = {path.name: path.stat() for path in folder.iterdir()}
    assert {stat.S_IMODE(one.st_mode) for one in found.values()} == {0o440}
    if os.geteuid() == 0:
        assert {one.st_gid for one in found.values()} == {10001}
    assert not any(value.decode().strip() in first.stdout for value in files.values())
    assert secrets(folder, "--self-signed", "other.internal").returncode == 0
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == files


def test_a_missing_certificate_and_a_wrong_option_are_said(tmp_path: Path) -> None:
    assert "missing: " in secrets(tmp_path).stdout
    for wrong in (["--frobnicate"], ["--self-signed", "a/b"], ["--self-signed"]):
        assert secrets(tmp_path, *wrong).returncode == 2, wrong
