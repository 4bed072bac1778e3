"""JSON that is nested as deep as can just be read is refused as what is nested deeper, never with a 500."""

import sys

import pytest

from api import bodies
from api.errors import Malformed
from manifests.load import Invalid
from tests.contracts.stores import machine


def nested(depth: int) -> bytes:
    return ('{"a":' * depth + "1" + "}" * depth).encode()


@pytest.mark.parametrize("frames", [0, 37, 100])
def test_no_depth_fails_otherwise_than_by_a_refusal(frames: int) -> None:
    """At each depth around that at which each step gives up; ``frames`` of callers are in the way."""

    def patch(left: int, depth: int) -> None:
        if left:
            patch(left - 1, depth)
        else:
            bodies.patched(machine(), {"spec": bodies.parse_json(nested(depth))})

    ends = set()
    for depth in range(sys.getrecursionlimit() - 300, sys.getrecursionlimit() + 10):
        with pytest.raises((Malformed, Invalid)) as refused:
            patch(frames, depth)
        ends.add(refused.type)
    assert ends == {Malformed, Invalid}
