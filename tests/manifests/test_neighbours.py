"""A change is checked among its neighbours, and nothing that the whole set would have said is missed."""

from collections.abc import Mapping

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from manifests.image import Image
from manifests.kinds import Object
from manifests.machine import Machine
from manifests.neighbours import Neighbours
from manifests.network import Network
from manifests.references import check
from manifests.session import Session

_few = st.integers(1, 4)


def _machine(number: int, mac: int, host: int | None, net: int | None) -> Object:
    spec = {"macs": [f"52:54:00:00:00:0{mac}"], "address": host and f"10.77.{host % 2}.{host}", "network": net and f"n{net}"}
    return Machine.model_validate({"metadata": {"name": f"pc{number}"}, "spec": spec})


def _network(number: int, third: int, server: int) -> Object:
    spec = {"cidr": f"10.77.{third}.0/24", "serverAddress": f"10.77.{third}.{server}"}
    return Network.model_validate({"metadata": {"name": f"n{number}"}, "spec": spec})


def _session(number: int, machine: int, image: int, running: bool) -> Object:
    spec = {"machine": f"pc{machine}", "image": f"i{image}", "state": "running" if running else "stopped"}
    return Session.model_validate({"metadata": {"name": f"s{number}"}, "spec": spec})


def _image(number: int) -> Object:
    return Image.model_validate({"metadata": {"name": f"i{number}"}, "spec": {"source": {"path": "a.raw"}}})


objects = st.one_of(
    st.builds(_machine, _few, _few, st.none() | st.integers(2, 5), st.none() | st.integers(1, 2)),
    st.builds(_network, st.integers(1, 2), st.integers(0, 1), _few),
    st.builds(_session, _few, _few, st.integers(1, 2), st.booleans()),
    st.builds(_image, st.integers(1, 2)),
)
sets = st.lists(objects, max_size=14).map(lambda found: {one.key: one for one in found})
_BASE = {one.key: one for one in (_network(1, 0, 1), _network(2, 1, 1), _image(1), _image(2))}
_TARGETS = [*_BASE, *(f"Machine/pc{number}" for number in range(1, 5))]


def _whole(standing: Mapping[str, Object], changed: Mapping[str, Object | None]) -> list[Object]:
    kept = [one for key, one in sorted(standing.items()) if key not in changed]
    return [*kept, *(one for _, one in sorted(changed.items()) if one is not None)]


def _valid(found: dict[str, Object]) -> dict[str, Object]:
    """Without what is wrong with it, until nothing is."""
    while problems := check(found.values()):
        found = {key: one for key, one in found.items() if key not in {problem.object for problem in problems}}
    return found


_base = st.booleans().map(lambda both: {key: one for key, one in _BASE.items() if both or key != "Network/n2"})
valid = st.builds(lambda found, base: _valid({**found, **base}), sets, _base)


@settings(max_examples=500)
@given(valid, sets, st.sets(st.sampled_from(_TARGETS), max_size=3))
def test_the_neighbours_say_what_the_whole_set_says(
    standing: dict[str, Object], put: dict[str, Object], out: set[str]
) -> None:
    changed: dict[str, Object | None] = dict.fromkeys(sorted(out & standing.keys()))
    changed |= dict(list(put.items())[:3])
    assume(changed)
    around = Neighbours(standing.values()).around(changed, standing)
    assert check(around) == check(_whole(standing, changed))


@given(sets, sets)
def test_an_index_that_was_kept_up_is_the_one_made_anew(first: dict[str, Object], then: dict[str, Object]) -> None:
    kept = Neighbours(first.values())
    standing: dict[str, Object] = dict(first)
    for key in first:
        if key not in then:
            kept.note(key, None)
            del standing[key]
    for key, one in then.items():
        kept.note(key, one)
        standing[key] = one
    changed: dict[str, Object | None] = {"Network/n1": None, "Machine/pc1": None}
    assert kept.around(changed, standing) == Neighbours(standing.values()).around(changed, standing)


def test_a_machine_concerns_few_of_many() -> None:
    many = {one.key: one for one in [_image(1), _network(1, 0, 1), *(_machine(n, 1, None, None) for n in range(100, 400))]}
    distinct: dict[str, Object] = {}
    for key, one in many.items():
        if isinstance(one, Machine):
            number = int(key.removeprefix("Machine/pc"))
            spec = {"macs": [f"52:54:00:00:{number >> 8:02x}:{number & 255:02x}"]}
            distinct[key] = Machine.model_validate({"metadata": {"name": one.name}, "spec": spec})
        else:
            distinct[key] = one
    around = Neighbours(distinct.values()).around({"Machine/pc200": distinct["Machine/pc200"]}, distinct)
    assert [one.key for one in around] == ["Network/n1", "Machine/pc200"]
