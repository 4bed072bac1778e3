"""Files that are not what they should be: status says so, nothing is followed or served blindly, the rest goes on."""

from collections.abc import Iterator

import pytest

from tests.lab.documents import ROOM, image, mac, room, session
from tests.lab.site import IMPORTS, POOL, TARGETS, TFTP, Site, script, target, until

pytestmark = [pytest.mark.lab, pytest.mark.timeout(600)]
# How each is made below the import folder, and a word that its status must hold.
IMAGES = {
    "missing": ("true", "bad.raw"),
    "empty": (": >bad.raw", "empty"),
    "not a multiple of 512": ("head -c 1000 /dev/zero >bad.raw", "512"),
    "qcow2 that calls itself raw": ("(printf 'QFI\\373\\0\\0\\0\\3'; head -c 1016 /dev/zero) >bad.raw", "qcow2"),
    "VHDX that calls itself raw": ("(printf vhdxfile; head -c 1016 /dev/zero) >bad.raw", "vhdx"),
    "VMDK that calls itself raw": ("(printf KDMV; head -c 1020 /dev/zero) >bad.raw", "vmdk"),
    "VHD that calls itself raw": ("(printf conectix; head -c 1016 /dev/zero) >bad.raw", "vhd"),
    "symlink": ("ln -s /etc/shadow bad.raw", "link"),
    "folder": ("mkdir bad.raw", "bad.raw"),
}


@pytest.fixture
def imports(site: Site) -> Iterator[Site]:
    site.run(f"rm -rf {IMPORTS}/bad.raw").check()
    yield site
    site.run(f"rm -rf {IMPORTS}/bad.raw").check()


@pytest.mark.parametrize("what", IMAGES)
def test_an_image_that_cannot_be_served_says_why_and_all_others_are(imports: Site, what: str) -> None:
    site = imports
    make, word = IMAGES[what]
    site.run(f"cd {IMPORTS} && {make}").check()
    site.commit([*room(session("pc02"), session("pc03", "bad")), image("bad")])
    site.ready("pc02")
    said = until("the image says why", lambda: complaint(site, "Image/bad"), 10)
    assert word in said.lower(), said
    assert until("the session says so too", lambda: complaint(site, "Session/pc03"), 10)
    assert site.targets() == [target("pc02")]


def complaint(site: Site, key: str) -> str:
    """What an object's conditions say is not right."""
    answer = site.client.get(f"/api/v1/{key.split('/')[0].lower()}s/{key.split('/')[1]}")
    conditions = answer.json().get("status", {}).get("conditions", []) if answer.status_code == 200 else []
    return "; ".join(one["message"] for one in conditions if one["status"] == "False" and one["message"])


def test_an_image_that_arrives_late_is_served_without_another_commit(imports: Site) -> None:
    imports.commit([*room(session("pc03", "bad")), image("bad")])
    until("the image says why", lambda: complaint(imports, "Image/bad"), 10)
    imports.put_image("bad.raw", imports.lab.prepared.boot_disk)
    imports.ready("pc03", seconds=90)


def test_a_symlink_in_the_place_of_a_boot_script_is_replaced_not_followed(site: Site) -> None:
    site.apply(room(session("pc02")))
    path = script(mac(ROOM["pc02"]))
    content = site.read(path)
    site.run(f"echo secret >/srv/victim && ln -sf /srv/victim {path}").check()
    until("the script is a file again", lambda: site.run(f"[ -f {path} ] && [ ! -L {path} ]").code == 0, 10)
    assert site.read(path) == content
    assert site.read("/srv/victim") == "secret\n"


def test_a_symlink_in_the_place_of_the_scripts_folder_leads_to_no_write_outside_the_tree(site: Site) -> None:
    site.apply(room(session("pc02")))
    site.run(
        f"mkdir -p /srv/elsewhere && mv {TFTP}/ggnet/machines {TFTP}/aside && ln -s /srv/elsewhere {TFTP}/ggnet/machines"
    ).check()
    try:
        site.commit(room(session("pc02"), session("pc03")))
        until("somebody says so", lambda: told(site, "machines"), 20)
        assert site.listing("/srv/elsewhere/*") == []
    finally:
        site.run(
            f"cd {TFTP} && rm -f ggnet/machines; [ -d ggnet/machines ] || mv aside ggnet/machines; rm -rf aside"
        ).check()
    site.ready("pc02", "pc03", seconds=60)


def told(site: Site, word: str) -> bool:
    return any(one["type"] == "Warning" and word in one["message"] for one in site.events())


def test_a_symlink_among_the_overlays_is_never_exported(site: Site) -> None:
    site.apply(room(session("pc02", persistence="keep")))
    overlay = site.run(f"find {POOL} -type f -name 'pc02.os+*'").check().strip()
    site.apply(room(session("pc02", persistence="keep", state="stopped")))
    until("the target is gone", lambda: not site.targets())
    site.run(f"rm {overlay} && truncate -s 1M /srv/secret.raw && ln -s /srv/secret.raw {overlay}").check()
    try:
        site.commit(room(session("pc02", persistence="keep"), session("pc03")))
        site.ready("pc03")
        files = site.run(f"cat {TARGETS}/../core/*/ggnet-*/udev_path {TARGETS}/../core/*/ggnet-*/info").check()
        assert "secret" not in files
        served = site.run(f"grep -l {overlay} {TARGETS}/../core/*/ggnet-*/udev_path").out
        assert not served or site.run(f"[ -L {overlay} ]").code
    finally:
        site.run(f"[ -L {overlay} ] && rm {overlay}")


def test_a_symlink_in_the_repository_is_not_followed(site: Site) -> None:
    site.apply(room(session("pc02")))
    stream = "commit refs/heads/main\ncommitter Ada <ada@lab.example> now\ndata 4\nlink\ndeleteall\n"
    stream += "M 120000 inline room.yaml\ndata 11\n/etc/passwd\n"
    site.git("fast-import", "--quiet", "--force", "--date-format=now", stdin=stream)
    until("it is told", lambda: told(site, "symlink"), 20)
    assert site.targets() == [target("pc02")]
