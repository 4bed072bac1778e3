"""Who is told a secret: the machine's own address, and nobody else, whatever he says."""

import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import anyio
import pytest
from anyio import to_thread
from structlog.testing import capture_logs

from controller.adapters.chap import SecretFiles
from controller.adapters.chap_door import ChapDoor
from controller.adapters.clock import SystemClock
from controller.adapters.lio import KernelLio
from controller.adapters.simulated.configfs import FakeConfigFs
from controller.core.desired import Boot, Chap, Client, Drive
from controller.core.steps import PublishTarget
from manifests.types import Ipv4
from tests.contracts.lio_bench import SITE, bench_on

pytestmark = pytest.mark.anyio
PC, OTHER, SERVER = "127.0.0.7", "127.0.0.8", "127.0.0.1"
PASSWORD = "hushhushhush"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def free_port() -> int:
    with socket.socket() as one:
        one.bind((SERVER, 0))
        return int(one.getsockname()[1])


def client(machine: str = "pc07", address: str = PC) -> Client:
    boot = Boot("pc07", "uid", (Drive("os", "win11", None, "ephemeral"),))
    where = Ipv4.parse(address)
    return Client(machine, (), SITE.initiator(machine), f"{SERVER}:3260", boot=boot, address=where, credential=machine)


@dataclass
class Room:
    """A boot server whose door is open, with the target of pc07 in its kernel."""

    door: ChapDoor
    port: int
    changes: list[None]
    fake: FakeConfigFs
    lio: KernelLio

    async def ask(self, sender: str = PC, question: str = "GET /chap/pc07.ipxe HTTP/1.1\r\nHost: x\r\n\r\n") -> str:
        return await to_thread.run_sync(self._ask, sender, question.encode())

    def _ask(self, sender: str, question: bytes) -> str:
        with socket.create_connection((SERVER, self.port), timeout=8, source_address=(sender, 0)) as line:
            line.sendall(question)
            answer = b""
            while chunk := line.recv(4096):
                answer += chunk
            return answer.decode()


@asynccontextmanager
async def room(tmp_path: Path) -> AsyncIterator[Room]:
    (tmp_path / "pc07").write_text(f"username=pc07\npassword={PASSWORD}\n")
    (tmp_path / "pc07").chmod(0o600)
    files = SecretFiles(b"key", tmp_path)
    with bench_on("fake", tmp_path) as bench:
        assert isinstance(bench.fs, FakeConfigFs)
        lio = KernelLio(bench.fs, SITE, secrets=files)
        digest = files.states(["pc07"])["pc07"].digest
        assert digest is not None
        await lio.publish(PublishTarget(replace(bench.target(), chap=Chap("pc07", digest))))
        port, changes = free_port(), list[None]()
        door = ChapDoor(files, lio, SITE, SystemClock(), port)
        door.admit({"pc07": client()})
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(door.run, lambda: changes.append(None))
            await eventually(lambda: to_thread.run_sync(_listens, port))
            yield Room(door, port, changes, bench.fs, lio)
            tasks.cancel_scope.cancel()


async def eventually(true: Callable[[], Awaitable[object]]) -> None:
    with anyio.fail_after(30):
        while True:
            if await true():
                return
            await anyio.sleep(0.01)


def _listens(port: int) -> bool:
    with socket.socket() as one:
        return one.connect_ex((SERVER, port)) == 0


async def test_the_machines_address_is_told_and_nothing_may_keep_it(tmp_path: Path) -> None:
    async with room(tmp_path) as made:
        with capture_logs() as logs:
            head, _, body = (await made.ask()).partition("\r\n\r\n")
    assert head.startswith("HTTP/1.1 200 OK\r\n")
    assert "Cache-Control: no-store" in head
    assert body == f"#!ipxe\nset username pc07\nset password {PASSWORD}\n"
    assert PASSWORD not in str(logs)


@pytest.mark.parametrize(
    "question",
    [
        "GET /chap/pc07.ipxe HTTP/1.1\r\nX-Forwarded-For: 127.0.0.7\r\nForwarded: for=127.0.0.7\r\n\r\n",
        "GET /chap/pc08.ipxe HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\n\r\n",
    ],
)
async def test_another_address_gets_404_whatever_it_claims(tmp_path: Path, question: str) -> None:
    async with room(tmp_path) as made:
        with capture_logs() as logs:
            answer = await made.ask(OTHER, question)
        assert answer.startswith("HTTP/1.1 404 ")
        assert answer.endswith("\r\n\r\n")
        assert [(log["event"], log["peer"]) for log in logs] == [("secret refused", OTHER)]


@pytest.mark.parametrize(
    "question",
    [
        "GET /chap/pc08.ipxe HTTP/1.1\r\n\r\n",
        "POST /chap/pc07.ipxe HTTP/1.1\r\n\r\n",
        "GET /chap/pc07.ipxe?x HTTP/1.1\r\n\r\n",
        "GET /chap/../chap/pc07.ipxe HTTP/1.1\r\n\r\n",
        "GET /chap/pc07.ipxe HTTP/2.0\r\n\r\n",
        "GET /chap/PC07.ipxe HTTP/1.1\r\n\r\n",
        "x" * 5000,
        "\r\n\r\n",
    ],
)
async def test_the_machine_itself_is_told_only_its_own_by_the_one_question(tmp_path: Path, question: str) -> None:
    async with room(tmp_path) as made:
        assert PASSWORD not in await made.ask(PC, question)


async def test_a_machine_whose_session_ended_or_that_moved_is_told_nothing(tmp_path: Path) -> None:
    async with room(tmp_path) as made:
        for other in (replace(client(), boot=None), replace(client(), address=None), client(address=OTHER)):
            made.door.admit({"pc07": other})
            assert (await made.ask()).startswith("HTTP/1.1 404 ")


async def test_without_a_target_that_is_served_the_pc_is_asked_to_come_again(tmp_path: Path) -> None:
    async with room(tmp_path) as made:
        made.fake.write(f"iscsi/{SITE.target('pc07')}/tpgt_1/enable", "0")
        assert (await made.ask()).startswith("HTTP/1.1 503 ")


async def test_where_nothing_is_asked_for_an_empty_script_is_told(tmp_path: Path) -> None:
    async with room(tmp_path) as made:
        made.fake.write(f"iscsi/{SITE.target('pc07')}/tpgt_1/attrib/authentication", "0")
        assert (await made.ask()).endswith("\r\n\r\n#!ipxe\n")


async def test_what_ipxe_would_expand_is_not_told(tmp_path: Path) -> None:
    async with room(tmp_path) as made:
        acl = f"iscsi/{SITE.target('pc07')}/tpgt_1/acls/{SITE.initiator('pc07')}"
        made.fake.write(f"{acl}/auth/password", "${net0/ip}hush")
        assert (await made.ask()).startswith("HTTP/1.1 503 ")


async def test_who_asks_too_often_is_told_nothing_and_no_other_suffers(tmp_path: Path) -> None:
    async with room(tmp_path) as made:
        answers = [(await made.ask(OTHER))[9:12] for _ in range(24)]
        assert (answers[0], answers[-1], answers.count("404")) == ("404", "429", 20)
        assert (await made.ask()).startswith("HTTP/1.1 200 ")


async def test_who_says_nothing_is_hung_up_on_and_delays_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("controller.adapters.chap_door._SECONDS", 0.5)
    async with room(tmp_path) as made:
        with socket.create_connection((SERVER, made.port), source_address=(OTHER, 0)) as silent:
            assert (await made.ask()).startswith("HTTP/1.1 200 ")
            silent.settimeout(8)
            assert await to_thread.run_sync(silent.recv, 1) == b""


async def test_a_port_that_somebody_holds_is_told_and_taken_once_it_is_free(tmp_path: Path) -> None:
    holder = socket.create_server((SERVER, 0))
    port = holder.getsockname()[1]
    files = SecretFiles(b"key", tmp_path)
    door = ChapDoor(files, KernelLio(FakeConfigFs(), SITE), SITE, _Impatient(), port)
    changes: list[None] = []
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(door.run, lambda: changes.append(None))
        door.admit({"pc07": client()})

        async def closed() -> Mapping[str, str]:
            return (await door.observe(())).closed

        async def shut() -> bool:
            return not await to_thread.run_sync(_listens, port)

        await eventually(closed)
        told = await closed()
        holder.close()
        await eventually(lambda: to_thread.run_sync(_listens, port))
        assert not await closed()
        door.admit({})
        await eventually(shut)
        tasks.cancel_scope.cancel()
    assert told == {SERVER: f"PCs cannot ask for their secrets at {SERVER}:{port}: Address already in use"}
    assert len(changes) == 2


class _Impatient(SystemClock):
    async def sleep(self, seconds: float) -> None:
        await anyio.sleep(0.02)
