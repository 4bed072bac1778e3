"""What an initiator has to know: set, compared and taken away, on the fake kernel and on the real one (the lab's guest)."""

import os
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from controller.adapters.chap import SecretFiles, Unusable
from controller.adapters.lio import KernelLio
from controller.core import targets
from controller.core.desired import Chap, Target
from controller.core.steps import PublishTarget
from controller.ports.host import EffectFailed, EffectRefused
from tests.contracts.lio_bench import DOORS, SITE, Bench, Crash, Watched, bench_on, tree

pytestmark = pytest.mark.anyio
ONE_WAY = {"username": "pc07", "password": "Ab3._:-xyz789"}
# The kernel pads its answer with what stood there before, which libiscsi takes for more of it: a name of 4n+2 needs no pad.
MUTUAL = {**ONE_WAY, "mutual-username": "disk07", "mutual-password": "another-one16ab"}
OTHER = {**ONE_WAY, "password": "other-secret-01"}


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Safe:
    """A bench whose controller knows the folder of secrets."""

    def __init__(self, bench: Bench, folder: Path) -> None:
        self.bench, self.folder = bench, folder
        self.files = SecretFiles(b"k" * 32, folder)
        self.target = bench.target()

    def keep(self, fields: dict[str, str]) -> Target:
        """The target that asks for what the file holds from now on."""
        path = self.folder / "pc07"
        path.write_text("".join(f"{name}={value}\n" for name, value in fields.items()))
        path.chmod(0o600)
        state = self.files.states(["pc07"])["pc07"]
        assert state.digest, state.problem
        return replace(self.target, chap=Chap("pc07", state.digest))

    def lio(self, die: tuple[int, str] | None = None) -> tuple[KernelLio, list[str]]:
        fs = Watched(self.bench.fs, die=die)
        return KernelLio(fs, SITE, secrets=self.files), fs.writes

    async def publish(self, target: Target) -> None:
        await self.lio()[0].publish(PublishTarget(target))
        assert await self.facts() == targets.facts(target)

    async def facts(self) -> dict[str, str]:
        return dict((await self.lio()[0].observe([self.target.iqn])).targets[self.target.iqn].facts)

    def held(self) -> list[str]:
        """What the kernel holds, by its own files."""
        names = ("userid", "password", "userid_mutual", "password_mutual")
        return [self.bench.fs.read(f"{self.acl}/auth/{name}") for name in names]

    @property
    def tpg(self) -> str:
        return f"iscsi/{self.target.iqn}/tpgt_1"

    @property
    def acl(self) -> str:
        return f"{self.tpg}/acls/{self.target.initiator}"


@pytest.fixture(params=DOORS)
def safe(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Safe]:
    folder = tmp_path / "secrets"
    folder.mkdir()
    with bench_on(request.param, tmp_path) as bench:
        yield Safe(bench, folder)


@pytest.mark.parametrize("fields", [ONE_WAY, MUTUAL], ids=["one-way", "mutual"])
async def test_a_secret_is_set_once_asked_for_and_told_as_a_digest_alone(safe: Safe, fields: dict[str, str]) -> None:
    target = safe.keep(fields)
    await safe.publish(target)
    assert [value for value in safe.held() if value] == list(fields.values())
    assert safe.bench.fs.read(f"{safe.tpg}/attrib/authentication") == "1"
    told = str(await safe.lio()[0].observe(None)) + repr(safe.files) + repr(target) + repr(safe.files.read("pc07"))
    assert not [value for name, value in fields.items() if name.endswith("password") and value in told]
    lio, writes = safe.lio()
    await lio.publish(PublishTarget(target))
    assert writes == []


async def test_a_target_that_asks_is_never_enabled_before_it_does(safe: Safe) -> None:
    lio, writes = safe.lio()
    await lio.publish(PublishTarget(safe.keep(MUTUAL)))
    assert writes[-1] == f"write {safe.tpg}/enable 1"
    assert not [write for write in writes if write.endswith("authentication 0")]


async def test_another_secret_takes_the_place_of_the_first_and_none_that_of_all(safe: Safe) -> None:
    await safe.publish(safe.keep(MUTUAL))
    await safe.publish(safe.keep(OTHER))
    assert [value.replace("NULL", "") for value in safe.held()] == ["pc07", OTHER["password"], "", ""]
    await safe.publish(safe.target)
    assert {value.replace("NULL", "") for value in safe.held()} == {""}


@pytest.mark.parametrize(("before", "after"), [(None, MUTUAL), (MUTUAL, OTHER), (MUTUAL, None)], ids=["on", "over", "off"])
async def test_a_crash_at_any_write_is_finished_by_the_next(
    safe: Safe, before: dict[str, str] | None, after: dict[str, str] | None
) -> None:
    async def begin() -> Target:
        await safe.publish(safe.keep(before) if before else safe.target)
        return safe.keep(after) if after else safe.target

    lio, writes = safe.lio()
    await lio.publish(PublishTarget(await begin()))
    assert len(writes) >= 3
    for n in range(1, len(writes) + 1):
        for when in ("before", "after"):
            wanted = await begin()
            with pytest.raises(Crash):
                await safe.lio((n, when))[0].publish(PublishTarget(wanted))
            await safe.publish(wanted)
            held = [value.replace("NULL", "") for value in safe.held()]
            assert [value for value in held if value] == list((after or {}).values()), (n, when)


@pytest.mark.parametrize("field", ["password", "userid_mutual", "userid"])
@pytest.mark.parametrize("value", ["NULL", "somebody-else12"])
async def test_what_somebody_changed_is_seen_and_put_back(safe: Safe, field: str, value: str) -> None:
    target = safe.keep(MUTUAL)
    await safe.publish(target)
    safe.bench.fs.write(f"{safe.acl}/auth/{field}", value)
    found, wanted = await safe.facts(), targets.facts(target)
    [change] = targets.difference(wanted, found)
    assert change.field == f"acl/{target.initiator}/auth"
    assert value not in str(change)
    await safe.publish(target)
    assert safe.held() == list(MUTUAL.values())


@pytest.mark.parametrize("path", ["attrib/authentication", "acl/attrib/authentication"])
async def test_that_nobody_is_asked_any_more_is_seen_and_put_back(safe: Safe, path: str) -> None:
    target = safe.keep(ONE_WAY)
    await safe.publish(target)
    safe.bench.fs.write(f"{safe.tpg}/{path}".replace("/acl/", f"/acls/{target.initiator}/"), "0")
    assert await safe.facts() != targets.facts(target)
    await safe.publish(target)
    assert (await safe.lio()[0].asked(target.iqn, target.initiator)) == safe.files.read("pc07")


async def test_a_file_that_changed_since_the_plan_is_not_set(safe: Safe) -> None:
    target = safe.keep(ONE_WAY)
    safe.keep(OTHER)
    lio, writes = safe.lio()
    with pytest.raises(EffectFailed) as failed:
        await lio.publish(PublishTarget(target))
    assert (failed.value.reason, writes) == ("ChapSecretChanged", [])


async def test_without_its_file_nothing_is_published_open(safe: Safe) -> None:
    target = safe.keep(ONE_WAY)
    (safe.folder / "pc07").unlink()
    lio, writes = safe.lio()
    with pytest.raises(EffectRefused) as refused:
        await lio.publish(PublishTarget(target))
    assert (refused.value.reason, writes) == ("ChapSecretUnusable", [])


async def test_a_repair_that_leaves_the_secret_alone_needs_no_file(safe: Safe) -> None:
    target = safe.keep(ONE_WAY)
    await safe.publish(target)
    (safe.folder / "pc07").unlink()
    safe.bench.fs.unlink(f"{safe.acl}/lun_0/{target.backstore}")
    await safe.publish(target)
    assert safe.held()[:2] == list(ONE_WAY.values())


async def test_what_is_asked_is_what_the_kernel_holds(safe: Safe) -> None:
    lio = safe.lio()[0]
    with pytest.raises(Unusable):
        await lio.asked(safe.target.iqn, safe.target.initiator)
    await safe.publish(safe.target)
    assert await lio.asked(safe.target.iqn, safe.target.initiator) is None
    await safe.publish(safe.keep(MUTUAL))
    assert await lio.asked(safe.target.iqn, safe.target.initiator) == safe.files.read("pc07")
    safe.bench.fs.write(f"{safe.acl}/auth/password", "${username}-12345")
    with pytest.raises(Unusable):
        await lio.asked(safe.target.iqn, safe.target.initiator)


async def test_withdrawing_leaves_no_secret(safe: Safe) -> None:
    before = tree(safe.bench.fs, "")
    await safe.publish(safe.keep(MUTUAL))
    await safe.bench.withdraw(safe.target)
    assert tree(safe.bench.fs, "") == before


# --- a real initiator -------------------------------------------------------------------------------------------


def inquiry(target: Target, fields: dict[str, str]) -> bool:
    """Whether libiscsi, knowing this, gets in and is told who the disk is. It answers with its environment's secrets."""
    names = {"mutual-username": "TARGET_USERNAME", "mutual-password": "TARGET_PASSWORD"}
    env = {f"LIBISCSI_CHAP_{names.get(name, name.upper())}": value for name, value in fields.items()}
    command = ["iscsi-inq", "-i", target.initiator, f"iscsi://{target.portal}/{target.iqn}/0"]
    done = subprocess.run(command, env={**os.environ, **env}, capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode == 0) == ("Vendor:LIO-ORG" in done.stdout), done.stdout + done.stderr
    return done.returncode == 0


async def test_a_real_initiator_gets_in_only_with_the_secret(safe: Safe) -> None:
    if "kernel" not in DOORS:
        pytest.skip("no kernel target to test on here: tests/lab runs this in its guest")
    await safe.publish(safe.target)
    assert inquiry(safe.target, {})
    await safe.publish(safe.keep(ONE_WAY))
    assert not inquiry(safe.target, {})
    assert not inquiry(safe.target, OTHER)
    assert not inquiry(safe.target, {**ONE_WAY, "username": "pc08"})
    assert inquiry(safe.target, ONE_WAY)
    await safe.publish(safe.keep(MUTUAL))
    assert all(inquiry(safe.target, MUTUAL) for _ in range(8))  # so that the kernel's CHAP_I has two digits
    assert not inquiry(safe.target, {**MUTUAL, "mutual-password": "wrong-from-here"})
    await safe.publish(safe.target)
    assert inquiry(safe.target, {})
