"""Which worker runs which files: the boot servers of the lab last, on as many workers as there are processors for them.

A boot server keeps one processor busy, and so there are two at a time. Other tests wait for servers, disks and clocks
now and then: a third worker takes files of theirs meanwhile, and ends when only the lab is left.
"""

import pytest
from xdist.remote import Producer
from xdist.scheduler.loadfile import LoadFileScheduling
from xdist.workermanage import WorkerController

LAB = "tests/lab/"
LABS = 2


class Distribution(LoadFileScheduling):  # type: ignore[misc]
    """By file, as ``--dist loadfile``; but the lab's go to no more than ``LABS`` workers."""

    def __init__(self, config: pytest.Config, log: Producer) -> None:
        super().__init__(config, log)
        self._labs: set[WorkerController] = set()

    def _assign_work_unit(self, node: WorkerController) -> None:
        if next(iter(self.workqueue)).startswith(LAB):
            if node not in self._labs and len(self._labs) == LABS:
                node.shutdown()
                return
            self._labs.add(node)
        super()._assign_work_unit(node)
