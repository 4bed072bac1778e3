"""Two programs that know the kernel's target from elsewhere agree with what we made. In the lab's guest only."""

import json
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from controller.core.desired import Target
from controller.core.steps import PublishTarget
from tests.contracts.lio_bench import DOORS, PORTAL, SIZE, Bench, bench_on

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif("kernel" not in DOORS, reason="no kernel target to test on here: tests/lab runs these in its guest"),
]
_DUMP = "import json, rtslib_fb; print(json.dumps(rtslib_fb.RTSRoot().dump()))"


@pytest.fixture
def kernel(tmp_path: Path) -> Iterator[Bench]:
    with bench_on("kernel", tmp_path) as made:
        yield made


def witness(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


async def neighbours(bench: Bench) -> list[Target]:
    """Three targets, two of which have their backstores in one HBA."""
    by_hba: dict[str, list[Target]] = defaultdict(list)
    for n in range(100):
        target = await bench.published(f"pc{n}")
        hba = bench.device(target).split("/")[1]
        by_hba[hba].append(target)
        if len(by_hba[hba]) == 2 and len(by_hba) > 1:
            break
    shared = next(pair for pair in by_hba.values() if len(pair) == 2)
    other = next(pair[0] for pair in by_hba.values() if len(pair) == 1)
    kept = sorted([*shared, other], key=lambda target: target.machine)
    for target in (target for group in by_hba.values() for target in group if target not in kept):
        await bench.withdraw(target)
    return kept


async def test_rtslib_dumps_exactly_what_was_published(kernel: Bench) -> None:
    wanted = await neighbours(kernel)
    dump: dict[str, Any] = json.loads(witness(sys.executable, "-W", "ignore", "-c", _DUMP))
    stores = {found["name"]: found for found in dump["storage_objects"]}
    assert set(stores) == {target.backstore for target in wanted}
    for target in wanted:
        store = stores[target.backstore]
        assert (store["dev"], store["size"], store["wwn"]) == (target.path, SIZE, target.serial)
        assert store["write_back"] is True
    assert sorted(found["wwn"] for found in dump["targets"]) == sorted(target.iqn for target in wanted)
    for found in dump["targets"]:
        target = next(target for target in wanted if target.iqn == found["wwn"])
        [group] = found["tpgs"]
        assert group["enable"] is True
        assert [lun["storage_object"] for lun in group["luns"]] == [f"/backstores/fileio/{target.backstore}"]
        [acl] = group["node_acls"]
        assert acl["node_wwn"] == target.initiator
        assert [(lun["index"], lun["tpg_lun"], lun["write_protect"]) for lun in acl["mapped_luns"]] == [(0, 0, False)]
        assert [f"{portal['ip_address']}:{portal['port']}" for portal in group["portals"]] == [PORTAL]


async def test_targetcli_lists_and_saves_what_was_published(kernel: Bench) -> None:
    wanted = await neighbours(kernel)
    listing = witness("targetcli", "ls")
    for target in wanted:
        assert f"fileio/{target.backstore} ({target.path})" in listing
        assert target.initiator in listing
    assert "Configuration saved" in witness("targetcli", "saveconfig")


async def test_what_targetcli_takes_away_is_put_back(kernel: Bench) -> None:
    [target, *_] = await neighbours(kernel)
    facts = await kernel.facts(target)
    for command in (
        ("/iscsi", "delete", target.iqn),
        (f"/iscsi/{target.iqn}/tpg1/luns", "delete", "0"),
        (f"/iscsi/{target.iqn}/tpg1/acls", "delete", target.initiator),
        (f"/iscsi/{target.iqn}/tpg1", "disable"),
    ):
        witness("targetcli", *command)
        assert await kernel.facts(target) != facts, command
        await kernel.lio.publish(PublishTarget(target))
        assert await kernel.facts(target) == facts, command
