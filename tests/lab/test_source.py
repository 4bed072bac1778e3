"""Only a commit that was read whole and is right as a whole changes anything."""

from collections.abc import Iterator

import pytest

from tests.lab.documents import ROOM, room, session, text
from tests.lab.site import REPOSITORY, TARGETS, TFTP, Site, target, until
from tests.lab.witness import Touched

pytestmark = [pytest.mark.lab, pytest.mark.timeout(600)]
FULL = room(session("pc1"), session("pc10"))
OUTSIDE = [TARGETS, TFTP, "/etc/dhcp"]


@pytest.fixture(scope="module")
def committed(running: Site) -> Site:
    running.apply(FULL)
    running.ready("pc1", "pc10")
    return running


@pytest.fixture
def full(committed: Site) -> Iterator[Site]:
    """A room that must stand as it is, whatever the source does, and whose next good commit is taken."""
    site = committed
    until("nothing else is there", lambda: site.targets() == [target("pc1"), target("pc10")])
    with Touched(site, OUTSIDE) as touched:
        yield site
        assert touched.lines == []
        assert site.targets() == [target("pc1"), target("pc10")]
        assert len(site.ask("machines")["items"]) == len(ROOM)
    site.apply(FULL, "as it was")


BAD = {
    "a field that there is none of": ("kind: Session", "speed: fast\nkind: Session"),
    "a machine that there is none of": ("machine: pc10", "machine: pc11"),
    "a MAC that is none": ("52:54:00:00:00:65", "52:54:00:00:00"),
    "two machines with one MAC": ("52:54:00:00:00:65", "52:54:00:00:00:6e"),
    "no YAML at all": ("kind: Session", "kind: [Session"),
}


@pytest.mark.parametrize("what", BAD)
def test_a_commit_with_one_bad_document_is_refused_whole_and_history_shows_file_and_line(full: Site, what: str) -> None:
    good, bad = BAD[what]
    written = text(FULL)
    assert good in written
    line = written[: written.index(good)].count("\n") + 1
    sha = full.commit({"site/room.yaml": written.replace(good, bad, 1)}, f"break it: {what}")
    found = full.judged(sha)
    assert found["verdict"] == "refused"
    told = full.ggnet("history")
    assert sha[:7] in told
    assert "site/room.yaml" in told
    assert any(abs(problem["line"] - line) <= 12 and problem["line"] > 0 for problem in found["problems"]), found["problems"]
    assert f"site/room.yaml:{found['problems'][0]['line']}" in told


def test_a_source_that_turns_empty_deletes_nothing(full: Site) -> None:
    sha = full.commit({"README": "nothing here\n"}, "oops")
    assert full.judged(sha)["verdict"] in ("guarded", "refused")


def test_a_source_that_loses_most_of_its_objects_waits_for_approval(full: Site) -> None:
    sha = full.commit(FULL[:2], "a bad merge")
    assert full.judged(sha)["verdict"] == "guarded"


def test_a_repository_that_goes_away_deletes_nothing(full: Site) -> None:
    full.run(f"mv {REPOSITORY} {REPOSITORY}.away").check()
    try:
        until("it is told", lambda: told_of(full, "site.git"))
    finally:
        full.run(f"mv {REPOSITORY}.away {REPOSITORY}").check()


def test_a_branch_that_goes_away_deletes_nothing(full: Site) -> None:
    full.git("update-ref", "refs/heads/aside", "main")
    full.git("update-ref", "-d", "refs/heads/main")
    try:
        until("it is told", lambda: told_of(full, "main"))
    finally:
        full.git("update-ref", "refs/heads/main", "aside")


def test_a_commit_of_which_a_part_is_missing_deletes_nothing(full: Site) -> None:
    before = full.git("rev-parse", "main").strip()
    full.commit({f"{number}.yaml": text([one]) for number, one in enumerate(FULL[:-1])}, "half of it", "aside")
    blob = full.git("rev-parse", "aside:0.yaml").strip()
    loosen = "for pack in /run/packs/*.pack; do git unpack-objects -q <$pack; done"
    full.run(
        f"cd {REPOSITORY} && git repack -adq && mv objects/pack /run/packs && mkdir objects/pack && {loosen} "
        f"&& rm -rf /run/packs objects/{blob[:2]}/{blob[2:]}"
    ).check()
    full.git("update-ref", "refs/heads/main", "aside")
    try:
        until("it is told", lambda: told_of(full, blob))
    finally:
        full.git("update-ref", "refs/heads/main", before)
        full.git("update-ref", "-d", "refs/heads/aside")


def told_of(site: Site, word: str) -> bool:
    return any(one["reason"] == "SourceUnreadable" and word in one["message"] for one in site.events("Source/" + REPOSITORY))
