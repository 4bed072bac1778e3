"""What the machine was like while figures were taken: a host that gives its processors to others makes them worse."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_FIELDS = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal")  # proc_stat(5), of all processors


@contextmanager
def told() -> Iterator[None]:
    before = _spent()
    yield
    spent = {name: ended - began for (name, began), ended in zip(before.items(), _spent().values(), strict=True)}
    whole = sum(spent.values()) or 1
    stolen, idle = (100 * spent[name] / whole for name in ("steal", "idle"))
    print(
        f"of {os.cpu_count()} processors' time, {stolen:.0f} % was stolen by the host for others, and {idle:.0f} % was idle"
    )


def _spent() -> dict[str, int]:
    words = Path("/proc/stat").read_text().partition("\n")[0].split()
    return dict(zip(_FIELDS, map(int, words[1:]), strict=False))
