"""A commit is asked for in one request, refused with one sentence, and lies on its session until it is done."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from api.roles import Role
from tests.api.served import SITE, Served, serving
from tests.api.warm import Warm

KEPT = (
    "apiVersion: ggnet/v1\nkind: Session\nmetadata: {name: pc07}\nspec: {machine: pc07, image: win11, persistence: keep}\n"
)
TWO = (
    "apiVersion: ggnet/v1\nkind: Session\nmetadata: {name: pc07}\nspec:\n  machine: pc07\n  disks:\n"
    "    - {name: os, image: win11}\n    - {name: games, image: win11, persistence: keep}\n"
)


def standing(site: Served, text: str = KEPT, base: int | None = 2, newest: int = 2, **more: Any) -> None:
    """The session has run on this version, and its PC is off."""
    site.apply(text)
    site.report("Image/win11", {"observedGeneration": 1, "phase": "Ready", "version": newest})
    told: dict[str, Any] = {"observedGeneration": 1, "phase": "Ready", "connection": "none"}
    site.report("Session/pc07", {**told, **({"overlay": "x.raw", "imageVersion": base} if base else {}), **more})


def annotation(site: Served) -> str | None:
    with site.http as http:
        found: dict[str, str] = http.get("/api/v1/sessions/pc07").json()["metadata"].get("annotations", {})
        return found.get("ggnet/commit")


def test_a_commit_is_asked_for_and_written_down_with_who_and_why_even_where_git_manages_the_session(site: Served) -> None:
    standing(site)
    site.commit(KEPT)
    tried = site.ggnet("session", "commit", "pc07", "--comment", "with office", "--dry-run")
    assert (tried.returncode, annotation(site)) == (0, None)
    done = site.ggnet("session", "commit", "pc07", "--comment", "with office")
    assert done.stdout == "Session/pc07 is being committed: ggnet describe Session/pc07\n"
    written = annotation(site) or ""
    assert '"base":2' in written
    assert '"comment":"with office"' in written
    assert '"by":"api:' in written
    site.commit(KEPT.replace("win11", "win11@v2"))
    assert annotation(site) == written, "the next commit of the source must not take it back"
    with site.http as http:
        rows = http.get("/api/v1/audit", params={"object": "Session/pc07"}).json()["items"]
    assert any("ggnet/commit" in str(row) for row in rows)


@pytest.mark.parametrize(
    ("world", "body", "words"),
    [
        ({"text": KEPT.replace("keep", "ephemeral")}, {}, "is ephemeral: only what is kept"),
        ({"connection": "active"}, {}, "is running on Session/pc07"),
        ({"connection": "unknown"}, {}, "cannot be told"),
        ({"base": None}, {}, "Nothing is kept of disk os"),
        ({"newest": 3}, {}, "stands on v2 of Image/win11, whose newest version is v3"),
        ({"text": TWO}, {}, "Disk os of Session/pc07 is ephemeral"),
        ({"text": TWO}, {"disk": "games"}, "Nothing is kept of disk games"),
    ],
)
def test_what_cannot_be_committed_is_refused_with_the_reason(
    site: Served, world: dict[str, Any], body: dict[str, str], words: str
) -> None:
    standing(site, **world)
    with site.http as http:
        refused = http.post("/api/v1/sessions/pc07/commit", json=body)
    assert (refused.status_code, refused.json()["error_code"]) == (409, "guarded")
    assert words in refused.json()["detail"]
    assert annotation(site) is None


def test_a_refused_commit_promises_no_force_that_there_is_not(site: Served) -> None:
    standing(site, text=TWO)
    refused = site.ggnet("session", "commit", "session/pc07")
    assert (refused.returncode, "persistence keep" in refused.stderr, "--force" in refused.stderr) == (9, True, False)


def test_a_second_commit_waits_for_the_first_and_wrong_words_are_refused(site: Served) -> None:
    standing(site)
    with site.http as http:
        for body, status in (
            ({"disk": "games"}, 422),
            ({"disk": "../x"}, 422),
            ({"comment": "a\nb"}, 422),
            ({"why": 1}, 422),
        ):
            assert http.post("/api/v1/sessions/pc07/commit", json=body).status_code == status, body
        assert http.post("/api/v1/sessions/pc07/commit").status_code == 200
        again = http.post("/api/v1/sessions/pc07/commit")
        assert (again.status_code, "under way" in again.json()["detail"]) == (409, True)
        assert http.post("/api/v1/sessions/nobody/commit").status_code == 404


def test_a_commit_is_called_off_and_its_session_is_free_again(site: Served) -> None:
    standing(site)
    none = site.ggnet("session", "commit", "pc07", "--cancel")
    assert (none.returncode, "Session/pc07 has no commit under way" in none.stderr) == (4, True)
    assert site.ggnet("session", "commit", "pc07").returncode == 0
    assert site.ggnet("session", "commit", "pc07", "--cancel", "--dry-run").returncode == 0
    assert annotation(site) is not None
    done = site.ggnet("session", "commit", "pc07", "--cancel")
    assert (done.returncode, done.stdout) == (0, "the commit of Session/pc07 is called off\n")
    assert annotation(site) is None
    assert "called off the commit of disk os" in site.ggnet("describe", "session/pc07").stdout
    assert site.ggnet("session", "commit", "pc07", "--cancel", "--disk", "os").returncode == 2


def test_whoever_changes_a_part_of_a_session_calls_no_commit_off(site: Served) -> None:
    standing(site)
    site.ggnet("session", "commit", "pc07")
    asked = annotation(site)
    with site.http as http:
        for change in ({"spec": {"ttl": "8h"}}, {"metadata": {"annotations": {"note": "for Ada", "ggnet/commit": "{}"}}}):
            assert http.patch("/api/v1/sessions/pc07", json=change).status_code == 200
            assert annotation(site) == asked is not None


def test_whoever_waits_for_a_commit_is_told_how_it_ended_and_whom_it_waits_for(site: Served) -> None:
    standing(site)
    late = site.ggnet("session", "commit", "pc07", "--wait", "--timeout", "0.3s")
    assert (late.returncode, "not committed in time" in late.stderr, "--cancel" in late.stderr) == (7, True, True)
    assert site.ggnet("session", "commit", "pc07", "--cancel").returncode == 0
    with ThreadPoolExecutor(1) as beside:
        for reason, code in (("Committed", 0), ("BaseNotNewest", 1)):
            waiting = beside.submit(site.ggnet, "session", "commit", "pc07", "--wait")
            while annotation(site) is None:
                assert not waiting.done(), waiting.result()
            site.finish("Session/pc07", reason, f"this is how: {reason}")
            ended = waiting.result(20)
            said = f"Session/pc07: this is how: {reason}"
            assert (ended.returncode, said in ended.stdout + ended.stderr) == (code, True), ended


def test_whoever_may_not_write_the_image_may_not_commit_and_nobody_may_say_it_in_a_manifest(
    site: Served, tmp_path: Path, warm: Warm
) -> None:
    with serving(tmp_path / "people", warm, announced=True) as people:
        people.lead()
        people.apply(SITE)
        standing(people)
        people.bind("ada", "write", selector="room=main", narrows=True)
        for name, role in (("vera", Role.VIEWER), ("ada", Role.OPERATOR)):
            with people.acting(name, role) as http:
                assert http.post("/api/v1/sessions/pc07/commit").status_code in (403, 404), name
        with people.acting("otto", Role.OPERATOR) as http:
            assert http.post("/api/v1/sessions/pc07/commit", params={"dryRun": "true"}).status_code == 200
    standing(site)
    request = '{"id":"' + "c" * 32 + '","disk":"os","image":"win11","base":2,"by":"me"}'
    site.apply(KEPT.replace("name: pc07}", "name: pc07, annotations: {ggnet/commit: '" + request + "'}}", 1))
    assert annotation(site) is None
