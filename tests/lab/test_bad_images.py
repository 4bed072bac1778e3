"""Images that cannot be served: each says why, so does its session, and all others are served."""

from collections.abc import Iterator

import pytest

from tests.lab.documents import ROOM, image, room, session
from tests.lab.site import IMPORTS, Site, target, until

pytestmark = [pytest.mark.lab, pytest.mark.timeout(600)]
GOOD = "pc02"
OTHERS = [name for name in ROOM if name != GOOD]
# How each is made in the import folder, and a word that its status must hold.
IMAGES = {
    "missing": ("true", "{bad}"),
    "empty": (": >{bad}", "empty"),
    "not a multiple of 512": ("head -c 1000 /dev/zero >{bad}", "512"),
    "qcow2 that calls itself raw": ("(printf 'QFI\\373\\0\\0\\0\\3'; head -c 1016 /dev/zero) >{bad}", "qcow2"),
    "VHDX that calls itself raw": ("(printf vhdxfile; head -c 1016 /dev/zero) >{bad}", "vhdx"),
    "VMDK that calls itself raw": ("(printf KDMV; head -c 1020 /dev/zero) >{bad}", "vmdk"),
    "VHD that calls itself raw": ("(printf conectix; head -c 1016 /dev/zero) >{bad}", "vhd"),
    "symlink": ("ln -s /etc/shadow {bad}", "link"),
    "folder": ("mkdir {bad}", "{bad}"),
}
NAMES = {what: f"bad-{number}" for number, what in enumerate(IMAGES)}


class Rows:
    """As many bad images at a time as there are PCs beside the good one."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self._there: dict[str, str] = {}

    def place(self, what: str) -> str:
        """The PC whose session asks for this image."""
        if what not in self._there:
            at = min(list(IMAGES).index(what), len(IMAGES) - len(OTHERS))  # always as many: few go at once
            self._there = dict(zip(list(IMAGES)[at : at + len(OTHERS)], OTHERS, strict=False))
            for one in self._there:
                make = IMAGES[one][0].format(bad=f"{NAMES[one]}.raw")
                self.site.run(f"cd {IMPORTS} && rm -rf {NAMES[one]}.raw && {make}").check()
            sessions = [session(pc, NAMES[one]) for one, pc in self._there.items()]
            self.site.commit([*room(session(GOOD), *sessions), *(image(NAMES[one]) for one in self._there)])
        return self._there[what]


@pytest.fixture(scope="module")
def rows(running: Site) -> Iterator[Rows]:
    running.reset()
    yield Rows(running)
    running.apply(room(*(session(name) for name in ROOM)), "no bad image")
    running.run(f"rm -rf {IMPORTS}/bad-*").check()


@pytest.mark.parametrize("what", IMAGES)
def test_an_image_that_cannot_be_served_says_why_and_all_others_are(rows: Rows, what: str) -> None:
    site, pc = rows.site, rows.place(what)
    site.ready(GOOD)
    name, word = NAMES[what], IMAGES[what][1].format(bad=f"{NAMES[what]}.raw")
    said = until("the image says why", lambda: complaint(site, f"Image/{name}"), 40)
    assert word in said.lower(), said
    until("the session says so too", lambda: f"Image/{name}" in complaint(site, f"Session/{pc}"), 40)
    assert site.targets() == [target(GOOD)]


def complaint(site: Site, key: str) -> str:
    """What an object's conditions say is not right."""
    answer = site.client.get(f"/api/v1/{key.split('/')[0].lower()}s/{key.split('/')[1]}")
    conditions = answer.json().get("status", {}).get("conditions", []) if answer.status_code == 200 else []
    return "; ".join(one["message"] for one in conditions if one["status"] == "False" and one["message"])
