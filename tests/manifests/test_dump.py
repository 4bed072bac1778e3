"""Objects to YAML and back (P15)."""

from datetime import UTC, datetime

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from manifests.dump import dump, normalise
from manifests.kinds import KINDS, Object
from manifests.load import load
from manifests.machine import Machine, MachineStatus
from manifests.meta import Condition
from tests import strategies
from tests.manifests.sets import machine, objects

_UTC = datetime(2026, 1, 1, tzinfo=UTC)


@given(strategies.objects)
def test_what_is_dumped_loads_as_itself(one: Object) -> None:
    assert load({"m": dump([one]).encode()}).objects == (one,)


@settings(max_examples=40)
@given(strategies.sites())
def test_a_whole_site_loads_as_itself_in_its_order(site: tuple[Object, ...]) -> None:
    assert load({"m": dump(site).encode()}).objects == site


@given(strategies.objects)
def test_another_reader_of_yaml_1_1_reads_the_same_values(one: Object) -> None:
    assert KINDS[one.kind].model_validate(yaml.safe_load(dump([one]))) == one


@given(strategies.objects)
def test_what_is_normal_stays_as_it_is(one: Object) -> None:
    assert normalise(one) == one
    assert dump(load({"m": dump([one]).encode()}).objects) == dump([one])


def served(one: Machine) -> Machine:
    ready = Condition(type="Ready", status="True", reason="Published", last_transition_time=_UTC, observed_generation=3)
    server = {
        "uid": "u",
        "generation": 3,
        "resource_version": 12,
        "created_at": _UTC,
        "managed_by": "git:x",
        "deleted_at": _UTC,
    }
    times = {"created_at": _UTC, "deleted_at": _UTC}
    status = MachineStatus(observed_generation=3, phase="Active", conditions=(ready, ready), session="pc07")
    return one.model_copy(update={"metadata": one.metadata.model_copy(update=server | times), "status": status})


@given(strategies.machines())
def test_what_get_answers_can_be_applied_again(one: Machine) -> None:
    loaded = load({"m": dump([served(one)]).encode()})
    assert loaded.objects == (one,) == (normalise(served(one)),)
    assert loaded.expect == {one.key: 12}
    assert normalise(normalise(served(one))) == normalise(served(one))


def test_a_machine_is_written_as_a_person_would() -> None:
    (one,) = objects(machine("{macs: [5254.0000.0007], address: 10.77.0.57}", "pc07, labels: {row: '7', room: main}"))
    assert isinstance(one, Machine)
    assert (
        dump([served(one)])
        == """\
---
apiVersion: ggnet/v1
kind: Machine
metadata:
  name: pc07
  labels:
    row: "7"
    room: main
  uid: u
  generation: 3
  resourceVersion: 12
  createdAt: "2026-01-01T00:00:00Z"
  managedBy: "git:x"
  deletedAt: "2026-01-01T00:00:00Z"
spec:
  macs: ["52:54:00:00:00:07"]
  address: 10.77.0.57
  firmware: auto
  enabled: true
status:
  observedGeneration: 3
  phase: Active
  conditions:
    - type: Ready
      status: "True"
      reason: Published
      message: ""
      lastTransitionTime: "2026-01-01T00:00:00Z"
      observedGeneration: 3
    - type: Ready
      status: "True"
      reason: Published
      message: ""
      lastTransitionTime: "2026-01-01T00:00:00Z"
      observedGeneration: 3
  session: pc07
"""
    )


@given(st.text(strategies.shown, max_size=30) | st.sampled_from(["~", "null", "Yes", "1e3", "- a", "a: b", "#"]))
def test_any_annotation_that_may_be_kept_survives(text: str) -> None:
    (plain,) = objects(machine("{macs: [525400000007]}"))
    one = plain.model_copy(update={"metadata": plain.metadata.model_copy(update={"annotations": {f"x{text}": text}})})
    assert load({"m": dump([one]).encode()}).objects == (one,)


@pytest.mark.parametrize("value", ["a\nb", "\ttab", '"', "\\", "a\n", "'", "{}", "*a", "&a", "!a", "%a", "@", "`"])
def test_marks_of_yaml_in_a_value_are_only_text(value: str) -> None:
    (plain,) = objects(machine("{macs: [525400000007]}"))
    one = plain.model_copy(update={"metadata": plain.metadata.model_copy(update={"annotations": {"a": value}})})
    assert load({"m": dump([one]).encode()}).objects == (one,)
