"""The product on the lab's boot server: a git repository that people commit into, the daemon, and its doors.

Nothing here knows how the product works inside: it commits, asks the REST API and the command, looks, and waits.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import httpx

from tests.lab.documents import ROOM, Document, room, session, text
from tests.lab.guest import Result
from tests.lab.lab import Lab

ROOT = Path(__file__).parents[2]
REPOSITORY = "/lab/disk/site.git"
STATE = "/var/lib/ggnet"
POOL = f"{STATE}/pool"
IMPORTS = f"{POOL}/imports"
TFTP = "/srv/tftp"
INCLUDE = "/etc/dhcp/ggnet.conf"
ADMIN_CONF = "/etc/dhcp/dhcpd.conf"
TARGETS = "/sys/kernel/config/target/iscsi"
BACKSTORES = "/sys/kernel/config/target/core"
PREFIX = "iqn.2026-01.internal.ggnet:lab"
# The repository lies on the server's own disk, where a commit wakes the daemon (inotify); images next to their copies.
SETTINGS = {"GGNET_MANIFESTS": f"{REPOSITORY}#main", "GGNET_IMPORT_DIR": IMPORTS, "PYTHONDONTWRITEBYTECODE": "1"}
T = TypeVar("T")


def target(machine: str) -> str:
    return f"{PREFIX}:{machine}.os"


def initiator(machine: str) -> str:
    return f"{PREFIX}:client:{machine}"


def backstore(machine: str) -> str:
    return f"ggnet-{machine}-os"


def script(mac: str) -> str:
    return f"{TFTP}/ggnet/machines/{mac.replace(':', '-')}.ipxe"


def until(what: str, asked: Callable[[], T | None], seconds: float = 60, pause: float = 0.1) -> T:
    """The first answer that is not None, False or empty. AssertionError with ``what`` when none comes in time."""
    deadline = time.monotonic() + seconds
    while True:
        if answer := asked():
            return answer
        assert time.monotonic() < deadline, f"{what}: not within {seconds:.0f} s"
        time.sleep(pause)


class Site:
    """One boot server with GGnet on it. ``open`` before anything else; what a test leaves, ``reset`` takes away."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self._client: httpx.Client | None = None

    # --- the server -----------------------------------------------------------------------------------------------

    def open(self) -> None:
        """An empty repository, the golden image in the import folder, the daemon on a server that knew nothing of it."""
        if self.targets():  # what somebody else's tests have left
            self.lab.restart()
        self.run(f"rm -rf {STATE}/* {REPOSITORY} {TFTP}/ggnet && : >{INCLUDE} && mkdir -p {IMPORTS}").check()
        self.run(["git", "init", "--quiet", "--bare", "--initial-branch=main", REPOSITORY]).check()
        self.put_image("golden.raw", self.lab.prepared.boot_disk)
        self.start()

    def start(self, **environment: str) -> None:
        """``ggnet up``, until it is ready, which is after its first full look."""
        self.lab.daemon.start({**SETTINGS, **environment})
        self.hang_up()

    def close(self) -> None:
        """Forgets the connection to the API; the next question makes a new one."""
        if self._client is not None:
            self._client.close()
            self._client = None

    def stop(self, signal: str = "TERM") -> None:
        self.hang_up()
        self.lab.daemon.stop(signal=signal)

    def hang_up(self) -> None:
        """The next question opens a connection anew: the port and the token may be others by then."""
        if self._client is not None:
            self._client.close()
            self._client = None

    def run(self, command: str | Sequence[str], stdin: str = "", timeout: float = 60) -> Result:
        """A command of the administrator's on the boot server."""
        return self.lab.run(command, stdin=stdin, timeout=timeout)

    def read(self, path: str) -> str:
        return self.lab.guest.read(path)

    def write(self, path: str, content: str) -> None:
        self.run(f"cat >{path}", stdin=content).check()

    def put_image(self, name: str, file: Path) -> None:
        """Replaces a source in the import folder, whole, as a careful person would."""
        self.run(f"cp --sparse=always {file} {IMPORTS}/.{name} && mv {IMPORTS}/.{name} {IMPORTS}/{name}").check()

    # --- its doors ------------------------------------------------------------------------------------------------

    @property
    def client(self) -> httpx.Client:
        if self._client is None:
            url = f"http://127.0.0.1:{self.lab.port(8080)}"
            header = {"Authorization": f"Bearer {self.lab.daemon.token}"}
            self._client = httpx.Client(base_url=url, headers=header, timeout=20, trust_env=False)
        return self._client

    def ask(self, path: str, **query: str) -> Any:
        """GET below /api/v1."""
        answer = self.client.get(f"/api/v1/{path}", params=query)
        assert answer.status_code == 200, f"GET {path}: {answer.status_code} {answer.text}"
        return answer.json()

    def plan(self, documents: Iterable[Document]) -> Any:
        """What the daemon would do with these manifests over the stored ones."""
        answer = self.client.post("/api/v1/plan", content=text(documents), headers={"Content-Type": "application/yaml"})
        assert answer.status_code == 200, f"POST plan: {answer.status_code} {answer.text}"
        return answer.json()

    def ggnet(self, *arguments: str, code: int = 0) -> str:
        """The command, run on this machine as on an operator's desk; what it printed."""
        url, token = str(self.client.base_url), self.lab.daemon.token
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "GGNET_URL": url, "GGNET_TOKEN": token}
        command = [sys.executable, "-c", "from api.cli.main import main; raise SystemExit(main())", *arguments]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=90, check=False)
        said = f"ggnet {' '.join(arguments)} ended with {done.returncode}\n{done.stdout}{done.stderr}"
        assert done.returncode == code, said
        return done.stdout + done.stderr

    def declare(self, documents: Iterable[Document]) -> None:
        """Manifests that no repository holds, as by somebody at a desk."""
        answer = self.client.post("/api/v1/apply", content=text(documents), headers={"Content-Type": "application/yaml"})
        assert answer.status_code == 200, f"POST apply: {answer.status_code} {answer.text}"

    def remove(self, room: str) -> None:
        """All that was declared with this label; nothing is left of it."""
        chosen = {"labelSelector": f"room={room}", "force": "true"}
        for kinds in ("sessions", "machines", "images"):
            answer = self.client.delete(f"/api/v1/{kinds}", params=chosen)
            assert answer.status_code == 202, f"DELETE {kinds}: {answer.status_code} {answer.text}"
            until(f"the {kinds} are gone", lambda: not self.ask(kinds, labelSelector=f"room={room}")["items"], 60)  # noqa: B023

    # --- commits --------------------------------------------------------------------------------------------------

    def commit(
        self, content: Iterable[Document] | Mapping[str, str], message: str = "change the room", branch: str = "main"
    ) -> str:
        """Commits exactly these documents (or files, name -> text); the commit's sha."""
        files = content if isinstance(content, Mapping) else {"room.yaml": text(content)}
        self.git("fast-import", "--quiet", "--force", "--date-format=now", stdin=commit_stream(files, message, branch))
        return self.read(f"{REPOSITORY}/refs/heads/{branch}").strip()

    def git(self, *arguments: str, stdin: str = "") -> str:
        return self.run(["git", f"--git-dir={REPOSITORY}", *arguments], stdin=stdin).check()

    def revision(self, sha: str) -> Any | None:
        return next((one for one in self.ask("revisions")["items"] if one["sha"] == sha), None)

    def judged(self, sha: str, seconds: float = 40) -> Any:
        """The revision, once the daemon has read it."""
        return until(f"the verdict on {sha[:12]}", lambda: self.revision(sha), seconds)

    def apply(self, documents: Iterable[Document], message: str = "change the room", seconds: float = 60) -> str:
        """Commits, and waits until the daemon says that the revision has converged."""
        sha = self.commit(documents, message)
        found = self.judged(sha)
        assert found["verdict"] == "accepted", found
        until(f"{sha[:12]} converges", lambda: "convergedAt" in (self.revision(sha) or {}), seconds)
        return sha

    def reset(self) -> None:
        """The bare room: every PC off, no session, nothing of ours in the kernel, no overlay in the pool."""
        left = [pc for pc in self.lab.pcs.values() if pc.was_on]
        for pc in left:
            pc.power_off()
            pc.was_on = False
        if left:  # the kernel learns of a PC without power after 25 s; nobody here wants to wait for that
            cut = {"ggnet/disruption": "allowed"}
            self.commit(room(*(session(name, state="stopped", annotations=cut) for name in ROOM)), "cut what is left")
            until("the kernel holds no target of ours", lambda: not self.targets(), 60)
        self.apply(room(), "empty the room")
        until("the kernel holds no target of ours", lambda: not self.targets(), 60)
        until("the pool holds no overlay", lambda: not self.overlays())

    # --- waiting --------------------------------------------------------------------------------------------------

    def get(self, key: str) -> Any:
        """An object by Kind/name."""
        kind, _, name = key.partition("/")
        return self.ask(f"{kind.lower()}s/{name}")

    def await_phase(self, key: str, *phases: str, seconds: float = 60) -> Any:
        """The object, once it is in one of these phases."""
        last: dict[str, Any] = {}
        kind, _, name = key.partition("/")

        def looked() -> bool:
            try:
                answer = self.client.get(f"/api/v1/{kind.lower()}s/{name}")
            except httpx.ReadError:  # the lab's network has lost the connection; whoever waits asks again
                return False
            if answer.status_code != 404:  # its commit may not have been read yet
                last.update(answer.json())
            return last.get("status", {}).get("phase") in phases

        try:
            until(f"{key} is {' or '.join(phases)}", looked, seconds)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{json.dumps(last, indent=1)}") from None
        return last

    def ready(self, *machines: str, seconds: float = 60) -> None:
        for machine in machines:
            self.await_phase(f"Session/{machine}", "Ready", "Active", seconds=seconds)

    def condition(self, key: str, kind: str) -> Any:
        """A condition of an object's; an empty one when it has none."""
        conditions = self.get(key).get("status", {}).get("conditions", [])
        return next((one for one in conditions if one["type"] == kind), {})

    def events(self, key: str | None = None) -> list[Any]:
        return list(self.ask("events", **({"object": key} if key else {}))["items"])

    # --- what is really there -------------------------------------------------------------------------------------

    def listing(self, pattern: str) -> list[str]:
        """Base names of what matches a shell pattern on the boot server."""
        return sorted(path.rpartition("/")[2] for path in self.lab.guest.look(pattern))

    def targets(self) -> list[str]:
        return self.listing(f"{TARGETS}/{PREFIX}:*")

    def backstores(self) -> list[str]:
        return self.listing(f"{BACKSTORES}/*/ggnet-*")

    def overlays(self) -> list[str]:
        """Files in the pool that are neither images nor their sources, half-made ones included."""
        found = (path for path in self.lab.guest.look(f"{POOL}/**/*") if not path.startswith(IMPORTS))
        return sorted(path.rpartition("/")[2] for path in found if "+" in path)

    def scripts(self) -> list[str]:
        return self.listing(f"{TFTP}/ggnet/machines/*")

    def hosts(self) -> list[str]:
        """Names of the host declarations in our include."""
        return sorted(word for line in self.read(INCLUDE).splitlines() for word in line.split()[1:2] if line.strip().startswith("host "))  # fmt: skip  # noqa: E501

    def golden_digests(self) -> str:
        """What sha256sum says of every imported image."""
        return self.run(f"find {POOL} -type f -name '*@v*.raw' ! -name '*+*' | sort | xargs sha256sum").check()


def commit_stream(files: Mapping[str, str], message: str, branch: str = "main") -> str:
    """A commit that holds these files and nothing else, for git fast-import."""
    lines = [f"commit refs/heads/{branch}", "committer Ada <ada@lab.example> now", f"data {len(message.encode())}", message]
    lines.append("deleteall")
    for name, content in files.items():
        lines += [f"M 100644 inline {name}", f"data {len(content.encode())}", content]
    return "\n".join([*lines, ""])
