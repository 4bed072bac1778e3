"""The dashboard and the alerts against what a real server tells: every expression is fed, every runbook is there."""

import json
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from tests.api.served import ROOT, SITE, Served, environment, ggnet, serving, session
from tests.api.test_daemons import free_port, running
from tests.api.warm import Warm
from tests.monitoring import Samples, samples, unfed
from tests.test_docs import anchors

PANELS = json.loads((ROOT / "docs/monitoring/grafana.json").read_text())["panels"]
RULES = [
    rule for group in yaml.safe_load((ROOT / "docs/monitoring/alerts.yaml").read_text())["groups"] for rule in group["rules"]
]
SHOWN = [(f"{panel['title']} {target['refId']}", target["expr"]) for panel in PANELS for target in panel["targets"]]
ALERTS = [(rule["alert"], rule["expr"]) for rule in RULES]


def scrape(url: str, folder: Path) -> str:
    token = (folder / "admin.token").read_text().strip()
    answer = httpx.get(f"{url}/metrics", headers={"Authorization": f"Bearer {token}"}, trust_env=False, timeout=60)
    answer.raise_for_status()
    return answer.text


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Samples]:
    """What a simulated server tells after it has served a session and some people."""
    folder, port = tmp_path_factory.mktemp("monitored"), free_port()
    url, here = f"http://127.0.0.1:{port}", {"GGNET_STATE_DIR": str(folder), "GGNET_LISTEN": f"127.0.0.1:{port}"}
    with running("up", "--simulate", folder=folder, port=port):
        (folder / "pool" / "imports").mkdir(parents=True, exist_ok=True)
        (folder / "pool" / "imports" / "win11.raw").write_bytes(bytes(1 << 20))
        for manifests in (SITE, session(7)):
            applied = ggnet("apply", "-f", "-", "--wait", "--timeout", "30s", stdin=manifests, **here)
            assert applied.returncode == 0, applied.stderr
        token = (folder / "admin.token").read_text().strip()
        with httpx.Client(base_url=url, headers={"Authorization": f"Bearer {token}"}, trust_env=False, timeout=60) as http:
            http.get("/api/v1/machines/nobody")
            with http.stream("GET", "/api/v1/watch") as feed:
                assert next(feed.iter_lines()) == ": watching"
        for _ in range(60):
            found = samples(scrape(url, folder))
            if any(one.get("action") == "PublishTarget" for one in found.get("ggnet_steps_total", ())):
                break
            time.sleep(0.5)
        yield found


@pytest.mark.parametrize(("name", "expression"), SHOWN + ALERTS, ids=[name for name, _ in SHOWN + ALERTS])
def test_an_expression_is_fed(told: Samples, name: str, expression: str) -> None:
    assert unfed(expression, told) == [], name


@pytest.mark.parametrize(
    ("expression", "why"),
    [
        ("rate(ggnet_http_request_total[5m])", "there is no metric ggnet_http_request_total"),
        ('ggnet_objects{sort="Session"}', "ggnet_objects has no label sort"),
        ('ggnet_objects{kind="Sessions"}', "no ggnet_objects has {'kind': 'Sessions'}"),
        ("max by (host) (ggnet_dirty_keys)", "ggnet_dirty_keys has no label host"),
        ('sum(ggnet_http_request_seconds_bucket{route!="/watch"})', "is left out"),
        ("vector(1)", "it asks for no metric"),
    ],
)
def test_an_expression_that_is_not_fed_would_be_found(told: Samples, expression: str, why: str) -> None:
    assert any(why in one for one in unfed(expression, told)), unfed(expression, told)


def test_every_metric_of_ours_is_described_and_shown_or_alerted_on(told: Samples) -> None:
    page = (ROOT / "docs/monitoring.md").read_text()
    ours = {name.removesuffix("_bucket") for name in told if name.startswith("ggnet_")}
    ours -= {name for name in ours if name.endswith(("_count", "_sum", "_created"))}
    assert {name for name in ours if f"`{name}`" not in page} == set()
    used = " ".join(expression for _, expression in SHOWN + ALERTS)
    assert {name for name in ours if name not in used} == set()


@pytest.mark.parametrize("rule", RULES, ids=[rule["alert"] for rule in RULES])
def test_an_alert_says_what_is_wrong_how_bad_it_is_and_what_to_do(rule: dict[str, Any]) -> None:
    assert rule["labels"]["severity"] in ("warning", "critical")
    assert rule["annotations"]["summary"]
    page, _, anchor = rule["annotations"]["runbook"].partition("#")
    assert anchor in anchors(ROOT / page)


def test_panels_do_not_lie_on_each_other() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in PANELS:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken, panel["title"]
        taken |= cells
    assert len({panel["id"] for panel in PANELS}) == len(PANELS)


def test_a_controller_in_a_process_of_its_own_is_shown_by_any_api(tmp_path: Path, warm: Warm) -> None:
    port = free_port()
    with running("api", folder=tmp_path, port=port):
        url = f"http://127.0.0.1:{port}"
        before = samples(scrape(url, tmp_path))
        assert before["ggnet_controller_up"] == [{"server": "default"}]
        assert "ggnet_dirty_keys" not in before
        alone = environment(GGNET_STATE_DIR=str(tmp_path), GGNET_SERVER="boot2")
        with warm.start(["controller", "--simulate"], alone) as controller:
            try:
                for _ in range(200):
                    after = samples(scrape(url, tmp_path))
                    if "ggnet_dirty_keys" in after:
                        break
                    assert controller.poll() is None
                    time.sleep(0.1)
                assert {one["server"] for one in after["ggnet_pass_seconds_count"]} == {"boot2"}
                assert 'ggnet_controller_up{server="boot2"} 1.0' in scrape(url, tmp_path)
                assert 'ggnet_controller_up{server="default"} 0.0' in scrape(url, tmp_path)
            finally:
                controller.terminate()
                controller.wait(60)
        assert 'ggnet_controller_up{server="boot2"} 0.0' in scrape(url, tmp_path), "its counts stay, and it is gone"


def test_metrics_are_told_while_the_store_does_not_answer(tmp_path: Path, warm: Warm) -> None:
    with serving(tmp_path, warm) as door, door.http as http:
        door.apply(SITE)
        assert "ggnet_store_up 1.0" in http.get("/metrics").text
        _break(door)
        text = http.get("/metrics").text
        assert "ggnet_store_up 0.0" in text
        assert "ggnet_http_requests_total{" in text
        assert 'ggnet_objects{kind="Machine",phase="Pending"} 2.0' in text, "as last known"
        assert "ggnet_controller_up" not in text


def _break(door: Served) -> None:

    with sqlite3.connect(door.folder / "ggnet.db") as database:
        database.execute("ALTER TABLE counters RENAME TO lost")
    database.close()
