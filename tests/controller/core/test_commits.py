"""A commit beside what else makes, takes and keeps versions."""

from dataclasses import replace
from typing import Any

import pytest

from controller.core.names import OverlayName
from controller.core.observed import ImageFile, Observed, OverlayFile, Stamp
from controller.core.plan import plan
from controller.core.resolve import resolve
from controller.core.steps import CommitOverlay, DeleteOverlay, DeleteVersion, DiscardSource, ImportImage, Plan
from manifests.commits import COMMIT, CommitRequest
from manifests.kinds import Object
from tests.controller.core.objects import GIB, NOW, SITE, host, machine, network, session, stored

UPLOAD = "a" * 32
IDENTITY = f"upload {UPLOAD}"
ASKED = CommitRequest("c" * 32, "os", "win11", 1, "api:ada")
COMMITTED = f"commit {ASKED.id}"


def room(*, asked: bool = True, **changed: Any) -> list[Object]:
    meta = {"annotations": {COMMIT: str(ASKED)}} if asked else {}
    image = stored("Image", "win11", {"source": {"upload": UPLOAD}, "retention": {"keep": 1}})
    return [network(), image, machine(1), session(1, meta=meta, **{"persistence": "keep", **changed})]


def pool(*identities: str, first: int = 1, **changed: Any) -> Observed:
    """With these versions of long ago, what pc1 has kept on v1, and the upload."""
    seen = host().observed
    stamp = Stamp(4 * GIB, 1)
    versions = {v: ImageFile(v, 4 * GIB, f"{v:064x}", stamp, one, used=1) for v, one in enumerate(identities, first)}
    uid = session(1).metadata.uid or ""
    overlay = str(OverlayName("pc1", "os", "win11", 1, uid))
    kept = {"overlays": {overlay: OverlayFile(4 * GIB, "reflink")}, "brought": frozenset({IDENTITY}), **changed}
    return replace(seen, pool=replace(seen.pool, images={"win11": versions}, **kept))


def decide(seen: Observed, *, asked: bool = True, complete: bool = True) -> Plan:
    return plan(resolve(room(asked=asked), SITE, NOW, complete=complete), seen, SITE)


def actions(found: Plan, kind: type) -> list[object]:
    return [step.action for step in found.due if isinstance(step.action, kind)]


def test_a_number_that_a_disk_of_a_machine_out_of_sight_carries_is_not_given_to_a_commit() -> None:
    seen = pool(IDENTITY, carried={"win11": {1, 7}})
    [step] = actions(decide(seen, complete=False), CommitOverlay)
    assert isinstance(step, CommitOverlay)
    assert step.version == 8


def test_an_upload_is_imported_once_though_its_version_was_committed_on_and_nobody_stands_on_that_any_more() -> None:
    seen = pool(IDENTITY, COMMITTED, "commit 2", overlays={})
    found = decide(seen, asked=False)
    assert actions(found, ImportImage) == []
    assert actions(found, DeleteVersion) == [DeleteVersion("win11", 2)]
    assert actions(found, DiscardSource) == [DiscardSource(IDENTITY)]


def test_an_upload_whose_version_was_lost_below_a_commit_is_kept_to_be_imported_again() -> None:
    found = decide(pool(COMMITTED, first=2), asked=False)
    assert len(actions(found, ImportImage)) == 1
    assert actions(found, DiscardSource) == []


def test_a_source_that_is_to_be_imported_holds_no_commit_up_for_it_may_be_of_no_use() -> None:
    found = decide(pool("upload of another source"))
    assert len(actions(found, ImportImage)) == len(actions(found, CommitOverlay)) == 1


def test_while_a_commit_is_asked_for_its_base_stays_and_its_upload_is_not_imported_again() -> None:
    found = decide(pool(IDENTITY))
    assert actions(found, ImportImage) == actions(found, DeleteVersion) == []
    assert len(actions(found, CommitOverlay)) == 1


@pytest.mark.parametrize(
    "changed",
    [
        {"persistence": "ephemeral"},
        {"persistence": "readonly"},
        {"image": None, "disks": [{"name": "os", "image": "win11", "persistence": "ephemeral"}]},
    ],
    ids=str,
)
def test_a_disk_that_is_to_be_committed_stays_until_then_though_it_is_kept_no_more(changed: dict[str, Any]) -> None:
    def decided(seen: Observed, *, asked: bool) -> Plan:
        return plan(resolve(room(asked=asked, state="stopped", **changed), SITE, NOW), seen, SITE)

    found = decided(pool(IDENTITY), asked=True)
    assert (len(actions(found, CommitOverlay)), actions(found, DeleteOverlay)) == (1, [])
    assert len(actions(decided(pool(IDENTITY, COMMITTED), asked=False), DeleteOverlay)) == 1
