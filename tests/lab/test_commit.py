"""What a PC has kept becomes a version of its image: base and writes, byte for byte, and others start with it."""

import hashlib
import json
from pathlib import Path

import pytest

from tests.lab.disk import SECTOR
from tests.lab.documents import Document, image, labelled, session
from tests.lab.initiator import NOTE
from tests.lab.site import POOL, Site, until
from tests.lab.test_promote import disk
from tests.lab.witness import AtWork

pytestmark = [pytest.mark.lab, pytest.mark.timeout(600)]


def assert_committed(site: Site, scratch: Path, keeper: str, other: str, method: str) -> None:
    """The keeper writes and is committed; the other one starts with that, by the channel.

    Each method has its image: what a deleted one leaves in the pool would be the next one's.
    """
    name = f"office-{method}"
    base = disk(scratch, "v1")
    site.put_image(f"{name}.raw", base)
    office = labelled(image(name, channels={"stable": "v1"}), room=name)
    site.declare([office, _session(name, keeper, persistence="keep")])
    site.ready(keeper)
    assert site.get(f"Session/{keeper}")["status"]["overlayMethod"] == method
    with AtWork(site, [keeper]):
        site.await_phase(f"Session/{keeper}", "Active")
        assert "shut it down" in site.ggnet("session", "commit", keeper, code=9)
    until("it is off", lambda: site.get(f"Session/{keeper}")["status"]["connection"] == "none")
    site.ggnet("session", "commit", keeper, "--comment", "with its word")
    until("it is done", lambda: site.get(f"Image/{name}")["status"]["version"] == 2)
    assert site.run(f"sha256sum <{POOL}/images/{name}@v2.raw").check().split()[0] == written(base, keeper)
    assert site.run(f"sha256sum <{POOL}/images/{name}@v1.raw").check().split()[0] == digest(base)
    site.ggnet("image", "promote", f"{name}@v2")
    site.ready(keeper)
    site.declare([_session(name, other)])
    site.ready(other)
    with AtWork(site, [keeper, other]) as room:
        assert room.found == {keeper: f"v1 {keeper}", other: f"v1 {keeper}"}
    [made] = [one for one in site.get(f"Image/{name}")["status"]["versions"] if one["version"] == 2]
    assert (made["parent"], made["comment"], made["madeBy"]) == (1, "with its word", "api:admin")
    site.remove(name)
    left = [json.loads(site.read(f"{POOL}/images/{name}@v{version}.json")) for version in (1, 2)]
    assert all(one["released"] for one in left), "the pool is told before nobody knows of them any more"


def _session(image_name: str, machine: str, persistence: str = "ephemeral") -> Document:
    return labelled(session(machine, f"{image_name}@stable", persistence=persistence), room=image_name)


def written(base: Path, word: str) -> str:
    """The digest of this disk once somebody has written a word to it."""
    content = bytearray(base.read_bytes())
    content[NOTE * SECTOR : (NOTE + 1) * SECTOR] = word.encode().ljust(SECTOR, b"\0")
    return hashlib.sha256(content).hexdigest()


def digest(base: Path) -> str:
    return hashlib.sha256(base.read_bytes()).hexdigest()


def test_what_a_pc_has_kept_in_a_reflink_is_committed_byte_for_byte_and_others_start_with_it(
    site: Site, tmp_path: Path
) -> None:
    assert_committed(site, tmp_path, "pc02", "pc03", "reflink")
