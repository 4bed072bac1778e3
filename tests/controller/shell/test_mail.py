"""Mail through a real SMTP conversation: gathered, bounded, tried again."""

from collections.abc import AsyncIterator
from datetime import timedelta
from email import message_from_string
from email.header import decode_header, make_header

import pytest

from controller.adapters.notices_smtp import SmtpMailer
from controller.core.mail import MailServer
from controller.core.notices import MAIL_GATHERS, MAILS_AN_HOUR
from controller.ports.notices import Letter, NotDelivered
from controller.ports.store import Event
from tests.controller.shell.outboxes import Rig, drain, rig
from tests.receivers import Mailbox, mailbox

pytestmark = pytest.mark.anyio
SOON = MAIL_GATHERS + timedelta(seconds=1)


@pytest.fixture
async def box() -> AsyncIterator[Mailbox]:
    async with mailbox() as one:
        yield one


@pytest.fixture
async def ready(sqlite_url: str, box: Mailbox) -> AsyncIterator[Rig]:
    server = MailServer.parse(f"smtp://ada:hush@127.0.0.1:{box.port}")
    async with rig(sqlite_url, mailer=SmtpMailer(server, "ggnet@boot.example")) as one:
        await one.webhook(None, mail="operators@example.org")
        yield one


async def test_what_happens_within_half_a_minute_is_one_mail(ready: Rig, box: Mailbox) -> None:
    await ready.put("pc1", "pc2")
    await drain(await ready.leading())
    assert box.mails == []
    await ready.put("pc3")
    ready.clock.by = SOON
    await drain(await ready.leading())
    ((sender, to, text),) = box.mails
    assert sender.startswith("mail FROM:<ggnet@boot.example>")
    assert to == ["rcpt TO:<operators@example.org>"]
    assert box.logins == ["\0ada\0hush"]
    message = message_from_string(text)
    assert str(make_header(decode_header(message["Subject"]))) == "[ggnet here] Machine/pc1: created (and 2 more)"
    assert (message["From"], message["To"]) == ("ggnet@boot.example", "operators@example.org")
    assert message["Auto-Submitted"] == "auto-generated"
    lines = text.split("\r\n\r\n")[1].splitlines()
    assert [line.split(" ", 2)[2] for line in lines[:3]] == [f"Machine/pc{number}: created" for number in (1, 2, 3)]
    assert await ready.states() == ["delivered"] * 3


async def test_a_message_of_an_event_cannot_become_a_header(ready: Rig, box: Mailbox) -> None:
    now = ready.clock.now()
    await ready.store.tell(
        [Event("Machine/pc1", "Warning", "Drifted", "x\r\nBcc: evil@example.org\r\n\r\n.\r\nQUIT", now, now)]
    )
    await drain(await ready.leading())
    ready.clock.by = SOON
    await drain(await ready.leading())
    ((_, to, text),) = box.mails
    assert len(to) == 1
    assert "Bcc" not in message_from_string(text)
    assert "\nBcc" not in text


async def test_an_hour_has_no_more_than_so_many_mails_and_nothing_is_lost(ready: Rig, box: Mailbox) -> None:
    deliverer = await ready.leading()
    for number in range(1, MAILS_AN_HOUR + 6):
        ready.clock.by += SOON
        await ready.put(f"pc{number}")
        await deliverer.follow()
        ready.clock.by += SOON
        await deliverer.round("one")
    assert len(box.mails) == MAILS_AN_HOUR
    ready.clock.by += timedelta(hours=1)
    await drain(await ready.leading())
    assert len(box.mails) == MAILS_AN_HOUR + 1
    told = "".join(text for _, _, text in box.mails)
    assert {number for number in range(1, MAILS_AN_HOUR + 6) if f"Machine/pc{number}: created" in told} == set(
        range(1, MAILS_AN_HOUR + 6)
    )


async def test_a_mail_that_is_refused_is_tried_again(ready: Rig, box: Mailbox) -> None:
    box.refuse = "451 later"
    await ready.put("pc1")
    await drain(await ready.leading())
    ready.clock.by = SOON
    await drain(await ready.leading())
    (one,) = await ready.notices.deliveries("one", None, None, 10)
    assert (one.state, one.attempts, one.error) == ("pending", 1, "the mail server answered 451")
    box.refuse = ""
    ready.clock.by += timedelta(minutes=1)
    await drain(await ready.leading())
    assert await ready.states() == ["delivered"]
    assert len(box.mails) == 1


async def test_what_waits_for_its_next_try_is_not_used_up_by_what_comes_new(ready: Rig, box: Mailbox) -> None:
    box.refuse = "451 later"
    await ready.put("pc1")
    deliverer = await ready.leading()
    await deliverer.follow()
    for number in range(2, 8):
        ready.clock.by += SOON
        await deliverer.round("one")
        await ready.put(f"pc{number}")
        await deliverer.follow()
    found = {one.subject: one.attempts for one in await ready.notices.deliveries("one", None, None, 10)}
    assert found["Machine/pc1"] <= 3


async def test_without_a_mail_server_it_stays_and_says_why(sqlite_url: str) -> None:
    async with rig(sqlite_url) as ready:
        await ready.webhook(None, mail="operators@example.org")
        await ready.put("pc1")
        await drain(await ready.leading())
        ready.clock.by = SOON
        await drain(await ready.leading())
        (one,) = await ready.notices.deliveries("one", None, None, 10)
        assert "GGNET_SMTP_URL" in (one.error or "")


async def test_a_mail_server_that_is_not_there_is_a_failure_without_its_password(ready: Rig) -> None:
    mailer = SmtpMailer(MailServer.parse("smtp://ada:hush@127.0.0.1:1"), "ggnet@boot.example")
    async with mailbox() as gone:
        pass
    assert gone.mails == []
    with pytest.raises(NotDelivered, match="cannot be reached") as caught:
        await mailer.send(Letter("a@example.org", "s", "t", "m", ready.clock.now()))
    assert "hush" not in str(caught.value)
