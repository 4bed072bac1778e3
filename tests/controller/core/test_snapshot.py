"""An observation goes through JSON and comes back the same."""

import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.core import snapshot
from controller.core.observed import BootFileState, DhcpState, Login, SourceFile
from tests.controller.core.objects import SITE, host
from tests.controller.core.walks import Damage, Wish, converged, damages, imported, logged_in, logins, wishes

START = imported(host(["win11", "debian"]))


@settings(max_examples=40, deadline=None)
@given(wishes(), logins, damages, st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=2))
def test_what_was_observed_comes_back_the_same(
    asked: tuple[Wish, ...], who: dict[int, Login], harm: list[Damage], unreadable: dict[str, str]
) -> None:
    world = logged_in(converged(asked, START), who)
    for damage in harm:
        world = damage.done(world)
    observed = replace(
        world.observed,
        unreadable=unreadable,
        foreign=("iqn.2020-05.example:theirs",),
        boot={**world.observed.boot, "ggnet/notes": BootFileState("0" * 64, ours=False)},
        dhcp=replace(world.observed.dhcp, refused={"ggnet-pc9-0": ("host x", "no")}, problem="dead"),
        pool=replace(world.observed.pool, sources={**world.observed.pool.sources, "x": SourceFile(None, "is not there")}),
    )
    assert snapshot.loads(snapshot.dumps(observed)) == observed


def test_each_machine_has_its_own_text_and_only_that_moves() -> None:
    world = converged((Wish(1), Wish(10)), START)
    before = snapshot.dumps(world.observed)
    after = snapshot.dumps(logged_in(world, {10: Login.ACTIVE}).observed)
    assert {key for key in before if before[key] != after[key]} == {"machine/pc10"}
    assert {"machine/pc1", "images", "dhcp", "host"} <= before.keys()


def test_a_part_holds_what_was_asked_and_empties_what_is_gone() -> None:
    world = converged((Wish(1), Wish(10)), START)
    texts = snapshot.dumps(world.observed, {"pc1", "pc77"})
    assert "machine/pc10" not in texts
    assert texts["machine/pc77"] == ""
    assert str(SITE.target("pc1")) in json.loads(texts["machine/pc1"])["targets"]


@pytest.mark.parametrize("text", ["[]", '{"targets": 3}', "nonsense"])
def test_what_it_did_not_write_is_refused(text: str) -> None:
    texts = {**snapshot.dumps(replace(START.observed, dhcp=DhcpState())), "machine/pc1": text}
    with pytest.raises(ValueError, match=r"observation|Expecting"):
        snapshot.loads(texts)
