"""How much longer eight times as much takes."""

import gc
import time
from collections.abc import Callable
from typing import Any


def linear(what: Callable[[Any], object], made: Callable[[int], Any], count: int) -> bool:
    """Whether ``what(made(8 * count))`` takes eight times as long as ``what(made(count))``, and not sixty-four times.

    Processor time, without the search for garbage, which depends on all that other tests have left. A busy machine
    makes some pairs look worse than they are; the square of the number is never under the bound.
    """
    few, many = made(count), made(8 * count)

    def seconds(of: Any) -> float:
        gc.collect()
        gc.disable()
        try:
            start = time.process_time()
            what(of)
            return time.process_time() - start
        finally:
            gc.enable()

    return any(seconds(many) < 24 * max(seconds(few), 0.005) for _ in range(5))
