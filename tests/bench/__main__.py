"""``make bench``: figures that print their floor and their peer; ``--quick`` in less than a minute."""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.bench.parsing import parse_rows
from tests.bench.planning import plan_rows
from tests.bench.rows import Row, save, show


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="1,000 machines alone")
    parser.add_argument("--json", type=Path, metavar="FILE", help="every sample, as JSON")
    asked = parser.parse_args()
    rows = []
    for row in _rows((1_000,) if asked.quick else (1_000, 10_000)):
        print(".", end="", file=sys.stderr, flush=True)
        rows.append(row)
    print(file=sys.stderr)
    show(rows)
    if asked.json:
        save(rows, asked.json)
    return 0


def _rows(sizes: tuple[int, ...]) -> Iterator[Row]:
    for count in sizes:
        yield from parse_rows(count, 5)
        yield from plan_rows(count, 5)


if __name__ == "__main__":
    sys.exit(main())
