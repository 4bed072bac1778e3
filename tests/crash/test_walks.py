"""Walks through specs, hands, PCs and deaths: P8 and P9 behind every effect, P1 P2 P11 P12 P14 at the end of each."""

import re
from collections.abc import Mapping
from dataclasses import replace

import anyio
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from controller.core.render import dhcpd
from controller.shell.reconcile import Reconciler
from controller.shell.sources import Intake
from manifests.dump import normalise
from manifests.meta import PAUSED
from tests.crash.explore import Dying, writes_at_rest
from tests.crash.faults import Meter, die, error_at
from tests.crash.folder import Folder, written
from tests.crash.hands import DAMAGES, damage
from tests.crash.oracle import wrong
from tests.crash.sites import Pc
from tests.crash.world import World, nothing, settle

NUMBERS = (1, 10, 2)
_numbers = st.sampled_from(NUMBERS)
_policies = st.sampled_from(
    [
        (),
        (),
        (),
        (("paused", "true"),),
        (("deletion-policy", "orphan"),),
        (("prune", "disabled"),),
        (("disruption", "allowed"),),
    ]
)
_UID = re.compile(r"\+[0-9a-f-]{36}\.raw")


class Walk(RuleBasedStateMachine):
    """One boot server. ``wanted`` is what the source says; ``left`` is what it no longer says and must stay."""

    def __init__(self) -> None:
        super().__init__()
        self.world, self.folder = World(), Folder()
        self.intake = Intake(self.folder, self.world.store, self.world.clock, lambda: None)
        self.wanted = {1: Pc(1), 10: Pc(10)}
        self.left: dict[int, Pc] = {}
        self.daemon: Reconciler = anyio.run(self.world.daemon)
        self._hand_in()
        anyio.run(settle, self.daemon)

    def _hand_in(self) -> None:
        self.folder.files = written(*self.wanted.values())
        anyio.run(self.intake.take)

    # --- what people ask for ----------------------------------------------------------------------------------

    @rule(
        number=_numbers,
        image=st.sampled_from(["demo", "demo", "other"]),
        running=st.sampled_from([True, True, False]),
        persistence=st.sampled_from(["ephemeral", "ephemeral", "keep", "readonly"]),
        second=st.sampled_from([False, False, True]),
        own_card=st.booleans(),
        policies=_policies,
    )
    def ask(
        self,
        number: int,
        image: str,
        running: bool,
        persistence: str,
        second: bool,
        own_card: bool,
        policies: tuple[tuple[str, str], ...],
    ) -> None:
        card = 0 if own_card else 100 + number
        pc = Pc(number, image, running=running, persistence=persistence, second=second, card=card)
        pc = replace(pc, machine=policies, session=policies)
        self.left.pop(number, None)
        self.wanted[number] = pc
        self._hand_in()

    @rule(number=_numbers)
    def forget(self, number: int) -> None:
        pc = self.wanted.pop(number, None)
        if pc is not None and ("prune", "disabled") in pc.session:
            self.left[number] = pc
        self._hand_in()

    @rule(files=st.sampled_from([None, {}, {"site.yaml": b"kind: ["}, {"site.yaml": b"kind: Machine\n"}]))
    def hand_in_rubbish(self, files: dict[str, bytes] | None) -> None:
        self.folder.files = files
        anyio.run(self.intake.take)

    # --- what the daemon does ---------------------------------------------------------------------------------

    @rule(whole=st.booleans())
    def look(self, whole: bool) -> None:
        anyio.run(self._pass, whole)

    @rule(at=st.integers(1, 120), whole=st.booleans(), error=st.booleans())
    def look_in_bad_times(self, at: int, whole: bool, error: bool) -> None:
        self.world.fault = Meter(at, error_at(at) if error else die)
        with Dying() as first:
            anyio.run(self._pass, whole)
        self.world.fault = nothing
        if first.died:
            self.restart()

    async def _pass(self, whole: bool) -> None:
        store = self.world.store
        claims = await store.claim(self.world.clock.now(), 100)
        if whole or claims:
            await self.daemon.reconcile(None if whole else frozenset(claim.key for claim in claims))
        await store.done(claims)
        self.world.guard.after_pass()

    @rule()
    def restart(self) -> None:
        self.daemon = anyio.run(self.world.daemon)
        anyio.run(self.world.store.reopen)

    @rule(hours=st.sampled_from([-20, 20]))
    def jump(self, hours: int) -> None:
        self.world.clock.time = self.world.clock.time.replace(hour=abs(hours))

    # --- what the others do -----------------------------------------------------------------------------------

    @rule(number=_numbers)
    def boot(self, number: int) -> None:
        if number in self.wanted:
            self.world.boots(self.wanted[number])

    @rule()
    def shut_down(self) -> None:
        for acl in self.world.kernel.live():
            self.world.shuts_down(acl)

    @rule(number=_numbers, kind=st.sampled_from(sorted(DAMAGES)))
    def lay_hands_on(self, number: int, kind: str) -> None:
        damage(self.world, self.wanted.get(number, Pc(number)), kind)

    @rule(number=_numbers)
    def declare_host(self, number: int) -> None:
        self.world.dhcp.administrator ^= {f"ggnet-pc{number}-0"}

    # --- what must hold ---------------------------------------------------------------------------------------

    @invariant()
    def nothing_was_broken(self) -> None:
        assert self.world.guard.broken == []

    def teardown(self) -> None:
        self.shut_down()
        self.world.dhcp.administrator = frozenset({"printer"})
        self.wanted = {number: _resumed(pc) for number, pc in (self.left | self.wanted).items()}
        self._hand_in()
        assert anyio.run(self._end) == []

    async def _end(self) -> list[str]:
        for one in (await self.world.store.list())[0]:
            if one.metadata.paused:  # it was forgotten while it was suspended, and so is left alone
                await self.world.store.annotate(one.key, {PAUSED: "false"})
        await settle(self.daemon)
        orphans = await self.world.store.orphans()
        found = await wrong(self.world, self.wanted.values(), orphans=orphans)
        fresh = World()
        objects, _ = await self.world.store.list()
        await fresh.commit([normalise(one) for one in objects])
        await settle(await fresh.daemon())
        walked, straight = await shape(self.world, orphans), await shape(fresh, orphans)
        found += [
            f"P11: {name}: {walked[name]} is not {straight[name]}" for name in straight if walked[name] != straight[name]
        ]
        return [*found, *await writes_at_rest(self.world)]


def _resumed(pc: Pc) -> Pc:
    policies = tuple(policy for policy in pc.session if policy[0] != "paused")
    return replace(pc, machine=policies, session=policies)


async def shape(world: World, orphans: frozenset[str]) -> Mapping[str, object]:
    """What stands outside, without the uids, which no two worlds share."""
    seen = await world.lio(world.kernel).observe(None)
    served = {
        iqn: {name: _UID.sub("", value) for name, value in state.facts.items()}
        for iqn, state in seen.targets.items()
        if not any(f":{name}." in iqn for name in orphans)
    }
    scripts = {
        path: data
        for path, data in world.tftp.files.items()
        if data  # what a hand has emptied names no machine, so nobody takes it away with one
        and not any(f" {name} ".encode() in data.replace(b"\n", b" ") for name in orphans)
    }
    return {"targets": served, "scripts": scripts, "hosts": dhcpd.parse_hosts(world.dhcp.loaded or "")}


TestWalk = Walk.TestCase
TestWalk.settings = settings(max_examples=30, stateful_step_count=25)
