"""Objects by REST: the manifest is the body, the ETag its version."""

import yaml

from tests.api.served import NETWORK, Served, machine, session, several

PC9 = machine(9)


def test_a_posted_manifest_is_read_back_with_what_the_server_adds(site: Served) -> None:
    with site.http as http:
        made = http.post("/api/v1/machines", content=PC9)
        assert made.status_code == 201
        read = http.get("/api/v1/machines/pc09")
        assert read.json()["spec"] == made.json()["spec"] == {**read.json()["spec"], "macs": ["52:54:00:00:00:09"]}
        assert read.json()["metadata"]["managedBy"] == "api:admin"
        assert read.headers["etag"] == f'"{read.json()["metadata"]["resourceVersion"]}"'


def test_json_and_yaml_are_the_same_to_it(site: Served) -> None:
    with site.http as http:
        as_json = http.put("/api/v1/machines/pc09", json=yaml.safe_load(PC9))
        assert as_json.status_code == 201
        again = http.put("/api/v1/machines/pc09", content=PC9, headers={"Content-Type": "application/yaml"})
        assert again.status_code == 200
        assert again.json()["metadata"]["generation"] == as_json.json()["metadata"]["generation"] == 1


def test_what_was_read_can_be_put_back(site: Served) -> None:
    with site.http as http:
        read = http.get("/api/v1/machines/pc07").json()
        assert http.put("/api/v1/machines/pc07", json=read).json()["metadata"]["generation"] == 1


def test_posting_a_name_that_stands_is_a_conflict(site: Served) -> None:
    with site.http as http:
        answer = http.post("/api/v1/machines", content=machine(7))
        assert (answer.status_code, answer.json()["error_code"]) == (409, "exists")


def test_a_write_at_an_old_version_is_412_and_loses_nothing(site: Served) -> None:
    with site.http as http:
        old = http.get("/api/v1/machines/pc07").headers["etag"]
        first = http.patch("/api/v1/machines/pc07", json={"spec": {"hostname": "one"}}, headers={"If-Match": old})
        assert first.status_code == 200
        change = {"spec": {"hostname": "two"}}
        for answer in (
            http.patch("/api/v1/machines/pc07", json=change, headers={"If-Match": old}),
            http.put("/api/v1/machines/pc07", content=machine(7), headers={"If-Match": old}),
            http.put("/api/v1/machines/pc99", content=machine(7).replace("pc07", "pc99"), headers={"If-Match": old}),
            http.delete("/api/v1/machines/pc07", headers={"If-Match": old}),
        ):
            assert (answer.status_code, answer.json()["error_code"]) == (412, "conflict")
        assert http.get("/api/v1/machines/pc07").json()["spec"]["hostname"] == "one"
        assert http.patch("/api/v1/machines/pc07", json=change, headers={"If-Match": "latest"}).status_code == 400


def test_a_merge_patch_removes_with_null_and_keeps_the_rest(site: Served) -> None:
    with site.http as http:
        http.patch("/api/v1/machines/pc07", json={"spec": {"hostname": "one"}, "metadata": {"labels": {"gpu": "yes"}}})
        patched = http.patch("/api/v1/machines/pc07", json={"spec": {"hostname": None}}).json()
        assert "hostname" not in patched["spec"]
        assert patched["spec"]["address"] == "10.77.0.57"
        assert patched["metadata"]["labels"] == {"room": "main", "gpu": "yes"}


def test_a_patch_cannot_rename_or_forge(site: Served) -> None:
    with site.http as http:
        assert http.patch("/api/v1/machines/pc07", json={"metadata": {"name": "pc70"}}).status_code == 422
        assert http.patch("/api/v1/machines/pc07", json={"kind": "Image"}).status_code == 422
        forged = http.patch("/api/v1/machines/pc07", json={"metadata": {"managedBy": "git:x", "uid": "1"}}).json()
        assert forged["metadata"]["managedBy"] == "api:admin"
        assert forged["metadata"]["uid"] != "1"


def test_what_would_break_the_set_is_refused_whole(site: Served) -> None:
    with site.http as http:
        clash = machine(9).replace("52:54:00:00:00:09", "52:54:00:00:00:07")
        for answer in (
            http.post("/api/v1/machines", content=clash),
            http.post("/api/v1/sessions", content=session(7, image="win99")),
            http.post("/api/v1/apply", content=several(machine(9), session(7, image="win99"))),
        ):
            assert (answer.status_code, answer.json()["error_code"]) == (422, "invalid")
            assert answer.json()["errors"][0]["message"]
        assert [one["metadata"]["name"] for one in http.get("/api/v1/machines").json()["items"]] == ["pc07", "pc08"]
        assert http.get("/api/v1/sessions").json()["items"] == []


def test_what_others_refer_to_is_not_deleted(site: Served) -> None:
    site.apply(session(7))
    with site.http as http:
        for path in ("images/win11", "machines/pc07"):
            answer = http.delete(f"/api/v1/{path}")
            assert answer.status_code == 422, path
            assert "pc07" in answer.json()["detail"]
        assert http.delete("/api/v1/sessions/pc07").status_code == 202
        assert http.delete("/api/v1/machines/pc07").status_code == 202
        assert "deletedAt" in http.get("/api/v1/machines/pc07").json()["metadata"]


def test_what_git_manages_is_changed_there_or_by_force(door: Served) -> None:
    door.commit(several(NETWORK, machine(7)))
    with door.http as http:
        change = {"spec": {"hostname": "mine"}}
        for answer in (
            http.patch("/api/v1/machines/pc07", json=change),
            http.put("/api/v1/machines/pc07", content=machine(7)),
            http.post("/api/v1/apply", content=machine(7)),
            http.delete("/api/v1/machines/pc07"),
        ):
            assert (answer.status_code, answer.json()["error_code"]) == (409, "managed")
            assert "infra" in answer.json()["detail"]
        forced = http.patch("/api/v1/machines/pc07", json=change, params={"force": "true"})
        assert (forced.status_code, forced.json()["metadata"]["managedBy"]) == (200, "git:infra"), "its next commit wins"


def test_a_disk_with_its_pc_running_is_deleted_only_by_force(site: Served) -> None:
    site.apply(session(7))
    site.reach("Session/pc07", "Active")
    with site.http as http:
        refused = http.delete("/api/v1/sessions/pc07")
        assert (refused.status_code, refused.json()["error_code"]) == (409, "guarded")
        assert "deletedAt" not in http.get("/api/v1/sessions/pc07").json()["metadata"]
        forced = http.delete("/api/v1/sessions/pc07", params={"force": "true"}).json()
        assert forced["metadata"]["annotations"] == {"ggnet/disruption": "allowed"}


def test_pages_hold_every_object_once_and_in_order(door: Served) -> None:
    door.apply(several(NETWORK, *(machine(number) for number in range(20, 31))))
    names, after = [], ""
    with door.http as http:
        while True:
            page = http.get("/api/v1/machines", params={"limit": 4, "continue": after}).json()
            names += [one["metadata"]["name"] for one in page["items"]]
            assert len(page["items"]) <= 4
            after = page["metadata"].get("continue", "")
            if not after:
                break
        assert names == [f"pc{number}" for number in range(20, 31)]
        assert http.get("/api/v1/machines", params={"continue": "%%%"}).status_code == 400
        assert http.get("/api/v1/machines", params={"limit": 0}).status_code == 422
        assert http.get("/api/v1/machines", params={"limits": 1}).status_code == 422


def test_labels_select(site: Served) -> None:
    wanted = {
        "room=main": ["pc07"],
        "room!=main": ["pc08"],
        "room in (main, lab)": ["pc07", "pc08"],
        "room notin (lab)": ["pc07"],
        "!gpu,room": ["pc07", "pc08"],
        "gpu": [],
        "room=main,room=lab": [],
    }
    with site.http as http:
        for selector, names in wanted.items():
            items = http.get("/api/v1/machines", params={"labelSelector": selector}).json()["items"]
            assert [one["metadata"]["name"] for one in items] == names, selector
        for bad in ("room=main,", "=x", "room in main", "a=b=c", "(", "a b"):
            assert http.get("/api/v1/machines", params={"labelSelector": bad}).status_code == 400, bad


def test_suspend_and_resume_leave_the_generation_alone(site: Served) -> None:
    with site.http as http:
        suspended = http.post("/api/v1/machines/pc07/suspend").json()["metadata"]
        assert (suspended["annotations"], suspended["generation"]) == ({"ggnet/paused": "true"}, 1)
        resumed = http.post("/api/v1/machines/pc07/resume").json()["metadata"]
        assert (resumed["annotations"], resumed["generation"]) == ({}, 1)


def test_dry_runs_write_nothing(site: Served) -> None:
    with site.http as http:
        tried = http.post("/api/v1/apply", params={"dryRun": "true"}, content=several(machine(9), session(9))).json()
        assert (tried["created"], tried["dryRun"]) == (["Machine/pc09", "Session/pc09"], True)
        assert http.put("/api/v1/machines/pc09", params={"dryRun": "true"}, content=PC9).status_code == 201
        assert http.get("/api/v1/machines/pc09").status_code == 404


def test_applying_the_same_set_again_changes_nothing(site: Served) -> None:
    with site.http as http:
        before = http.get("/api/v1/machines").json()["metadata"]["resourceVersion"]
        again = http.post("/api/v1/apply", content=several(NETWORK, machine(7))).json()
        assert (again["created"], again["changed"], again["unchanged"]) == ([], [], 2)
        assert http.get("/api/v1/machines").json()["metadata"]["resourceVersion"] == before


def test_start_and_stop_keep_one_session_of_the_machine(site: Served) -> None:
    with site.http as http:
        assert http.post("/api/v1/sessions/pc07/start", json={}).status_code == 422
        started = http.post("/api/v1/sessions/pc07/start", json={"image": "win11"}).json()
        assert started["spec"] == {**started["spec"], "machine": "pc07", "image": "win11", "state": "running"}
        stopped = http.post("/api/v1/sessions/pc07/stop").json()
        assert (stopped["spec"]["state"], stopped["spec"]["image"]) == ("stopped", "win11")
        cut = http.post("/api/v1/sessions/pc07/stop", params={"force": "true"}).json()
        assert cut["metadata"]["annotations"] == {"ggnet/disruption": "allowed"}
        again = http.post("/api/v1/sessions/pc07/start").json()
        assert (again["spec"]["state"], again["metadata"]["annotations"]) == ("running", {})
        assert again["metadata"]["uid"] == started["metadata"]["uid"]
        assert http.post("/api/v1/sessions/pc99/start", json={"image": "win11"}).status_code == 404
        assert http.post("/api/v1/sessions/pc99/stop").status_code == 404
        assert http.post("/api/v1/sessions/pc08/start", json={"image": "no!"}).status_code == 422
        assert http.post("/api/v1/sessions/pc08/start", json={"image": "win11", "x": 1}).status_code == 422
