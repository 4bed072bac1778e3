"""What was deleted comes back as what it was."""

from typing import Any

import httpx
import pytest

from tests.api.served import NETWORK, Served, machine, session, several

PC7 = "/api/v1/machines/pc07"


def deleted(http: httpx.Client, **query: str) -> list[str]:
    return [f"{one['object']['kind']}/{one['object']['metadata']['name']}" for one in listed(http, **query)]


def listed(http: httpx.Client, **query: str) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = http.get("/api/v1/deleted", params=query).raise_for_status().json()["items"]
    return items


def drop(site: Served, http: httpx.Client, path: str, key: str, **query: str) -> None:
    assert http.delete(f"/api/v1/{path}", params=query).status_code == 202
    site.gone(key)


def test_a_deleted_object_is_listed_and_restored_with_all_it_said(either: Served) -> None:
    with either.http as http:
        http.patch(PC7, json={"metadata": {"annotations": {"note": "by the door"}}, "spec": {"hostname": "one"}})
        before = http.get(PC7).json()
        drop(either, http, "machines/pc07", "Machine/pc07")
        assert http.get(PC7).status_code == 404
        (found,) = http.get("/api/v1/deleted").json()["items"]
        assert (found["object"]["spec"], found["deletedBy"]) == (before["spec"], "api:admin")
        assert found["restorableUntil"] > found["removedAt"]
        tried = http.post(f"{PC7}/restore", params={"dryRun": "true"})
        assert (tried.status_code, http.get(PC7).status_code, deleted(http)) == (200, 404, ["Machine/pc07"])
        back = http.post(f"{PC7}/restore")
        assert back.status_code == 200, back.text
        assert back.headers["etag"] == http.get(PC7).headers["etag"]
        after = back.json()
        assert after["spec"] == before["spec"] == tried.json()["spec"]
        same = ("uid", "labels", "annotations", "createdAt", "managedBy")
        assert {name: after["metadata"][name] for name in same} == {name: before["metadata"][name] for name in same}
        assert after["metadata"]["generation"] == before["metadata"]["generation"] + 1
        assert deleted(http) == []
        assert http.post(f"{PC7}/restore").json()["error_code"] == "exists"


def test_what_is_still_being_withdrawn_is_wanted_again(site: Served) -> None:
    site.apply(session(7))
    site.reach("Session/pc07", "Active")
    with site.http as http:
        uid = http.get("/api/v1/sessions/pc07").json()["metadata"]["uid"]
        http.delete("/api/v1/sessions/pc07", params={"force": "true"})
        again = http.post("/api/v1/sessions/pc07/restore").json()["metadata"]
        assert (again["uid"], again.get("deletedAt"), again["annotations"]) == (uid, None, {})


def test_what_is_wanted_again_is_checked_like_any_write(site: Served) -> None:
    site.apply(session(7))
    with site.http as http:
        for path in ("sessions/pc07", "machines/pc07"):
            http.delete(f"/api/v1/{path}").raise_for_status()
        for answer in (
            http.post("/api/v1/sessions/pc07/restore"),
            http.post("/api/v1/sessions/pc07/start", json={"image": "win11"}),
        ):
            assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "spec.machine")
        assert http.post("/api/v1/machines/pc07/restore").status_code == 200
        assert http.post("/api/v1/sessions/pc07/restore").status_code == 200


def test_a_name_that_was_taken_meanwhile_is_not_given_back(site: Served) -> None:
    with site.http as http:
        drop(site, http, "machines/pc07", "Machine/pc07")
        http.post("/api/v1/machines", content=machine(7)).raise_for_status()
        for query in ({}, {"dryRun": "true"}, {"force": "true"}):
            refused = http.post(f"{PC7}/restore", params=query)
            assert (refused.status_code, refused.json()["error_code"]) == (409, "exists")


def test_what_would_break_the_set_is_not_restored(site: Served) -> None:
    site.apply(session(7))
    with site.http as http:
        drop(site, http, "sessions/pc07", "Session/pc07")
        drop(site, http, "machines/pc07", "Machine/pc07")
        refused = http.post("/api/v1/sessions/pc07/restore")
        assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, "spec.machine")
        http.post("/api/v1/machines", content=machine(9).replace("00:09", "00:07")).raise_for_status()
        refused = http.post(f"{PC7}/restore")
        assert refused.status_code == 422
        assert "52:54:00:00:00:07" in refused.json()["detail"]
        assert deleted(http) == ["Machine/pc07", "Session/pc07"]


def test_of_several_the_last_is_restored_unless_another_is_named(site: Served) -> None:
    with site.http as http:
        uids = []
        for hostname in ("first", "second"):
            if hostname == "second":
                http.post("/api/v1/machines", content=machine(7)).raise_for_status()
            http.patch(PC7, json={"spec": {"hostname": hostname}}).raise_for_status()
            uids.append(http.get(PC7).json()["metadata"]["uid"])
            drop(site, http, "machines/pc07", "Machine/pc07")
        assert http.post(f"{PC7}/restore", params={"uid": "x"}).status_code == 404
        assert http.post(f"{PC7}/restore", params={"dryRun": "true"}).json()["spec"]["hostname"] == "second"
        assert http.post(f"{PC7}/restore", params={"uid": uids[0]}).json()["spec"]["hostname"] == "first"
        assert len(deleted(http)) == 1


def test_what_its_source_has_dropped_is_restored_by_force_alone(door: Served) -> None:
    door.commit(several(NETWORK, machine(7)))
    door.commit(NETWORK, prune=True)
    door.gone("Machine/pc07")
    with door.http as http:
        assert [one["deletedBy"] for one in listed(http)] == ["git:infra"]
        refused = http.post(f"{PC7}/restore")
        assert (refused.status_code, refused.json()["error_code"]) == (409, "managed")
        assert "infra" in refused.json()["detail"]
        forced = http.post(f"{PC7}/restore", params={"force": "true"})
        assert (forced.status_code, forced.json()["metadata"]["managedBy"]) == (200, "api:admin")


def test_the_list_is_read_in_pages_and_by_kind(site: Served) -> None:
    with site.http as http:
        for number in (7, 8):
            drop(site, http, f"machines/pc{number:02}", f"Machine/pc{number:02}")
        drop(site, http, "images/win11", "Image/win11")
        assert deleted(http) == ["Image/win11", "Machine/pc08", "Machine/pc07"]
        assert deleted(http, kind="machines") == ["Machine/pc08", "Machine/pc07"]
        page = http.get("/api/v1/deleted", params={"limit": "2"}).json()
        rest = http.get("/api/v1/deleted", params={"limit": "2", "continue": page["metadata"]["continue"]}).json()
        assert (len(page["items"]), len(rest["items"]), rest["metadata"]) == (2, 1, {})
        for wrong in ("x", "~", page["items"][1]["object"]["metadata"]["uid"]):
            refused = http.get("/api/v1/deleted", params={"continue": wrong})
            assert (refused.status_code, refused.json()["errors"][0]["field"]) == (400, "continue")
        refused = http.get("/api/v1/deleted", params={"kind": "pcs"})
        assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, "kind")


@pytest.mark.parametrize("name", ["pc99", "..%2f", "PC07", "%00", "x" * 5000])
def test_what_was_never_there_is_not_restored(site: Served, name: str) -> None:
    with site.http as http:
        refused = http.post(f"/api/v1/machines/{name}/restore")
        assert (refused.status_code, refused.json()["error_code"]) == (404, "not_found")
        assert len(refused.text) < 1000


def test_the_command_deletes_lists_and_restores(site: Served) -> None:
    assert site.ggnet("delete", "machine/pc07", "--dry-run").stdout == "Machine/pc07 deleted (dry run)\n"
    assert site.ggnet("deleted").stderr == "nothing that can be restored\n"
    assert site.ggnet("delete", "machine/pc07").returncode == 0
    site.gone("Machine/pc07")
    head, row = site.ggnet("deleted", "machines").stdout.splitlines()
    assert head.split() == ["OBJECT", "DELETED", "BY", "UNTIL", "UID"]
    assert row.split()[::2][:2] == ["Machine/pc07", "api:admin"]
    assert site.ggnet("restore", "pc/pc07", "--dry-run").stdout == "Machine/pc07 restored (dry run)\n"
    assert site.ggnet("restore", "pc/pc07").stdout == "Machine/pc07 restored\n"
    again = site.ggnet("restore", "pc/pc07")
    assert (again.returncode, "exists" in again.stderr) == (3, True)
    assert site.ggnet("restore", "pc/pc99").returncode == 4
