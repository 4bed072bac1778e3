"""Starts the controller and kills it, again and again, at random moments while commits come in.

The programs are loaded once: each controller is a fork of this process, so that a life lasts as long as its work does
and not as long as Python takes to start. Arguments come as JSON on standard input: ``{seed, streams, repository}``;
``streams`` are commits for git fast-import, one a life, which are all made beforehand: what comes in during a life is
the branch that moves to one, as git moves it. The first life is killed once it has looked at everything; the others at
any moment up to four fifths later, by when they are making what they have read of. Prints one JSON object at the end.
"""

import gc
import importlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

LOG = Path("/lab/disk/killed.log")
LOADED = (
    "api.cli.daemon",
    "controller.bootstrap.daemon",
    "aiosqlite",
    "anyio._backends._asyncio",
    "uvloop",
    "api.loop",
    "api.version",
)


def live() -> None:
    """One controller; returns only if it ends by itself."""
    from api.cli.daemon import controller

    log = os.open(LOG, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.setsid()
    controller()


def begin() -> int:
    child = os.fork()
    if child == 0:
        try:
            live()
        finally:
            os._exit(3)
    return child


def kill(child: int) -> bool:
    """Whether it was we who ended it."""
    os.kill(child, signal.SIGKILL)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


def commits(repository: str, streams: list[str]) -> list[str]:
    """Their shas."""
    git = ["git", f"--git-dir={repository}"]
    rooms = [one.replace("refs/heads/main", f"refs/rooms/{number:04}", 1) for number, one in enumerate(streams)]
    subprocess.run([*git, "fast-import", "--quiet", "--date-format=now"], input="".join(rooms).encode(), check=True)
    asked = [*git, "for-each-ref", "--format=%(objectname)", "refs/rooms"]
    return subprocess.run(asked, check=True, capture_output=True, text=True).stdout.split()


def commit(repository: str, sha: str) -> None:
    lock = Path(repository, "refs/heads/main.lock")
    lock.write_text(f"{sha}\n")
    lock.rename(lock.with_suffix(""))


def until_it_has_looked() -> float:
    """Seconds from the start of a controller until it has looked at its host and at its source, whose reading it logs."""
    LOG.write_text("")
    began = time.monotonic()
    child = begin()
    try:
        while "source read" not in LOG.read_text():
            assert time.monotonic() - began < 60, LOG.read_text()
            time.sleep(0.02)
        return time.monotonic() - began
    finally:
        kill(child)


def main() -> None:
    asked = json.load(sys.stdin)
    dice = random.Random(asked["seed"])
    for name in LOADED:
        importlib.import_module(name)
    shas = commits(asked["repository"], asked["streams"])
    gc.collect()
    gc.freeze()  # or each fork copies all of it at its first collection, which takes longer here than its work
    longest = 1.8 * until_it_has_looked()
    ended = []
    for life, sha in enumerate(shas):
        child = begin()
        moment = dice.uniform(0.0, longest)
        if dice.random() < 0.6:
            before = dice.uniform(0.0, moment)
            time.sleep(before)
            commit(asked["repository"], sha)
            moment -= before
        time.sleep(moment)
        if not kill(child):
            ended.append(life)
    text = LOG.read_text()
    told = {"kills": len(shas) - len(ended), "ended_by_themselves": ended, "longest": longest}
    print(json.dumps(told | {"passes": text.count('"event":"pass"'), "read": text.count("source read")}))


if __name__ == "__main__":
    main()
