"""What every DHCP server owes us, asked of the one in memory and of a real dhcpd with a client on its wire."""

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import anyio
import pytest

from controller.adapters.simulated.services import MemoryDhcp
from controller.core.desired import DhcpConfig, Host, Subnet
from controller.core.names import dhcp_host
from controller.core.observed import DhcpState
from controller.core.render import dhcpd
from controller.core.steps import LoadDhcp
from controller.ports.host import EffectError, EffectFailed, EffectRefused
from manifests.types import Cidr, Hostname, Ipv4, Mac
from tests.contracts.dhcp_rigs import IscRig, MemoryRig, Rig

MAIN = Subnet("main", Cidr.parse("10.77.0.0/24"), Ipv4.parse("10.77.0.254"))


def mac(n: int) -> Mac:
    return Mac.parse(f"52:54:00:00:00:{n:02x}")


def host(n: int, address: int | None = None) -> Host:
    name = f"pc{n:02}"
    return Host(dhcp_host(name, 0), name, mac(n), Hostname.parse(name), Ipv4.parse(f"10.77.0.{address or n}"))


def config(*hosts: Host) -> DhcpConfig:
    return DhcpConfig((MAIN,), hosts)


@pytest.fixture(params=[MemoryRig, IscRig], ids=["memory", "isc"])
def rig(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Rig]:
    if request.param is IscRig:
        assert os.geteuid() == 0, "a real dhcpd in a network namespace of its own needs root"
    rig: Rig = request.param(tmp_path)
    yield rig
    rig.close()


def load(rig: Rig, wanted: DhcpConfig, generation: int = 1) -> dict[str, str]:
    return dict(anyio.run(rig.dhcp.load, LoadDhcp(wanted, generation)))


def look(rig: Rig) -> DhcpState:
    return anyio.run(rig.dhcp.observe)


def at_goal(rig: Rig, wanted: DhcpConfig) -> bool:
    state = look(rig)
    return state.file == state.loaded == dhcpd.digest(wanted) and state.running and state.problem is None


def test_before_anything_nothing_is_there_and_nothing_is_wrong(rig: Rig) -> None:
    assert look(rig) == DhcpState()


def test_a_load_is_answered_on_the_wire_and_seen_in_the_file_and_as_loaded(rig: Rig) -> None:
    wanted = config(host(3), host(7))
    assert load(rig, wanted, generation=5) == {}
    assert at_goal(rig, wanted)
    assert look(rig).generation == 5
    assert look(rig).hosts == dhcpd.stanzas(wanted)
    assert [rig.address(mac(n)) for n in (3, 7, 9)] == ["10.77.0.3", "10.77.0.7", None]


def test_a_change_is_one_restart_whatever_its_size_and_the_same_again_none(rig: Rig) -> None:
    load(rig, config(host(3)))
    before = rig.restarts()
    wanted = config(*(host(n) for n in range(10, 60)))
    load(rig, wanted)
    load(rig, wanted, generation=2)
    assert rig.restarts() == before + 1
    assert rig.address(mac(3)) is None
    assert rig.address(mac(59)) == "10.77.0.59"


def test_removing_pc01_leaves_pc010(rig: Rig) -> None:
    other = replace(host(10), name=dhcp_host("pc010", 0), machine="pc010")
    load(rig, config(host(1), other))
    load(rig, config(other))
    assert [rig.address(mac(n)) for n in (1, 10)] == [None, "10.77.0.10"]


@pytest.mark.parametrize("damage", ["edited", "emptied", "deleted", "truncated", "header lost"])
def test_damage_to_the_file_is_seen_and_repaired(rig: Rig, damage: str) -> None:
    wanted = config(host(3), host(7))
    load(rig, wanted)
    text = rig.text() or ""
    match damage:
        case "edited":
            rig.edit(text.replace("fixed-address 10.77.0.7;", "fixed-address 10.77.0.8;"))
        case "emptied":
            rig.edit("")
        case "deleted":
            rig.edit(None)
        case "truncated":
            rig.edit(text[:-30])
        case _:
            rig.edit(text.partition("\n")[2])
    state = look(rig)
    assert state.file != dhcpd.digest(wanted)
    assert state.loaded == dhcpd.digest(wanted)
    assert state.problem is None
    assert load(rig, wanted) == {}
    assert at_goal(rig, wanted)
    assert rig.text() == text


def test_an_edited_file_that_somebody_loaded_is_seen_and_repaired(rig: Rig) -> None:
    wanted = config(host(3))
    load(rig, wanted)
    rig.edit((rig.text() or "").replace("fixed-address 10.77.0.3;", "fixed-address 10.77.0.8;"))
    rig.start()
    assert rig.address(mac(3)) == "10.77.0.8"
    state = look(rig)
    assert state.file == state.loaded != dhcpd.digest(wanted)
    load(rig, wanted)
    assert rig.address(mac(3)) == "10.77.0.3"


def test_a_server_that_died_is_not_running_and_is_started_by_a_load(rig: Rig) -> None:
    wanted = config(host(3))
    load(rig, wanted)
    rig.kill()
    state = look(rig)
    assert (state.running, state.loaded, state.file) == (False, None, dhcpd.digest(wanted))
    load(rig, wanted)
    assert at_goal(rig, wanted)
    assert rig.address(mac(3)) == "10.77.0.3"


def test_a_restart_by_somebody_else_is_no_drift(rig: Rig) -> None:
    wanted = config(host(3))
    load(rig, wanted)
    rig.start()
    assert at_goal(rig, wanted)
    before = rig.restarts()
    load(rig, wanted)
    assert rig.restarts() == before


def test_a_host_that_the_administrator_declares_too_is_named_and_all_others_are_served(rig: Rig) -> None:
    load(rig, config(host(1)))
    rig.administrator("ggnet-pc03-0", "printer")
    refused = load(rig, config(*(host(n) for n in range(1, 9))))
    assert list(refused) == ["ggnet-pc03-0"]
    assert "ggnet-pc03-0: already exists" in refused["ggnet-pc03-0"]
    served = config(*(host(n) for n in range(1, 9) if n != 3))
    assert at_goal(rig, served)
    assert [rig.address(mac(n)) for n in (1, 2, 8)] == ["10.77.0.1", "10.77.0.2", "10.77.0.8"]
    assert look(rig).refused == {"ggnet-pc03-0": (dhcpd.stanzas(config(host(3)))["ggnet-pc03-0"], refused["ggnet-pc03-0"])}


def test_a_refused_host_stays_left_out_without_a_restart_until_the_administrator_changes_his_file(rig: Rig) -> None:
    rig.administrator("ggnet-pc03-0")
    both = config(host(1), host(3))
    load(rig, both)
    before = rig.restarts()
    assert list(load(rig, both)) == ["ggnet-pc03-0"]
    assert load(rig, config(host(1))) == {}
    assert list(look(rig).refused) == ["ggnet-pc03-0"]
    assert rig.restarts() == before
    rig.administrator()
    assert look(rig).refused == {}
    assert load(rig, both) == {}
    assert rig.address(mac(3)) == "10.77.0.3"


def test_a_refused_host_that_is_changed_is_tried_again(rig: Rig) -> None:
    rig.administrator("ggnet-pc03-0")
    load(rig, config(host(1), host(3)))
    renamed = replace(host(3), name=dhcp_host("pc03", 1))
    assert load(rig, config(host(1), renamed)) == {}
    assert rig.address(mac(3)) == "10.77.0.3"


def test_several_refused_hosts_are_all_named(rig: Rig) -> None:
    bad = [dhcp_host(f"pc{n:02}", 0) for n in (2, 3, 17, 40)]
    rig.administrator(*bad)
    assert sorted(load(rig, config(*(host(n) for n in range(1, 41))))) == bad
    assert rig.address(mac(39)) == "10.77.0.39"


def test_hosts_that_contradict_each_other_or_their_network_are_left_out_and_named(rig: Rig) -> None:
    same_mac = replace(host(4), mac=mac(3))
    same_address = host(5, address=3)
    elsewhere = replace(host(6), address=Ipv4.parse("192.0.2.6"))
    the_server = host(7, address=254)
    refused = load(rig, config(host(3), same_mac, same_address, elsewhere, the_server, host(8)))
    assert sorted(refused) == [f"ggnet-pc0{n}-0" for n in (4, 5, 6, 7)]
    assert at_goal(rig, config(host(3), host(8)))
    assert rig.address(mac(8)) == "10.77.0.8"


def test_the_cards_of_one_machine_may_share_its_address(rig: Rig) -> None:
    second = replace(host(4, address=3), name=dhcp_host("pc03", 1), machine="pc03")
    assert load(rig, config(host(3), second)) == {}
    assert [rig.address(mac(n)) for n in (3, 4)] == ["10.77.0.3"] * 2


def test_an_error_of_the_administrators_is_refused_with_its_line_and_the_old_file_is_served(rig: Rig) -> None:
    load(rig, config(host(3)))
    text = rig.text()
    rig.break_main()
    with pytest.raises(EffectRefused, match=r"dhcpd\.conf line \d: semicolon expected"):
        load(rig, config(host(4)))
    assert rig.text() == text
    assert [rig.address(mac(n)) for n in (3, 4)] == ["10.77.0.3", None]


def test_a_full_disk_fails_and_the_old_file_is_served(rig: Rig) -> None:
    load(rig, config(host(3)))
    text = rig.text()
    rig.fill_disk()
    with pytest.raises(EffectFailed, match="No space left") as caught:
        load(rig, config(*(host(n) for n in range(4, 90))))
    assert isinstance(caught.value, EffectError)
    assert rig.text() == text
    assert rig.address(mac(3)) == "10.77.0.3"


def test_with_nothing_left_to_answer_nothing_is_answered_and_that_is_the_goal(rig: Rig) -> None:
    load(rig, config(host(3)))
    nothing = DhcpConfig((replace(MAIN, external=True),), (host(3),))
    assert load(rig, nothing) == {}
    assert rig.address(mac(3)) is None
    state = look(rig)
    assert state.running or state.file is None
    assert state.hosts == {}
    load(rig, config(host(3)))
    assert rig.address(mac(3)) == "10.77.0.3"


def test_the_stand_in_that_crashes_in_the_middle_of_a_load_has_written_and_not_loaded() -> None:
    def crash(when: str, call: str, action: object) -> None:
        if when == "during":
            raise KeyboardInterrupt

    memory = MemoryDhcp(hook=crash)
    with pytest.raises(KeyboardInterrupt):
        anyio.run(memory.load, LoadDhcp(config(host(3)), 1))
    state = anyio.run(memory.observe)
    assert (state.file, state.loaded) == (dhcpd.digest(config(host(3))), None)
