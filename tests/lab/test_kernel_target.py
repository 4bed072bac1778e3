"""The target's contract suite, and its witnesses, on the guest's real kernel."""

from pathlib import Path

import pytest

from tests.lab.lab import Lab

pytestmark = [pytest.mark.lab, pytest.mark.timeout(400)]
ROOT = Path(__file__).parents[2]


def test_the_real_kernel_keeps_the_contract_that_the_fake_one_keeps(bare: Lab) -> None:
    suite = ["tests/contracts/test_lio.py", "tests/contracts/test_lio_witnesses.py"]
    python = [str(ROOT / ".venv/bin/python"), "-B", "-m", "pytest", "-p", "no:cacheprovider", "--basetemp=/run/pytest"]
    done = bare.run([*python, "-rA", *suite], env={"PYTHONPATH": str(ROOT)}, cwd=str(ROOT), timeout=300)
    assert done.code == 0, done.out[-4000:] + done.err[-2000:]
    assert "[kernel" in done.out, "the kernel was not among what was tested"
    assert "SKIPPED" not in done.out
