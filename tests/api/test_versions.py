"""Versions and channels, as people move them."""

import json

from tests.api.served import Served


def versions(site: Served, *numbers: int) -> None:
    """The controller has made these versions of win11."""
    made = [
        {"version": n, "sha256": f"{n}" * 64, "size": 1 << 30, "madeBy": "api:ada", "comment": f"no. {n}"} for n in numbers
    ]
    site.report("Image/win11", {"observedGeneration": 1, "phase": "Ready", "versions": made})


def channels(site: Served) -> dict[str, str]:
    with site.http as http:
        return dict(http.get("/api/v1/images/win11").json()["spec"].get("channels", {}))


def test_versions_are_listed_with_the_channels_that_point_at_them(site: Served) -> None:
    versions(site, 1, 2)
    site.ggnet("image", "promote", "win11@v1")
    told = site.ggnet("image", "versions", "win11").stdout.splitlines()
    assert [line.split()[0] for line in told[1:]] == ["v2", "v1"]
    assert "stable" in told[2]
    listed = json.loads(site.ggnet("image", "versions", "win11", "-o", "json").stdout)["items"]
    assert [one["version"] for one in listed] == [1, 2]


def test_a_version_is_listed_with_its_last_use_and_what_keeps_it(site: Served) -> None:
    made: list[dict[str, object]] = [
        {"version": n, "sha256": f"{n}" * 64, "size": 1 << 30, "lastUsed": "2026-03-01"} for n in (1, 2, 3)
    ]
    made[0] |= {"keptBy": [], "collectedAfter": "2026-03-15"}
    made[1] |= {"keptBy": ["channel stable", "protected"]}
    site.report("Image/win11", {"observedGeneration": 1, "phase": "Ready", "versions": made})
    told = site.ggnet("image", "versions", "win11").stdout.splitlines()
    assert "LAST USED" in told[0]
    assert [("2026-03-01" in line, "its last use, until 2026-03-15" in line) for line in told[1:]] == [
        (True, False),
        (True, False),
        (True, True),
    ]
    assert "channel stable, protected" in told[2]


def test_what_an_image_keeps_is_asked_for_in_its_manifest(site: Served) -> None:
    with site.http as http:
        retention = {"keep": 5, "unused": "30d", "protect": ["v1"], "collect": True}
        changed = http.patch("/api/v1/images/win11", json={"spec": {"retention": retention}})
        assert (changed.status_code, changed.json()["spec"]["retention"]) == (200, retention)
        for wrong in ({"keep": -1}, {"unused": "0d"}, {"protect": ["latest"]}, {"forever": True}):
            refused = http.patch("/api/v1/images/win11", json={"spec": {"retention": wrong}})
            (field,) = {error["field"] for error in refused.json()["errors"]}
            assert (refused.status_code, field.startswith("spec.retention.")) == (422, True)


def test_a_channel_is_moved_and_moved_back_by_one_command_each(site: Served) -> None:
    versions(site, 1, 2, 3)
    assert site.ggnet("image", "promote", "win11@v3", "--dry-run").stdout == "image/win11: stable -> v3 (dry run)\n"
    assert channels(site) == {}
    assert site.ggnet("image", "promote", "win11@v3").stdout == "image/win11: stable -> v3\n"
    assert site.ggnet("image", "rollback", "image/win11").stdout == "image/win11: stable -> v2\n"
    assert site.ggnet("image", "promote", "img/win11@v1", "--channel", "beta").returncode == 0
    assert channels(site) == {"stable": "v2", "beta": "v1"}


def test_a_rollback_goes_to_what_the_channel_pointed_at_before(site: Served) -> None:
    versions(site, 1, 2, 3)
    since = site.now().isoformat()
    site.report(
        "Image/win11",
        {
            "observedGeneration": 1,
            "phase": "Ready",
            "versions": [{"version": n, "sha256": f"{n}" * 64, "size": 512} for n in (1, 2, 3)],
            "channels": {"stable": {"version": 3, "previous": 1, "since": since}},
        },
    )
    assert site.ggnet("image", "rollback", "win11").stdout == "image/win11: stable -> v1\n"


def test_a_rollback_right_behind_a_promotion_takes_back_that_one_though_nobody_has_looked_at_it_yet(site: Served) -> None:
    told = {"stable": {"version": 3, "previous": 2, "since": site.now().isoformat()}}
    made = [{"version": n, "sha256": f"{n}" * 64, "size": 512} for n in (1, 2, 3, 4)]
    site.report("Image/win11", {"observedGeneration": 1, "phase": "Ready", "versions": made, "channels": told})
    site.ggnet("image", "promote", "win11@v4")
    assert site.ggnet("image", "rollback", "win11").stdout == "image/win11: stable -> v3\n"
    site.ggnet("image", "promote", "win11@v2", "--channel", "new")
    assert site.ggnet("image", "rollback", "win11", "--channel", "new").stdout == "image/win11: new -> v1\n"


def test_what_is_not_there_is_said(site: Served) -> None:
    versions(site, 1)
    unknown = site.ggnet("image", "promote", "win11@v7")
    assert (unknown.returncode, "has no version v7, it has v1" in unknown.stderr) == (4, True)
    unpinned = site.ggnet("image", "promote", "win11")
    assert (unpinned.returncode, "names no version" in unpinned.stderr) == (5, True)
    nothing_before = site.ggnet("image", "rollback", "win11")
    assert (nothing_before.returncode, "no version before v1" in nothing_before.stderr) == (4, True)
    hostile = site.ggnet("image", "promote", "../x@v1")
    assert hostile.returncode == 2


def test_a_difference_is_told_field_by_field(site: Served) -> None:
    versions(site, 1, 2)
    told = site.ggnet("image", "diff", "win11@v1", "win11@v2").stdout
    assert told.startswith("different content\n")
    assert "comment: no. 1 -> no. 2" in told
    assert site.ggnet("image", "diff", "win11@v1", "win11@v1").stdout == "the same content\n"
