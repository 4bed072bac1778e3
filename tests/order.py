"""In which order the tests run: first what waits for servers, disks and clocks, then the lab, then what only computes."""

import pytest

LAB = "tests/lab/"
COMPUTE = ("tests/crash/", "tests/controller/core/", "tests/manifests/")

# The longest first, so that the workers end at the same time; and early those that need a boot server without GGnet: while
# there is none, none has to be stopped for them.
_LABS = (
    "test_kill.py",
    "test_linux.py",
    "test_kernel_target.py",
    "test_lab_itself.py",
    "test_drift.py",
    "test_live.py",
    "test_quiet.py",
    "test_bad_files.py",
    "test_disks.py",
    "test_promote.py",
    "test_commit.py",
    "test_chap.py",
    "test_several_disks.py",
    "test_source.py",
    "test_bad_images.py",
    "test_withdraw.py",
    "test_boot.py",
    "test_dhcp.py",
)


def place(item: pytest.Item) -> int:
    """A file of the lab that is not named comes first of them."""
    if item.nodeid.startswith(COMPUTE):
        return len(_LABS)
    if not item.nodeid.startswith(LAB):
        return -2
    return _LABS.index(item.path.name) if item.path.name in _LABS else -1
