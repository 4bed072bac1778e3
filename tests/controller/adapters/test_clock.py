"""The clock of the machine."""

from datetime import UTC, timedelta

import pytest

from controller.adapters.clock import SystemClock
from controller.ports.clock import Clock


@pytest.mark.anyio
async def test_time_is_utc_and_passes_while_it_sleeps() -> None:
    clock: Clock = SystemClock()
    before, start = clock.now(), clock.monotonic()
    await clock.sleep(0.02)
    assert before.tzinfo is UTC
    assert 0.02 <= clock.monotonic() - start < 10
    assert timedelta(0) < clock.now() - before < timedelta(seconds=10)
