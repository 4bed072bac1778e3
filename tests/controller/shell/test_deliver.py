"""Webhooks end to end but for the door: a real database, a real receiver, a signature verified by another's code."""

from collections.abc import AsyncIterator
from datetime import timedelta

import anyio
import pytest

from controller.core.names import controller_lease
from controller.core.notices import BACKLOG, EVENTS, HOPELESS, PING, TRIES, Notice
from controller.ports.store import Event, Fenced, Revision, StatusWrite
from tests.contracts.stores import TOLD
from tests.controller.shell.outboxes import SECRET, Rig, drain, rig, running, until
from tests.receivers import OK, Receiver, Request, answer, receiving, signed
from tests.servers import Postgres

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest) -> str:
    found: str = request.getfixturevalue("sqlite_url" if request.param == "sqlite" else "postgres_url")
    return found


@pytest.fixture
async def ready(url: str) -> AsyncIterator[Rig]:
    async with rig(url, kept=64) as one:
        yield one


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as one:
        yield one


async def report(ready: Rig, key: str, phase: str) -> None:
    lease = await ready.store.acquire(controller_lease("default"), "controller", ready.clock.now(), 600)
    assert lease is not None
    uid = (await ready.store.get(key)).metadata.uid or ""
    await ready.store.report(lease, statuses=[StatusWrite(key, uid, {"observedGeneration": 1, "phase": phase})])


def told(receiver: Receiver) -> list[tuple[str, str]]:
    """Type, and what is most telling of it."""
    found = []
    for request in receiver.requests:
        data = request.json["data"]
        found.append((request.json["type"], data.get("change") or data.get("to") or data.get("verdict") or ""))
    return found


async def settled(ready: Rig, number: int) -> None:
    with anyio.fail_after(20):
        while await ready.states() != ["delivered"] * number:  # noqa: ASYNC110 the database is asked
            await anyio.sleep(0.05)


async def test_what_happens_to_an_object_is_told_in_order(ready: Rig, receiver: Receiver) -> None:
    await ready.webhook(receiver.url)
    deliverer = await ready.leading()
    await ready.put("pc1", room="main")
    await drain(deliverer)
    await report(ready, "Machine/pc1", "Ready")
    await drain(deliverer)
    await ready.put("pc1", room="lab")
    await drain(deliverer)
    uid = (await ready.store.get("Machine/pc1")).metadata.uid or ""
    await ready.store.mark_deleted(["Machine/pc1"], ready.clock.now())
    await drain(deliverer)
    await ready.store.remove("Machine/pc1", uid, ready.clock.now())
    await drain(deliverer)
    assert told(receiver) == [
        ("object-changed", "created"),
        ("phase-changed", "Ready"),
        ("object-changed", "updated"),
        ("object-changed", "deleting"),
        ("object-changed", "deleted"),
    ]
    assert receiver.requests[1].json["data"]["from"] == "Pending"
    assert receiver.requests[1].json["data"]["object"]["metadata"]["name"] == "pc1"
    assert receiver.requests[4].json["data"]["object"] == {
        "apiVersion": "ggnet/v1",
        "kind": "Machine",
        "metadata": {"name": "pc1", "uid": uid},
    }
    assert len(set(receiver.ids)) == 5


async def test_what_was_before_the_webhook_is_not_told_and_what_follows_is(ready: Rig, receiver: Receiver) -> None:
    await ready.put("pc1")
    await ready.webhook(receiver.url)
    await ready.put("pc2")
    await drain(await ready.leading())
    assert [request.json["data"]["object"]["metadata"]["name"] for request in receiver.requests] == ["pc2"]


async def test_every_request_is_signed_as_standard_webhooks_says(ready: Rig, receiver: Receiver) -> None:
    await ready.webhook(receiver.url)
    await ready.put("pc1")
    await drain(await ready.leading())
    (request,) = receiver.requests
    now = ready.clock.now().timestamp()
    assert signed(request, SECRET, now)
    assert not signed(request, "whsec_" + "A" * 32, now)
    assert not signed(Request(request.target, request.headers, request.body + b" "), SECRET, now)
    assert not signed(request, SECRET, now + 600)
    assert request.target == "/hook"
    assert request.headers["host"] == f"127.0.0.1:{receiver.port}"
    assert request.headers["content-type"] == "application/json"


async def test_while_a_secret_is_rotated_both_verify_and_then_only_the_new_one(ready: Rig, receiver: Receiver) -> None:
    await ready.webhook(receiver.url)
    new = "whsec_" + "B" * 32
    until = ready.clock.now() + timedelta(hours=1)
    await ready.notices.change("one", {"secret": new, "previous_secret": SECRET, "previous_until": until}, TOLD)
    deliverer = await ready.leading()
    await ready.put("pc1")
    await drain(deliverer)
    ready.clock.by = timedelta(hours=2)
    deliverer = await ready.leading()
    await ready.put("pc2")
    await drain(deliverer)
    during, after = receiver.requests
    at = [int(request.headers["webhook-timestamp"]) for request in receiver.requests]
    assert signed(during, SECRET, at[0])
    assert signed(during, new, at[0])
    assert not signed(after, SECRET, at[1])
    assert signed(after, new, at[1])


async def test_labels_kinds_and_events_narrow_what_is_told(ready: Rig, receiver: Receiver) -> None:
    await ready.webhook(receiver.url, "room", label_selector="room=main", events=("object-changed",))
    await ready.webhook(receiver.url, "kind", kinds=("Session",))
    await ready.webhook(receiver.url, "phase", events=("phase-changed",))
    deliverer = await ready.leading()
    await ready.put("pc1", room="main")
    await ready.put("pc2", room="lab")
    await report(ready, "Machine/pc2", "Ready")
    await drain(deliverer, "room", "kind", "phase")
    assert len(await ready.states("room")) == 1
    assert len(await ready.states("kind")) == 0
    assert told(receiver) == [("object-changed", "created"), ("phase-changed", "Ready")]


async def test_drift_warnings_and_revisions_are_told(ready: Rig, receiver: Receiver) -> None:
    now = ready.clock.now()
    await ready.store.record(Revision("infra", "old", "Ada", "before", "accepted", (), now))
    await ready.webhook(receiver.url)
    deliverer = await ready.leading()
    await ready.store.tell([Event("Machine/pc1", "Warning", "Drifted", "was changed", now, now)])
    await ready.store.tell([Event("Machine/pc1", "Warning", "PoolFull", "no room", now, now)])
    await ready.store.tell([Event("Machine/pc1", "Normal", "Ready", "fine", now, now)])
    await ready.store.record(Revision("infra", "4f2a", "Ada", "add pc1", "accepted", (), now))
    await drain(deliverer)
    await ready.store.converged("infra", "4f2a", ready.clock.now())
    await drain(deliverer)
    found = {kind: [one.json["data"] for one in receiver.requests if one.json["type"] == kind] for kind in EVENTS}
    assert [event["event"]["message"] for event in found["drift"]] == ["was changed"]
    assert [event["event"]["reason"] for event in found["warning"]] == ["PoolFull"]
    assert [revision["state"] for revision in found["revision"]] == ["received", "converged"]
    assert len(receiver.requests) == 4


async def test_a_failed_delivery_is_tried_again_later_with_the_same_id_and_body(ready: Rig, receiver: Receiver) -> None:
    receiver.behave = lambda request: OK if len(receiver.requests) > 2 else answer(503)
    await ready.webhook(receiver.url)
    await ready.put("pc1")
    await drain(await ready.leading())
    assert len(receiver.requests) == 1
    for minutes, tries in ((0.01, 1), (0.2, 2), (0.5, 2), (2, 3)):
        ready.clock.by = timedelta(minutes=minutes)
        await drain(await ready.leading())
        assert len(receiver.requests) == tries, minutes
    assert len(set(receiver.ids)) == 1
    assert len({request.body for request in receiver.requests}) == 1
    now = ready.clock.now().timestamp()
    assert signed(receiver.requests[2], SECRET, now)
    (one,) = await ready.notices.deliveries("one", None, None, 10)
    assert (one.state, one.attempts, one.status, one.error, one.body) == ("delivered", 3, 204, None, None)
    assert (await ready.notices.webhook("one")).failing_since is None


async def test_what_never_arrives_is_a_dead_letter_within_two_days_and_can_be_sent_by_hand(
    ready: Rig, receiver: Receiver
) -> None:
    receiver.behave = lambda request: answer(500)
    await ready.webhook(receiver.url)
    await ready.put("pc1")
    for hours in range(48):
        ready.clock.by = timedelta(hours=hours)
        await drain(await ready.leading())
    # the first hour holds several tries, of which each needs its own moment
    while (await ready.states()) == ["pending"]:
        ready.clock.by += timedelta(hours=12)
        await drain(await ready.leading())
    (dead,) = await ready.notices.deliveries("one", "dead", None, 10)
    assert (dead.attempts, dead.status, dead.error) == (TRIES, 500, "answered 500")
    assert await ready.notices.undelivered() == {"pending": 0, "dead": 1}
    assert len(receiver.requests) == TRIES
    receiver.behave = lambda request: OK
    await ready.notices.again("one", dead.id, ready.clock.now(), TOLD)
    assert await ready.notices.undelivered() == {"pending": 1, "dead": 0}
    await drain(await ready.leading())
    assert await ready.states() == ["delivered"]
    assert receiver.ids[-1] == dead.id


async def test_the_order_of_one_object_holds_while_others_go_on(ready: Rig, receiver: Receiver) -> None:
    receiver.behave = lambda request: answer(500) if b'"pc1"' in request.body and not ready.clock.by else OK
    await ready.webhook(receiver.url, events=("object-changed",))
    deliverer = await ready.leading()
    await ready.put("pc1", n="1")
    await drain(deliverer)
    await ready.put("pc1", n="2")
    await ready.put("pc2")
    await drain(deliverer)
    assert await ready.states() == ["pending", "pending", "delivered"]
    ready.clock.by = timedelta(minutes=1)
    await drain(await ready.leading())
    arrived = [request.json["data"]["object"] for request in receiver.requests]
    assert [item["metadata"]["labels"] for item in arrived if item["metadata"]["name"] == "pc1"] == [
        {"n": "1"},
        {"n": "1"},
        {"n": "2"},
    ]


async def test_a_hanging_receiver_delays_no_other(url: str, receiver: Receiver) -> None:
    async with rig(url, seconds=60) as ready, receiving() as hanging:
        hanging.behave = lambda request: None
        await ready.webhook(hanging.url, "hangs")
        await ready.webhook(receiver.url, "works")
        async with running(ready.deliverer()):
            for number in range(1, 9):
                await ready.put(f"pc{number}")
            await until(lambda: len(receiver.requests) == 8)
            assert {one.attempts for one in await ready.notices.deliveries("hangs", None, None, 100)} == {0}
        assert 1 <= hanging.connections <= 4  # as many at a time as one webhook may have


async def test_a_database_that_dies_and_comes_back_loses_nothing(
    postgres_server: Postgres, postgres_url: str, receiver: Receiver
) -> None:
    async with rig(postgres_url) as ready:
        await ready.webhook(receiver.url)
        async with running(ready.deliverer()):
            await ready.put("pc1")
            await until(lambda: len(receiver.requests) == 1)
            postgres_server.stop(immediate=True)
            await anyio.sleep(0.3)
            await anyio.to_thread.run_sync(postgres_server.start)
            await ready.put("pc2")
            await until(lambda: len(set(receiver.ids)) == 2)
            await settled(ready, 2)


async def test_a_restart_in_the_middle_loses_nothing(ready: Rig, receiver: Receiver) -> None:
    """Stopped at any moment, also between following and sending; what was under way comes again under its id."""
    await ready.webhook(receiver.url)
    names = [f"pc{number}" for number in range(1, 41)]
    for number, name in enumerate(names):
        await ready.put(name)
        if number % 4 == 0:
            async with running(ready.deliverer(f"holder-{number}")):
                await anyio.sleep(0.01 * (number % 7))
    async with running(ready.deliverer("last")):
        await settled(ready, 40)
    arrived = {request.json["data"]["object"]["metadata"]["name"] for request in receiver.requests}
    assert arrived == set(names)
    assert len(set(receiver.ids)) == 40


async def test_of_two_deliverers_one_sends_and_the_other_takes_over(url: str, receiver: Receiver) -> None:
    async with rig(url) as first, rig(url) as second:
        await first.webhook(receiver.url)
        async with anyio.create_task_group() as tasks:
            stopping = anyio.CancelScope()

            async def one() -> None:
                with stopping:
                    await first.deliverer("one").run()

            tasks.start_soon(one)
            tasks.start_soon(second.deliverer("two").run)
            for number in range(1, 21):
                await first.put(f"pc{number}")
            await until(lambda: len(receiver.requests) >= 20)
            assert len(set(receiver.ids)) == len(receiver.requests) == 20
            lease = await first.store.lease("webhooks")
            stopping.cancel()
            for number in range(21, 31):
                await first.put(f"pc{number}")
            await until(lambda: len(set(receiver.ids)) >= 30)
            tasks.cancel_scope.cancel()
        after = await first.store.lease("webhooks")
        assert lease is not None
        assert after is None or after.epoch >= lease.epoch
        names = [request.json["data"]["object"]["metadata"]["name"] for request in receiver.requests]
        assert sorted(set(names)) == sorted(f"pc{number}" for number in range(1, 31))


async def test_one_that_lost_the_lease_puts_nothing_into_the_queue(ready: Rig, receiver: Receiver) -> None:
    await ready.webhook(receiver.url)
    old = await ready.leading()
    await ready.lease()
    await ready.put("pc1")
    with pytest.raises(Fenced):
        await old.follow()
    assert await ready.states() == []
    await drain(await ready.leading())
    assert await ready.states() == ["delivered"]


async def test_a_change_log_that_was_trimmed_is_said_and_followed_from_now(ready: Rig, receiver: Receiver) -> None:
    await ready.put("pc3")
    await ready.webhook(receiver.url, events=("object-changed",))
    await ready.store.mark_deleted(["Machine/pc3"], ready.clock.now())
    uid = (await ready.store.get("Machine/pc3")).metadata.uid or ""
    await ready.store.remove("Machine/pc3", uid, ready.clock.now())
    for number in range(1, 200):
        await ready.put("pc1", n=str(number))
    deliverer = await ready.leading()
    await drain(deliverer)
    await ready.put("pc3")
    await drain(deliverer)
    types = [request.json["type"] for request in receiver.requests]
    assert types[0] == "gap"
    assert "afresh" in receiver.requests[0].json["data"]["message"]
    assert types == ["gap", "object-changed"]
    assert [event.reason for event in await ready.store.events("Webhook/one")] == ["ChangesMissed"]
    assert told(receiver)[1] == ("object-changed", "created")  # of the pc3 that went meanwhile nothing is left to tell


async def test_a_receiver_that_fails_for_days_is_switched_off_and_that_is_said(ready: Rig, receiver: Receiver) -> None:
    receiver.behave = lambda request: answer(500)
    await ready.webhook(receiver.url)
    await ready.put("pc1")
    await drain(await ready.leading())
    ready.clock.by = HOPELESS + timedelta(minutes=1)
    await drain(await ready.leading())
    found = await ready.notices.webhook("one")
    assert not found.enabled
    assert "3 days" in (found.disabled_reason or "")
    events = await ready.store.events("Webhook/one")
    assert [event.reason for event in events] == ["WebhookDisabled"]
    assert "ggnet webhook enable one" in events[0].message
    assert set(await ready.states()) == {"dead"}
    tries = len(receiver.requests)
    await ready.put("pc2")
    await drain(await ready.leading())
    assert len(receiver.requests) == tries


async def test_410_switches_it_off_at_once(ready: Rig, receiver: Receiver) -> None:
    receiver.behave = lambda request: answer(410)
    await ready.webhook(receiver.url)
    await ready.put("pc1")
    await drain(await ready.leading())
    assert not (await ready.notices.webhook("one")).enabled


async def test_a_test_reaches_a_disabled_webhook_once_and_says_nothing_of_its_health(ready: Rig, receiver: Receiver) -> None:
    receiver.behave = lambda request: answer(500)
    await ready.webhook(receiver.url, enabled=False)
    sent = await ready.notices.enqueue("one", Notice(PING, "ping/1", {}, {"message": "a test"}), ready.clock.now(), TOLD)
    await drain(await ready.leading())
    found = await ready.notices.delivery("one", sent.id)
    assert (found.state, found.attempts, found.error) == ("dead", 1, "answered 500")
    assert (await ready.notices.webhook("one")).failing_since is None
    assert receiver.requests[0].json["type"] == "ping"


async def test_while_a_webhook_is_paused_its_queue_waits(ready: Rig, receiver: Receiver) -> None:
    await ready.webhook(receiver.url)
    await ready.webhook(receiver.url, "other")
    deliverer = await ready.leading()
    await ready.put("pc1")
    await deliverer.follow()
    await ready.notices.change("one", {"enabled": False}, TOLD)
    await ready.put("pc2")
    await drain(deliverer, "one")
    assert await ready.states() == ["pending"]
    await ready.notices.change("one", {"enabled": True}, TOLD)
    await drain(deliverer, "one")
    assert await ready.states() == ["delivered"]


async def test_without_a_webhook_nothing_is_kept(ready: Rig, receiver: Receiver) -> None:
    await ready.put("pc1")
    assert await ready.notices.look(10) is None
    await ready.webhook(receiver.url)
    assert await ready.notices.look(10) is not None
    await ready.notices.drop("one", TOLD)
    assert await ready.notices.look(10) is None
    assert await ready.notices.webhooks() == []


async def test_what_ended_long_ago_is_forgotten(ready: Rig, receiver: Receiver) -> None:
    await ready.webhook(receiver.url)
    await ready.put("pc1")
    await drain(await ready.leading())
    now = ready.clock.now()
    lease = await ready.lease()
    await ready.notices.tidy(lease, now - timedelta(hours=1), now)
    assert await ready.states() == ["delivered"]
    await ready.notices.tidy(lease, now + timedelta(hours=1), now)
    assert await ready.states() == []


async def test_a_backlog_that_only_grows_switches_the_webhook_off(ready: Rig, receiver: Receiver) -> None:
    webhook = await ready.webhook(receiver.url)
    many = [(webhook, Notice("drift", f"Machine/pc{n}", {}, {})) for n in range(BACKLOG + 1)]
    glance = await ready.notices.look(10)
    assert glance is not None
    await ready.notices.take(await ready.lease(), glance, many, ready.clock.now())
    async with running(ready.deliverer()):
        with anyio.fail_after(20):
            while (await ready.notices.webhook("one")).enabled:  # noqa: ASYNC110 the database is asked
                await anyio.sleep(0.05)
    assert receiver.requests == []
