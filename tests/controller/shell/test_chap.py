"""Secrets in the passes: a file that changes is noticed without a hint, and a quiet sweep stays quiet."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import anyio
import pytest

from controller.adapters.chap import SecretFiles
from controller.adapters.chap_door import ChapDoor
from controller.adapters.clock import SystemClock
from controller.adapters.configfs import ConfigFs
from controller.adapters.lio import KernelLio
from controller.adapters.simulated.host import simulated
from controller.core.desired import Client
from controller.shell.hints import EVERYTHING, Places
from controller.shell.observe import Host
from controller.shell.reconcile import Reconciler
from manifests.kinds import Object
from tests.crash.sites import POOL, SITE, Pc, site
from tests.crash.world import InLine, World, settle

PASSWORDS = ("hushhushhush1", "hushhushhush2")


class Watched(ChapDoor):
    admitted: Mapping[str, Client] = {}

    def admit(self, clients: Mapping[str, Client]) -> None:
        self.admitted = dict(clients)


@dataclass
class Guarded(World):
    """A boot server with a folder of secrets."""

    folder: Path = field(default_factory=Path)
    door: Watched = field(init=False)

    def keep(self, password: str) -> None:
        file = self.folder / "pc1"
        file.write_text(f"username=pc1\npassword={password}\n")
        file.chmod(0o600)

    def host(self) -> Host:
        lio = self.lio(self.kernel)
        self.door = Watched(SecretFiles(b"key", self.folder), lio, SITE, SystemClock())
        return Host(lio, self.pool, self.tftp, self.dhcp, POOL, chap=self.door)

    def lio(self, fs: ConfigFs) -> KernelLio:
        secrets = SecretFiles(b"key", self.folder)
        return KernelLio(fs, SITE, sizes=self.pool.size_of, workers=InLine(), secrets=secrets)

    def password(self) -> str:
        return self.kernel.read(f"{Pc(1).acl}/auth/password")


def guarded(one: Object) -> Object:
    if one.key != "Machine/pc1":
        return one
    return type(one).model_validate({**one.wire(), "spec": {**one.wire()["spec"], "chap": {"credential": "pc1"}}})


async def served(tmp_path: Path) -> tuple[Guarded, Reconciler]:
    world = Guarded(folder=tmp_path)
    world.keep(PASSWORDS[0])
    await world.commit(map(guarded, site(Pc(1), Pc(2))))
    daemon = await world.daemon()
    await settle(daemon)
    assert world.password() == PASSWORDS[0]
    return world, daemon


def test_a_secret_that_changed_is_noticed_by_the_next_sweep_and_then_all_is_quiet(tmp_path: Path) -> None:
    async def tell() -> None:
        world, daemon = await served(tmp_path)
        assert set(world.door.admitted) == {"pc1"}
        world.keep(PASSWORDS[1])
        await daemon.reconcile(None)
        assert world.password() == PASSWORDS[1]
        await settle(daemon)
        before = world.kernel.writes
        report = await daemon.reconcile(None)
        assert (report.results, world.kernel.writes) == ((), before)

    anyio.run(tell)


def test_a_change_under_a_running_pc_waits_and_comes_with_its_end_also_after_a_restart(tmp_path: Path) -> None:
    async def tell() -> None:
        world, daemon = await served(tmp_path)
        assert world.boots(Pc(1))
        world.keep(PASSWORDS[1])
        await daemon.reconcile(None)
        daemon = await world.daemon()
        await settle(daemon)
        await settle(daemon)
        assert world.password() == PASSWORDS[0]
        with world.by_hand():
            world.kernel.write(f"{Pc(1).acl}/auth/password", "somebody-elses")
            world.keep(PASSWORDS[0])
        await settle(daemon)
        assert world.password() == PASSWORDS[0]
        world.keep(PASSWORDS[1])
        world.shuts_down(Pc(1).acl)
        await settle(daemon)
        assert world.password() == PASSWORDS[1]

    anyio.run(tell)


@pytest.mark.parametrize("keys", [None, frozenset({"Machine/pc1"})], ids=["a sweep", "a pass over the machine"])
def test_a_secret_that_is_lost_leaves_what_stands_and_is_told(tmp_path: Path, keys: frozenset[str] | None) -> None:
    async def tell() -> None:
        world, daemon = await served(tmp_path)
        (tmp_path / "pc1").unlink()
        report = await daemon.reconcile(keys)
        assert report.results == ()
        assert world.password() == PASSWORDS[0]
        rows = await world.store.fetch(["Session/pc1", "Session/pc2"])
        said = {key: one.status.condition("Ready") for key, one in rows.items() if one.status is not None}
        assert said["Session/pc1"] is not None
        assert said["Session/pc1"].reason == "ChapSecretUnusable"
        assert said["Session/pc2"] is not None
        assert said["Session/pc2"].status == "True"

    anyio.run(tell)


def test_no_secret_is_in_anything_that_is_stored(tmp_path: Path) -> None:
    async def tell() -> None:
        world, daemon = await served(tmp_path)
        world.keep(PASSWORDS[1])
        await settle(daemon)
        told = [repr(vars(world.store)), repr(world.tftp.files), repr(daemon.view.last), repr(daemon.index)]
        assert "pc1.os" in told[0]
        assert not [text for text in told if any(password in text for password in PASSWORDS)]

    anyio.run(tell)


@pytest.mark.parametrize(
    ("path", "keys"),
    [("/secrets/pc1", {EVERYTHING}), ("/elsewhere/pc1", set()), ("/dhcp/ggnet.conf", {EVERYTHING})],
)
def test_a_hint_of_the_folder_of_secrets_is_one_to_look_at_everything(path: str, keys: set[str]) -> None:
    places = Places(Path("/cfs"), Path("/tftp"), Path("/dhcp"), "ggnet.conf", Path("/secrets"))
    assert places.keys([path], SITE, ()) == keys


def test_a_simulated_boot_server_has_every_secret_and_tells_none(tmp_path: Path) -> None:
    async def tell() -> None:
        world = Guarded(folder=tmp_path)
        await world.commit(map(guarded, site(Pc(1))))
        lease = await world.store.acquire("controller/s1", "one", world.clock.now(), 1e7)
        assert lease is not None
        lio, pool, tftp, dhcp, chap = simulated(SITE, POOL)
        host = Host(lio, pool, tftp, dhcp, POOL, simulated=True, chap=chap)
        await settle(Reconciler(world.store, host, SITE, world.clock, lease))
        session = (await world.store.fetch(["Session/pc1"]))["Session/pc1"]
        assert session.status is not None
        assert session.status.phase == "Ready"

    anyio.run(tell)
