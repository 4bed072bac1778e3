"""``python -m tests.lab demo|up``: GGnet at work on real parts, on this machine, leaving nothing behind.

demo    commits manifests, boots a PC with no disk from them, shows that a second pass does nothing; 0 only if it booted
up      the same server, until Ctrl-C, with its API on 127.0.0.1; --port picks the port
"""

import argparse
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from tests.lab.daemon import PORT
from tests.lab.host import HERE, obstacles
from tests.lab.lab import Lab
from tests.lab.pc import NotSeen
from tests.lab.stage import Stage

EXAMPLES = HERE.parents[1] / "manifests" / "examples"
PC, MAC = "pc07", "52:54:00:00:00:07"


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code: 0 done, 1 it did not work, 3 the lab cannot run here, 130 and 143 when it was ended by a signal."""
    parser = argparse.ArgumentParser(
        "python -m tests.lab", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    verbs = parser.add_subparsers(dest="verb", required=True)
    verbs.add_parser("demo", help="boot a PC with no disk from committed manifests")
    verbs.add_parser("up", help="stay up until Ctrl-C").add_argument("--port", type=int, default=0)
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
            _serve(lab, stage)
            if asked.verb == "demo":
                _demo(lab, stage)
            else:
                _stay(lab, stage, asked.port)
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


def _serve(lab: Lab, stage: Stage) -> None:
    """The example manifests are committed, their images lie in the import folder, the daemon runs."""
    stage.begin("the repository: somebody commits the example manifests")
    lab.image("demo.raw")
    lab.repository.commit(
        {path.name: path.read_text() for path in sorted(EXAMPLES.glob("*.yaml"))}, "The room and who runs what"
    )
    stage.begin("ggnet up, on the boot server")
    lab.daemon.start()


def _show(lab: Lab, stage: Stage, *arguments: str) -> str:
    stage.command(" ".join(("ggnet", *arguments)))
    result = lab.daemon.ggnet(*arguments)
    stage.text(result.out + result.err)
    return result.check()


def _demo(lab: Lab, stage: Stage) -> None:
    _show(lab, stage, "plan")
    _show(lab, stage, "wait", f"session/{PC}", "--for", "phase=Ready", "--timeout", "30s")
    stage.text("")
    stage.begin(f"{PC} is switched on: a BIOS PC with no disk, and this is its console")
    pc = lab.pc(PC, MAC)
    booted = pc.boot(shown=stage.console, timeout=120)
    if booted != MAC:
        raise NotSeen(f"{PC} booted with the identity {booted!r}, not {MAC}")
    pc.wait("NOTE-IS")
    _show(lab, stage, "wait", f"session/{PC}", "--for", "phase=Active", "--timeout", "30s")
    _show(lab, stage, "get", "sessions")
    stage.text("")
    stage.begin("a second pass")
    _show(lab, stage, "plan", "--detailed-exitcode")
    stage.good(f"{PC} booted from the commit, and there is nothing left to do.")


def _stay(lab: Lab, stage: Stage, port: int) -> None:
    token = lab.io / "admin.token"
    token.touch(mode=0o600)
    token.write_text(lab.daemon.token)
    url = f"http://127.0.0.1:{lab.port(PORT, port)}"
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
