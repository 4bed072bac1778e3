"""The language of targets: facts, what differs, and what of it a running PC would feel."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.core.desired import Target
from controller.core.names import backstore
from controller.core.steps import Change
from controller.core.targets import cutting, difference, facts, leads_somewhere, right, serves, standing
from manifests.types import Iqn
from tests.controller.core.objects import SITE

OURS = SITE.initiator("pc1")
OTHER = Iqn.parse("iqn.2020-05.example.other:x")
PORTAL = "10.77.0.1:3260"
TARGET = Target(
    iqn=SITE.target("pc1"),
    machine="pc1",
    backstore=backstore("pc1"),
    serial=SITE.serial("pc1"),
    path="/pool/overlays/one.raw",
    size=1 << 20,
    initiator=OURS,
    portal=PORTAL,
)
FACTS = dict(facts(TARGET))
ACL = f"acl/{OURS}"


def repair(**found: str | None) -> tuple[str, ...]:
    """What would cut, of the repair of a target that is right but for these facts (``__`` for ``/``, None removes)."""
    broken = {**FACTS, **{name.replace("__", "/"): value for name, value in found.items()}}
    there = {name: value for name, value in broken.items() if value is not None}
    return tuple(change.field for change in cutting(OURS, difference(FACTS, there)))


@pytest.mark.parametrize(
    "found",
    [
        {"tpg__enable": "0"},
        {"tpg__attrib__authentication": "1"},
        {"backstore__attrib__emulate_3pc": "1"},
        {"backstore__enable": None},
        {"lun__0": None},
        {"lun__1": "foreign"},
        {f"{ACL}/lun/0": None},
        {f"{ACL}/lun/0": "dangling"},
        {f"{ACL}/lun/1": "1"},
        {f"{ACL}/lun/0/write_protect": "1"},
        {f"{ACL}/attrib/nopin_timeout": "15"},
        {f"acl/{OTHER}": "1", f"acl/{OTHER}/lun/0": "0"},
        {f"portal/{PORTAL}": None},
        {"portal/10.9.9.9:3260": "1"},
        dict.fromkeys(FACTS),
    ],
)
def test_repairing_this_cuts_nobody(found: dict[str, str | None]) -> None:
    assert repair(**found) == ()


@pytest.mark.parametrize(
    "found",
    [
        {"backstore/path": "/pool/overlays/other.raw"},
        {"backstore/size": "512"},
        {"backstore/serial": "other"},
        {"backstore/buffered": "0"},
        {"lun/0": "another"},
        {f"{ACL}/lun/0": "1"},
        {"tpg/2": "1"},
        {"something/new": "1"},
    ],
)
def test_repairing_this_cuts_whoever_is_logged_in(found: dict[str, str | None]) -> None:
    assert repair(**found) == tuple(found)


def test_taking_writing_away_cuts_and_giving_it_does_not() -> None:
    name = f"{ACL}/lun/0/write_protect"
    assert cutting(OURS, [Change(name, "0", "1")])
    assert not cutting(OURS, [Change(name, "1", "0")])


def test_the_old_acl_of_a_renamed_initiator_is_the_one_that_is_in_use() -> None:
    renamed = replace(TARGET, initiator=OTHER)
    assert [change.field for change in cutting(OTHER, difference(facts(renamed), FACTS))][:1] == [ACL]


@given(st.dictionaries(st.sampled_from([*FACTS, "lun/1", "odd"]), st.sampled_from(["0", "1", "x"]), max_size=3), st.data())
def test_the_short_way_finds_right_just_what_differs_in_nothing(extra: dict[str, str], data: st.DataObject) -> None:
    lost = data.draw(st.sets(st.sampled_from(sorted(FACTS)), max_size=1))
    found = {**{name: value for name, value in FACTS.items() if name not in lost}, **extra}
    short = right(found, "pc1", TARGET.serial, TARGET.path, TARGET.size, OURS, PORTAL)
    assert short == (difference(FACTS, found) == ())


@pytest.mark.parametrize(
    "lost", ["tpg/enable", "backstore/enable", "backstore", "lun/0", ACL, f"{ACL}/lun/0", f"portal/{PORTAL}"]
)
def test_a_target_without_this_serves_nobody(lost: str) -> None:
    found = {name: value for name, value in FACTS.items() if name != lost}
    assert serves(FACTS, OURS, PORTAL)
    assert not serves(found, OURS, PORTAL)
    assert not leads_somewhere(found)


def test_what_stands_keeps_its_device_its_initiator_and_its_portal() -> None:
    wanted = replace(TARGET, path="/pool/overlays/two.raw", initiator=OTHER, portal="10.9.9.9:3260", readonly=True)
    assert standing(wanted, FACTS) == TARGET
    assert standing(wanted, {"tpg": "1"}) is None
