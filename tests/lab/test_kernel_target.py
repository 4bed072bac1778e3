"""The contract suites of the target and of snapshots, and their witnesses, on the guest's real kernel."""

from pathlib import Path

import pytest

from tests.lab.lab import Lab

pytestmark = [pytest.mark.lab, pytest.mark.timeout(400)]
ROOT = Path(__file__).parents[2]
SUITES = ("lio", "lio_luns", "lio_chap", "lio_witnesses", "lio_block", "pool", "pool_versions", "pool_snapshots")


def test_the_real_kernel_keeps_the_contract_that_the_fake_one_keeps(bare: Lab) -> None:
    suite = [f"tests/contracts/test_{name}.py" for name in SUITES]
    python = [str(ROOT / ".venv/bin/python"), "-B", "-m", "pytest", "-p", "no:cacheprovider", "--basetemp=/run/pytest"]
    done = bare.run([*python, "-vv", *suite], env={"PYTHONPATH": str(ROOT)}, cwd=str(ROOT), timeout=300)
    assert done.code == 0, done.out[-8000:] + done.err[-2000:]
    for real in ("[kernel", "[snapshot"):
        assert real in done.out, f"{real} was not among what was tested"
    assert "SKIPPED" not in done.out
