"""Files that are not what they should be: status says so, nothing is followed or served blindly, the rest goes on."""

from collections.abc import Iterator

import pytest

from tests.lab.documents import ROOM, image, mac, room, session
from tests.lab.site import IMPORTS, POOL, TARGETS, TFTP, Site, script, target, until
from tests.lab.test_bad_images import complaint

pytestmark = [pytest.mark.lab, pytest.mark.timeout(600)]


@pytest.fixture
def imports(site: Site) -> Iterator[Site]:
    site.run(f"rm -rf {IMPORTS}/bad.raw").check()
    yield site
    site.run(f"rm -rf {IMPORTS}/bad.raw").check()


def test_an_image_that_arrives_late_is_served_without_another_commit(imports: Site) -> None:
    imports.commit([*room(session("pc03", "bad")), image("bad")])
    until("the image says why", lambda: complaint(imports, "Image/bad"), 30)
    imports.put_image("bad.raw", imports.lab.prepared.boot_disk)
    imports.ready("pc03", seconds=90)


def test_a_symlink_in_the_place_of_a_boot_script_is_replaced_not_followed(site: Site) -> None:
    site.apply(room(session("pc02")))
    path = script(mac(ROOM["pc02"]))
    content = site.read(path)
    site.run(f"echo secret >/srv/victim && ln -sf /srv/victim {path}").check()
    until("the script is a file again", lambda: site.run(f"[ -f {path} ] && [ ! -L {path} ]").code == 0, 30)
    assert site.read(path) == content
    assert site.read("/srv/victim") == "secret\n"


def test_a_symlink_in_the_place_of_the_scripts_folder_leads_to_no_write_outside_the_tree(site: Site) -> None:
    site.apply(room(session("pc02")))
    site.run(
        f"mkdir -p /srv/elsewhere && mv {TFTP}/ggnet/machines {TFTP}/aside && ln -s /srv/elsewhere {TFTP}/ggnet/machines"
    ).check()
    try:
        site.commit(room(session("pc02"), session("pc03")))
        until("somebody says so", lambda: told(site, "machines"), 40)
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
    until("it is told", lambda: told(site, "symlink"), 40)
    assert site.targets() == [target("pc02")]
