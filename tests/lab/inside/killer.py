"""Starts the controller and kills it, again and again, at random moments while commits come in.

The programs are loaded once: each controller is a fork of this process, so that a life lasts as long as its work does
and not as long as Python takes to start. Arguments come as JSON on standard input: ``{seed, kills, longest, streams,
repository}``; ``streams`` are commits for git fast-import. Prints one JSON object at the end: how far each life got.
"""

import json
import os
import random
import signal
import subprocess
import sys
import time


def live() -> None:
    """One controller; returns only if it ends by itself."""
    from api.cli.main import main

    sys.argv = ["ggnet", "controller"]
    log = os.open("/lab/io/killed.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.setsid()
    main()


def commit(repository: str, stream: str) -> None:
    argv = ["git", f"--git-dir={repository}", "fast-import", "--quiet", "--force", "--date-format=now"]
    subprocess.run(argv, input=stream.encode(), check=True)


def main() -> None:
    asked = json.load(sys.stdin)
    dice = random.Random(asked["seed"])
    import api.cli.main  # noqa: F401

    ended = []
    for life in range(asked["kills"]):
        if dice.random() < 0.5:
            commit(asked["repository"], dice.choice(asked["streams"]))
        child = os.fork()
        if child == 0:
            live()
            os._exit(3)
        moment = dice.uniform(0.0, asked["longest"])
        if dice.random() < 0.5:
            time.sleep(moment / 2)
            commit(asked["repository"], dice.choice(asked["streams"]))
            moment /= 2
        time.sleep(moment)
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        if not os.WIFSIGNALED(status):
            ended.append([life, os.waitstatus_to_exitcode(status)])
    print(json.dumps({"ended_by_themselves": ended}))


if __name__ == "__main__":
    main()
