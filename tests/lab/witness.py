"""Independent eyes on the boot server: targetcli and rtslib tell what the kernel holds, inotify tells who wrote."""

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.lab.site import BACKSTORES, Site, initiator, target, until
from tests.lab.wire import end

INSIDE = Path(__file__).parent / "inside"
PYTHON = "/usr/bin/python3 -I -S"
_DUMP = "import json, rtslib_fb; print(json.dumps(rtslib_fb.RTSRoot().dump()))"


def targetcli(site: Site, *commands: str) -> str:
    """These commands in one run of targetcli, as an administrator at its prompt; what it printed."""
    return site.run("targetcli", stdin="\n".join(commands) + "\n", timeout=90).check()


def saveconfig(site: Site) -> Any:
    """What ``targetcli saveconfig`` writes down."""
    site.run("rm -f /run/saved.json; targetcli saveconfig /run/saved.json", timeout=90).check()
    return json.loads(site.read("/run/saved.json"))


def rtslib_dump(site: Site) -> Any:
    return json.loads(site.run(["/usr/bin/python3", "-c", _DUMP], timeout=90).check())


def exported(config: Any) -> dict[str, dict[str, str]]:
    """A saveconfig as flat facts by target: what is exported, from which file, to whom, enabled or not."""
    stores = {f"/backstores/{one['plugin']}/{one['name']}": one for one in config["storage_objects"]}
    return {one["wwn"]: _target(one, stores) for one in config["targets"] if one["fabric"] == "iscsi"}


def _target(target: Any, stores: Mapping[str, Any]) -> dict[str, str]:
    found: dict[str, str] = {}
    for tpg in target["tpgs"]:
        at = f"tpg{tpg['tag']}"
        found[f"{at}/enable"] = str(int(tpg["enable"]))
        found |= {f"{at}/{name}": str(tpg["attributes"][name]) for name in ("authentication", "generate_node_acls")}
        for portal in tpg["portals"]:
            found[f"{at}/portal/{portal['ip_address']}:{portal['port']}"] = "1"
        for lun in tpg["luns"]:
            store = stores[lun["storage_object"]]
            found[f"{at}/lun/{lun['index']}"] = store["name"]
            found[f"{at}/lun/{lun['index']}/file"] = store["dev"]
            found[f"{at}/lun/{lun['index']}/size"] = str(store["size"])
        for acl in tpg["node_acls"]:
            for lun in acl["mapped_luns"]:
                readonly = str(int(lun["write_protect"]))
                found[f"{at}/acl/{acl['node_wwn']}/lun/{lun['index']}"] = f"lun {lun['tpg_lun']}, write_protect {readonly}"
    return found


def stores(config: Any) -> list[str]:
    return sorted(f"{one['plugin']}/{one['name']}" for one in config["storage_objects"])


def without(config: Any, ours: Iterable[str]) -> Any:
    """A saveconfig without these targets and without backstores of ours."""
    mine = set(ours)
    return {
        "storage_objects": [one for one in config["storage_objects"] if not one["name"].startswith("ggnet-")],
        "targets": [one for one in config["targets"] if one["wwn"] not in mine],
    }


class Background:
    """A program of ``inside`` that runs on the server while a block of the test does something; its lines as they come."""

    def __init__(self, site: Site, program: str, arguments: Iterable[str], seconds: float = 120) -> None:
        words = " ".join([str(seconds), *arguments])
        self._site, self._name = site, f"{program}.{time.monotonic_ns()}"
        self._command = f"echo $$ >/run/{self._name}; exec nice -n 5 {PYTHON} {INSIDE}/{program}.py {words}"
        self._text, self._failed = "", ""
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        done = self._site.lab.run(self._command, timeout=600, heard=self._hear)
        self._failed = done.err

    def _hear(self, text: str) -> None:
        self._text += text

    @property
    def lines(self) -> list[str]:
        return self._text.split("\n")[:-1]

    def begin(self, sign: str) -> None:
        """Runs it, until it has printed this line. AssertionError with what it complained of."""
        self._thread.start()
        until(f"{self._name} watches {self._failed}", lambda: sign in self.lines or self._failed, 20, 0.02)
        assert not self._failed, self._failed

    def end(self) -> None:
        self._site.run(f"kill $(cat /run/{self._name})")
        self._thread.join(20)
        assert "Traceback" not in self._failed, self._failed


class Touched:
    """``with Touched(site, folders) as touched`` … then ``touched.lines``: each write below the folders."""

    def __init__(self, site: Site, folders: Iterable[str]) -> None:
        self._program = Background(site, "touched", folders)

    def __enter__(self) -> Self:
        self._program.begin("")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._program.end()

    @property
    def lines(self) -> list[str]:
        return [line for line in self._program.lines if line]


@dataclass(frozen=True, slots=True)
class Change:
    """``at`` in seconds of the server's monotonic clock; ``state`` as told by inside/changes.py."""

    at: float
    path: str
    state: Any


class Changes:
    """``with Changes(site, paths) as seen``: the states of these paths over time."""

    def __init__(self, site: Site, *paths: str) -> None:
        self._program = Background(site, "changes", paths)

    def __enter__(self) -> Self:
        self._program.begin("{}")
        self._first = self._program.lines.index("{}")
        self.before = {one.path: one.state for one in map(_change, self._program.lines[: self._first])}
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._program.end()

    @property
    def all(self) -> list[Change]:
        return [_change(line) for line in self._program.lines[self._first + 1 :]]

    def now(self) -> dict[str, Any]:
        return {**self.before, **{one.path: one.state for one in self.all}}

    def repaired(self) -> float | None:
        """Seconds from the first change until all was as before; None while something is not, or nothing has changed."""
        seen = self.all
        return seen[-1].at - seen[0].at if seen and self.now() == self.before else None

    def gone(self) -> list[str]:
        """The paths that are no more, in the order in which they went."""
        last = {one.path: one for one in self.all}
        return [one.path for one in sorted(last.values(), key=lambda one: one.at) if one.state is None]


def _change(line: str) -> Change:
    told = json.loads(line)
    return Change(told["at"], told["path"], told["state"])


def kernel_tree(site: Site, *folders: str) -> str:
    """Every name, link and readable attribute below these folders of configfs (no counters)."""
    places = " ".join(folders)
    return site.run(
        f"find {places} -path '*statistics' -prune -o -printf '%y %p %l\\n' | sort;"
        f"find {places} -path '*statistics' -prune -o -type f -perm -u=r ! -name info ! -name 'dynamic_sessions' -print"
        " | sort | xargs grep -H . 2>/dev/null"
    ).out


def store_folder(name: str) -> str:
    return f"{BACKSTORES}/*/{name}"


class Initiators:
    """A program on the wire that holds sessions open, until the block ends."""

    def __init__(self, site: Site, *words: str, told: str = "") -> None:
        program = [sys.executable, "-I", "-S", str(INSIDE.parent / "initiator.py")]
        self._command = site.lab.wire.command([*program, "10.77.0.1:3260", *words])
        self._told = told.encode()
        self._lines: list[str] = []

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        assert self._process.stdin is not None
        self._process.stdin.write(self._told)
        self._process.stdin.close()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        until("the initiators read their disks", lambda: "READ" in self._lines or self._ended())
        assert not self._ended(), self._lines
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        end(self._process)
        self._reader.join()
        assert self._process.stdout is not None
        self._process.stdout.close()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.append(line.decode().strip())

    def _ended(self) -> bool:
        return self._process.poll() is not None

    def still_reads(self) -> bool:
        """Waits for two more blocks (of a room: rounds); False when one was cut."""
        wanted = len(self._lines) + 2
        until("the initiator reads on, or was cut", lambda: len(self._lines) >= wanted or self._ended())
        return not self._ended() and self._lines[-1] == "READ"


class LoggedIn(Initiators):
    """``with LoggedIn(site, "pc1") as disk``: an initiator that reads pc1's disk, in pc1's name, until the block ends.

    ``secret``: the user name and the password that it knows.
    """

    def __init__(self, site: Site, machine: str, *secret: str) -> None:
        super().__init__(site, target(machine), initiator(machine), *secret)


class AtWork(Initiators):
    """``with AtWork(site, machines) as room``: so many PCs, each of which has written its name to its disk and reads it."""

    def __init__(self, site: Site, machines: Iterable[str]) -> None:
        super().__init__(site, told="".join(f"{target(name)} {initiator(name)} {name}\n" for name in machines))

    @property
    def found(self) -> dict[str, str]:
        """Mark and note of each disk as they were before: ``v1 pc02``."""
        told = (line.split(" ", 2) for line in self._lines if line.startswith("HAS "))
        return {words[1].rpartition(":")[2].partition(".")[0]: words[2].strip() for words in told}
