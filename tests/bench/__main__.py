"""``make bench``: figures that print their floor and their peer; ``--quick`` leaves out the largest."""

import argparse
import sys
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

from tests.bench import front
from tests.bench.changing import change_rows
from tests.bench.converting import convert_rows
from tests.bench.daemon import daemon_rows
from tests.bench.machine import told
from tests.bench.parsing import parse_rows
from tests.bench.planning import plan_rows
from tests.bench.rows import Row, save, show
from tests.bench.serving import dhcp_rows
from tests.bench.stand import stand
from tests.bench.sweeping import sweep_rows
from tests.bench.uploading import upload_rows
from tests.lab import bench as lab
from tests.lab.host import obstacles


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="1,000 machines alone")
    parser.add_argument("--machines", type=int, metavar="N", help="so many instead")
    parser.add_argument("--json", type=Path, metavar="FILE", help="every sample, as JSON")
    asked = parser.parse_args()
    rows = []
    sizes = (asked.machines,) if asked.machines else (1_000,) if asked.quick else (1_000, 10_000)
    with told():
        for row in chain(_rows(sizes), upload_rows(256 if asked.quick else 1024, 3)):
            print(" | ".join(row.cells()[:5]), file=sys.stderr, flush=True)
            rows.append(row)
    show(rows)
    if asked.json:
        save(rows, asked.json)
    front.show(quick=asked.quick)
    _lab(asked.quick)
    return 0


def _lab(quick: bool) -> None:
    """The rows that need a kernel of their own, where it can be had: they print their own table."""
    if quick:
        print("the lab's figures are left out by --quick: python -m tests.lab.bench")
    elif reasons := obstacles():
        print(f"no figures from the lab: {'; '.join(reasons)}")
    else:
        lab.main()


def _rows(sizes: tuple[int, ...]) -> Iterator[Row]:
    for count in sizes:
        many = count > 1_000
        yield from parse_rows(count, 3 if many else 5)
        yield from plan_rows(count, 3 if many else 5)
        with stand(count) as made:
            yield from sweep_rows(made, 3 if many else 5)
            yield from daemon_rows(made, 1 if many else 3)
            yield from dhcp_rows(made, 3 if many else 5)
            yield from change_rows(made, 20 if many else 50)
    yield from convert_rows(5)


if __name__ == "__main__":
    sys.exit(main())
