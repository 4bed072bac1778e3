"""Which worker runs which files: the boot servers of the lab late, on as many workers as there are processors for them.

A boot server keeps one processor busy, and so there are two at a time. Other tests wait for servers, disks and clocks
now and then: a third worker takes files of theirs meanwhile, and while the lab is at work those that only compute.
"""

import pytest
from xdist.remote import Producer
from xdist.scheduler.loadfile import LoadFileScheduling
from xdist.workermanage import WorkerController

from tests.order import COMPUTE, LAB

LABS = 2


class Distribution(LoadFileScheduling):  # type: ignore[misc]
    """By file, as ``--dist loadfile``; but the lab's go to no more than ``LABS`` workers."""

    def __init__(self, config: pytest.Config, log: Producer) -> None:
        super().__init__(config, log)
        self._labs: set[WorkerController] = set()

    def _assign_work_unit(self, node: WorkerController) -> None:
        if next(iter(self.workqueue)).startswith(LAB):
            if node in self._labs or len(self._labs) < LABS:
                self._labs.add(node)
            elif (beside := next((name for name in self.workqueue if name.startswith(COMPUTE)), None)) is not None:
                self.workqueue.move_to_end(beside, last=False)
            else:
                node.shutdown()
                return
        super()._assign_work_unit(node)
