"""``python -m tests.lab demo|up``: GGnet at work on real parts, on this machine, leaving nothing behind.

demo    commits manifests, boots a PC with no disk from them, shows that a second pass does nothing; 0 only if it booted
up      the same server, until Ctrl-C, with its API on 127.0.0.1
"""

import argparse
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from tests.lab.daemon import PORT
from tests.lab.host import HERE, obstacles
from tests.lab.lab import Lab
from tests.lab.pc import NotSeen
from tests.lab.stage import Stage
from tests.lab.wire import environment

EXAMPLES = HERE.parents[1] / "manifests" / "examples"
PC, MAC = "pc07", "52:54:00:00:00:07"


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code: 0 done, 1 it did not work, 3 the lab cannot run here, 130 and 143 when it was ended by a signal."""
    parser = argparse.ArgumentParser(
        "python -m tests.lab", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    verbs = parser.add_subparsers(dest="verb", required=True)
    verbs.add_parser("demo", help="boot a PC with no disk from committed manifests")
    verbs.add_parser("up", help="stay up until Ctrl-C")
    parser.add_argument("--port", type=int, default=0, help="of the API on 127.0.0.1 (default: any that is free)")
    asked = parser.parse_args(arguments)
    stage = Stage()
    if reasons := obstacles():
        for reason in reasons:
            stage.bad(f"lab: not available: {reason}")
        stage.text("Without it: GGNET_STATE_DIR=.lab/state GGNET_MANIFESTS=manifests/examples .venv/bin/ggnet up --simulate")
        return 3
    signal.signal(signal.SIGTERM, _end)
    try:
        with tempfile.TemporaryDirectory(prefix="ggnet-lab-") as folder, Lab(Path(folder) / "lab", stage.begin) as lab:
            url = _serve(lab, stage, asked.port)
            if asked.verb == "demo":
                _demo(lab, stage, url)
            else:
                _stay(lab, stage, url)
    except (AssertionError, OSError, RuntimeError) as error:
        stage.bad(f"it did not work: {error}")
        return 1
    except KeyboardInterrupt:
        stage.text("")
        stage.begin("ended; nothing is left behind")
        return 0 if asked.verb == "up" else 130
    return 0


def _end(number: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


def _serve(lab: Lab, stage: Stage, port: int) -> str:
    """The daemon runs on a repository without manifests, the examples' image lies ready. The API's URL on this machine."""
    lab.image("demo.raw")
    lab.repository.commit({"README": "Who runs what in this room.\n"}, "Begin")
    stage.begin("ggnet up, on the boot server")
    lab.daemon.start()
    return f"http://127.0.0.1:{lab.port(PORT, port)}"


def _commit(lab: Lab, stage: Stage) -> None:
    files = {path.name: path.read_text() for path in sorted(EXAMPLES.glob("*.yaml"))}
    stage.command("git commit --message 'The room, and who runs what' && git push")
    stage.text(lab.repository.commit(files, "The room, and who runs what"))


def _taken(lab: Lab, url: str, kind_name: str, seconds: float = 30) -> None:
    """Until the daemon has read the commit: ``ggnet wait`` refuses a name that nobody has declared. RuntimeError."""
    request = urllib.request.Request(f"{url}/api/v1/{kind_name}", headers={"Authorization": f"Bearer {lab.daemon.token}"})
    deadline = time.monotonic() + seconds
    while True:
        try:
            urllib.request.urlopen(request, timeout=10).close()
        except urllib.error.HTTPError as refusal:
            refusal.close()
            if refusal.code != 404 or time.monotonic() > deadline:
                raise RuntimeError(f"the commit was not taken within {seconds:.0f} s (HTTP {refusal.code})") from refusal
            time.sleep(0.1)
        else:
            return


def _show(lab: Lab, stage: Stage, url: str, *arguments: str) -> None:
    """Runs the command on this machine, as a person at a desk would, and lets its output through."""
    stage.command(" ".join(("ggnet", *arguments)))
    own = environment(GGNET_URL=url, GGNET_TOKEN=lab.daemon.token)
    done = subprocess.run([lab.io / "ggnet", *arguments], env=own, cwd=EXAMPLES.parents[1], check=False, timeout=120)
    if done.returncode:
        raise RuntimeError(f"ggnet {' '.join(arguments)} ended with {done.returncode}")


def _demo(lab: Lab, stage: Stage, url: str) -> None:
    _show(lab, stage, url, "plan", "-f", str(EXAMPLES.relative_to(EXAMPLES.parents[1])))
    _commit(lab, stage)
    _taken(lab, url, f"sessions/{PC}")
    _show(lab, stage, url, "wait", f"session/{PC}", "--for", "phase=Ready", "--timeout", "60s")
    stage.text("")
    stage.begin(f"{PC} is switched on: a BIOS PC with no disk, and this is its console")
    pc = lab.pc(PC, MAC)
    booted = pc.boot(shown=stage.console, timeout=120)
    if booted != MAC:
        raise NotSeen(f"{PC} booted with the identity {booted!r}, not {MAC}")
    pc.wait("NOTE-IS")
    _show(lab, stage, url, "wait", f"session/{PC}", "--for", "phase=Active", "--timeout", "60s")
    _show(lab, stage, url, "get", "sessions")
    stage.text("")
    stage.begin("a second pass")
    _show(lab, stage, url, "plan", "--detailed-exitcode")
    stage.good(f"{PC} booted from the commit, and there is nothing left to do.")


def _stay(lab: Lab, stage: Stage, url: str) -> None:
    _commit(lab, stage)
    token = lab.io / "admin.token"
    token.touch(mode=0o600)
    token.write_text(lab.daemon.token)
    stage.good(f"The API: {url}/docs")
    stage.text(f"The token: {token}")
    stage.text(f"  GGNET_URL={url} GGNET_TOKEN=$(cat {token}) .venv/bin/ggnet get sessions")
    stage.text(f"The manifests: git clone {lab.io / 'manifests.git'}")
    stage.text("Ctrl-C ends it.")
    while lab.daemon.alive():
        time.sleep(2)
    raise RuntimeError(f"the daemon ended: {lab.daemon.log.read_text(errors='replace')[-2000:]}")


if __name__ == "__main__":
    sys.exit(main())
