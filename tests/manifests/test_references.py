"""What objects say about each other."""

from collections.abc import Sequence

import pytest
from hypothesis import given, settings

from manifests.kinds import Object
from manifests.load import load
from manifests.machine import Machine
from manifests.references import Networks, check, network_of
from tests import strategies
from tests.manifests.growth import linear

_HEAD = "---\napiVersion: ggnet/v1\n"


def network(name: str = "main", cidr: str = "10.77.0.0/24", server: str = "10.77.0.1", rest: str = "") -> str:
    return f"{_HEAD}kind: Network\nmetadata: {{name: {name}}}\nspec: {{cidr: {cidr}, serverAddress: {server}{rest}}}\n"


def machine(name: str, mac: str = "01", rest: str = "") -> str:
    return f"{_HEAD}kind: Machine\nmetadata: {{name: {name}}}\nspec:\n  macs: ['52:54:00:00:00:{mac}']\n{rest}"


def session(name: str, pc: str = "pc01", image: str = "demo", state: str = "running") -> str:
    return f"{_HEAD}kind: Session\nmetadata: {{name: {name}}}\nspec: {{machine: {pc}, image: {image}, state: {state}}}\n"


IMAGE = f"{_HEAD}kind: Image\nmetadata: {{name: demo}}\nspec: {{source: {{path: demo.raw}}}}\n"
RANGE = ", gateway: 10.77.0.2, range: {start: 10.77.0.100, end: 10.77.0.199}"


def told(*documents: str) -> list[str]:
    loaded = load({"m.yaml": "".join(documents).encode()})
    return [str(problem) for problem in check(loaded.objects, loaded.origins)]


@pytest.mark.parametrize(
    ("field", "message"),
    [
        ("address: 10.78.0.1", "10.78.0.1 of Machine/pc01 is outside 10.77.0.0/24 of Network/main (m.yaml:2)"),
        ("address: 10.77.0.1", "10.77.0.1 of Machine/pc01 is the serverAddress of Network/main (m.yaml:2)"),
        ("address: 10.77.0.2", "10.77.0.2 of Machine/pc01 is the gateway of Network/main (m.yaml:2)"),
        ("address: 10.77.0.0", "10.77.0.0 of Machine/pc01 is the first or last address"),
        ("address: 10.77.0.255", "10.77.0.255 of Machine/pc01 is the first or last address"),
        ("address: 10.77.0.100", "10.77.0.100 of Machine/pc01 is inside the dynamic range 10.77.0.100 to 10.77.0.199"),
        ("address: 10.77.0.199", "10.77.0.199 of Machine/pc01 is inside the dynamic range 10.77.0.100 to 10.77.0.199"),
        ("network: other", "there is no Network/other for Machine/pc01 in this set"),
    ],
)
def test_a_machine_must_fit_its_network(field: str, message: str) -> None:
    (problem,) = told(network(rest=RANGE), machine("pc01", rest=f"  {field}\n"))
    assert problem.startswith(f"m.yaml:12: Machine/pc01 spec.{field.partition(':')[0]}: {message}")


@pytest.mark.parametrize("address", ["10.77.0.99", "10.77.0.200", "10.77.0.3", "10.77.0.254"])
def test_an_address_beside_the_range_is_fine(address: str) -> None:
    assert told(network(rest=RANGE), machine("pc01", rest=f"  address: {address}\n")) == []


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        ("", "  address: 10.77.0.5\n", "spec.macs[0]: MAC 52:54:00:00:00:01 is that of Machine/pc01 (m.yaml:7) too"),
        ("  address: 10.77.0.5\n", "  address: 10.77.0.5\n", "spec.address: address 10.77.0.5 is that of Machine/pc01"),
        ("  hostname: pc02\n", "", "spec.hostname: hostname pc02 is that of Machine/pc01"),
        ("", "  hostname: pc01\n", "spec.hostname: hostname pc01 is that of Machine/pc01"),
        (
            "  initiator: iqn.2026-01.a.b\n",
            "  initiator: iqn.2026-01.a.b\n",
            "spec.initiator: initiator iqn",
        ),
    ],
)
def test_two_machines_cannot_have_the_same(first: str, second: str, message: str) -> None:
    mac = "01" if "MAC" in message else "02"
    (problem,) = told(network(), machine("pc01", rest=first), machine("pc02", mac, second))
    assert f"Machine/pc02 {message}" in problem


def test_one_machine_cannot_have_one_mac_twice_in_two_notations() -> None:
    (problem,) = told(machine("pc01").replace("['52", "[5254.0000.0001, '52"))
    assert "spec.macs[1]: MAC 52:54:00:00:00:01 stands twice in Machine/pc01" in problem


def test_removing_one_name_leaves_the_longer_one_alone() -> None:
    assert told(machine("pc1"), machine("pc10", "02"), network()) == []


@pytest.mark.parametrize(
    ("documents", "message"),
    [
        ((network(), machine("pc01")), "Session/s spec.image: there is no Image/demo for Session/s in this set"),
        ((network(), IMAGE), "Session/s spec.machine: there is no Machine/pc01 for Session/s in this set"),
    ],
)
def test_a_session_needs_its_machine_and_its_image(documents: tuple[str, ...], message: str) -> None:
    (problem,) = told(*documents, session("s"))
    assert message in problem


def test_a_pinned_image_is_looked_up_by_its_name() -> None:
    assert told(network(), machine("pc01"), IMAGE, session("s", image="demo@v3")) == []


def test_one_machine_runs_one_session() -> None:
    site = network(), machine("pc01"), IMAGE
    (problem,) = told(*site, session("a"), session("b"))
    assert "Session/b spec.machine: Machine/pc01 runs Session/a (m.yaml:" in problem
    assert told(*site, session("a"), session("b", state="stopped"), session("c", state="stopped")) == []


@pytest.mark.parametrize("cidr", ["10.77.0.0/24", "10.77.0.128/25", "10.0.0.0/8"])
def test_two_networks_cannot_overlap(cidr: str) -> None:
    server = "10.77.0.129" if cidr.endswith("25") else "10.77.0.3"
    (problem,) = told(network(), network("other", cidr, server))
    assert "overlaps" in problem
    assert "Network/main" in problem
    assert "Network/other" in problem


def test_a_network_inside_a_wide_one_is_found_behind_a_narrow_one() -> None:
    wide = network("wide", "10.0.0.0/8", "10.0.0.1"), network("low", "10.1.0.0/24", "10.1.0.1")
    assert len(told(*wide, network("high", "10.9.0.0/24", "10.9.0.1"))) == 2


def test_networks_side_by_side_do_not_overlap() -> None:
    assert told(network(), network("next", "10.77.1.0/24", "10.77.1.1")) == []


def test_a_machine_must_name_its_network_only_once_it_runs_and_there_are_several() -> None:
    both = network(), network("other", "10.78.0.0/24", "10.78.0.1")
    assert told(*both, machine("pc01"), IMAGE, session("s", state="stopped")) == []
    (problem,) = told(*both, machine("pc01"), IMAGE, session("s"))
    assert "Machine/pc01 spec.network: Session/s (m.yaml:" in problem
    assert "name its network" in problem
    assert told(*both, machine("pc01", rest="  network: other\n"), IMAGE, session("s")) == []
    assert told(*both, machine("pc01", rest="  address: 10.78.0.5\n"), IMAGE, session("s")) == []


def test_without_a_network_nothing_can_run() -> None:
    assert told(machine("pc01", rest="  address: 10.78.0.5\n")) == []
    (problem,) = told(machine("pc01"), IMAGE, session("s"))
    assert "declare a Network" in problem


def test_an_address_in_none_of_several_networks_is_told() -> None:
    both = network(), network("other", "10.78.0.0/24", "10.78.0.1")
    (problem,) = told(*both, machine("pc01", rest="  address: 10.79.0.5\n"))
    assert "10.79.0.5 of Machine/pc01 is in no Network of this set" in problem


@pytest.mark.parametrize(
    ("rest", "name"),
    [
        ("  network: other\n  address: 10.77.0.5\n", "other"),
        ("  address: 10.77.0.0\n", "main"),
        ("  address: 10.77.0.255\n", "main"),
        ("  address: 10.78.0.5\n", "other"),
        ("  address: 10.77.1.0\n", None),
        ("  address: 1.1.1.1\n", None),
        ("  network: nowhere\n", None),
        ("", None),
    ],
)
def test_the_network_of_a_machine_is_named_or_holds_its_address(rest: str, name: str | None) -> None:
    both = network(), network("other", "10.78.0.0/24", "10.78.0.1")
    objects = load({"m": "".join([*both, machine("pc01", rest=rest)]).encode()}).objects
    pc = objects[-1]
    assert isinstance(pc, Machine)
    found = network_of(pc, Networks.of(objects))
    assert (found.name if found else None) == name


def test_the_only_network_is_that_of_every_machine() -> None:
    objects = load({"m": (network() + machine("pc01")).encode()}).objects
    pc = objects[-1]
    assert isinstance(pc, Machine)
    assert network_of(pc, Networks.of(objects)) is objects[0]


@settings(max_examples=40)
@given(strategies.sites())
def test_a_whole_site_has_no_problems_with_or_without_origins(site: tuple[Object, ...]) -> None:
    assert check(site) == ()


@settings(max_examples=40)
@given(strategies.sites())
def test_all_is_told_of_a_site_taken_twice_over(site: tuple[Object, ...]) -> None:
    machines = [one for one in site if isinstance(one, Machine)]
    twins = [
        one.model_copy(update={"metadata": one.metadata.model_copy(update={"name": f"{one.name}-twin"})}) for one in machines
    ]
    objects: Sequence[Object] = [*site, *twins]
    assert {p.object for p in check(objects) if "MAC" in p.message} == {twin.key for twin in twins}


def test_thousands_of_machines_that_all_claim_one_thing_are_checked_in_linear_time() -> None:
    def alike(count: int) -> Sequence[Object]:
        rows = [machine(f"pc{n}", rest=f"  address: 10.1.{n >> 8}.{n & 255}\n  hostname: same\n") for n in range(count)]
        return load({"m": "".join([network("n", "10.0.0.0/8", "10.0.0.1"), *rows]).encode()}).objects

    assert len(check(alike(1000))) >= 2 * 999
    assert linear(check, alike, 1000)
