"""What is told, to whom, when again; and the signature by the published example of Standard Webhooks."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.core import mail, notices, signing
from controller.core.notices import Delivery, Fact, Notice, Sighting, Webhook

NOW = datetime(2026, 1, 5, 12, tzinfo=UTC)
WEBHOOK = Webhook("w", "https://example.org/", None, notices.EVENTS, (), "", "whsec_" + "A" * 32, True, NOW, "ada")
DELIVERY = Delivery(1, "msg_1", "w", "phase-changed", "Machine/pc1", "{}", NOW, NOW)


def fact(uid: str = "u", version: int = 1, phase: str = "Pending") -> Fact:
    return Fact(uid, version, phase, {"room": "main"})


def sighting(found: Fact, deleting: bool = False) -> Sighting:
    return Sighting(found, deleting, {"kind": "Machine", "metadata": {"name": "pc1", "uid": found.uid}})


facts = st.builds(fact, st.sampled_from("uv"), st.integers(1, 3), st.sampled_from(["Pending", "Ready", "Failed"]))


def test_the_signature_is_that_of_the_published_example() -> None:
    """From the Standard Webhooks specification's reference libraries."""
    found = signing.headers(
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        1614265330,
        b'{"test": 2432232314}',
        ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"],
    )
    assert found["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@pytest.mark.parametrize(
    "secret", ["", "whsec_", "whsec_short", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_ä" + "A" * 40, "whsec_" + "A" * 100]
)
def test_a_secret_that_cannot_sign_is_refused(secret: str) -> None:
    with pytest.raises(ValueError, match="base64"):
        signing.key(secret)


def test_no_representation_shows_a_secret() -> None:
    webhook = replace(WEBHOOK, previous_secret="whsec_" + "B" * 32)
    assert "AAAA" not in repr(webhook)
    assert "BBBB" not in repr(webhook)
    assert "hush" not in repr(mail.MailServer.parse("smtps://ada:hush@mail.example"))


@given(st.one_of(st.none(), facts))
def test_nothing_is_told_of_what_has_not_changed(found: Fact | None) -> None:
    now = sighting(found) if found else None
    assert list(notices.of_object("Machine/pc1", found, now)) == []


@given(st.one_of(st.none(), facts), st.one_of(st.none(), facts))
def test_what_is_told_leads_from_what_was_to_what_is(before: Fact | None, now: Fact | None) -> None:
    """A receiver that believes every notice knows in the end whether the object is there, and in which phase it is."""
    phase = before.phase if before else None
    for notice in notices.of_object("Machine/pc1", before, sighting(now) if now else None):
        if notice.event == "phase-changed":
            assert notice.data["from"] == phase
            phase = notice.data["to"]
        elif notice.data["change"] == "deleted":
            assert phase is not None
            phase = None
        elif notice.data["change"] == "created":
            assert phase is None
            phase = "Pending"
    assert phase == (now.phase if now else None)


def test_a_namesake_that_came_instead_is_another_object() -> None:
    found = list(notices.of_object("Machine/pc1", fact("old", 1, "Ready"), sighting(fact("new", 9, "Ready"))))
    assert [notice.data.get("change") or notice.data["to"] for notice in found] == ["deleted", "created", "Ready"]
    assert found[0].data["object"]["metadata"]["uid"] == "old"


def test_a_deleted_object_is_matched_by_the_labels_that_it_had() -> None:
    (notice,) = notices.of_object("Machine/pc1", fact(), None)
    assert notices.wants(WEBHOOK, notice, lambda labels: labels.get("room") == "main")
    assert not notices.wants(WEBHOOK, notice, lambda labels: labels.get("room") == "lab")


def test_the_tries_take_about_a_day_and_then_end() -> None:
    one, now, times = DELIVERY, NOW, list[datetime]()
    while one.state == "pending":
        times.append(now)
        one = notices.tried(one, now, status=500, error="answered 500")
        now = one.not_before
    assert len(times) == notices.TRIES
    assert timedelta(hours=18) < times[-1] - NOW < timedelta(hours=30)
    assert (one.state, one.ended_at, one.body) == ("dead", times[-1], "{}")


@given(st.integers(1, 7), st.uuids())
def test_a_pause_is_spread_by_a_fifth_and_the_same_every_time(attempts: int, identifier: object) -> None:
    base = notices._DELAYS[attempts - 1]
    found = notices.pause(attempts, str(identifier))
    assert 0.8 * base <= found <= 1.2 * base
    assert found == notices.pause(attempts, str(identifier))


def test_pauses_of_two_deliveries_differ() -> None:
    assert len({notices.pause(4, f"msg_{number}") for number in range(50)}) == 50


def test_a_webhook_is_hopeless_after_days_of_nothing_but_failures() -> None:
    failed = notices.tried(DELIVERY, NOW, status=500, error="answered 500")
    arrived = notices.tried(DELIVERY, NOW, status=200, error=None)
    failing = replace(WEBHOOK, failing_since=NOW)
    later = NOW + notices.HOPELESS
    assert notices.hopeless(failing, [failed], later) is not None
    assert notices.hopeless(failing, [failed], later - timedelta(seconds=1)) is None
    assert notices.hopeless(failing, [failed, arrived], later) is None
    assert notices.hopeless(WEBHOOK, [failed], later) is None
    assert notices.hopeless(failing, [replace(failed, event="ping")], later) is None
    assert "410" in (notices.hopeless(WEBHOOK, [replace(failed, status=410)], NOW) or "")


def test_a_body_is_ascii_json_whatever_it_holds() -> None:
    text = notices.body(Notice("drift", "Machine/pc1", {}, {"event": {"message": "\0\r\n\ud800 ü"}}), NOW)
    assert text.isascii()
    assert json.loads(text)["data"]["event"]["message"] == "\0\r\n\ud800 ü"


def test_an_object_too_large_is_named_instead() -> None:
    wire = {"kind": "Machine", "metadata": {"name": "pc1", "uid": "u", "annotations": {"a": "x" * 100_000}}}
    value = json.loads(
        notices.body(Notice("phase-changed", "Machine/pc1", {}, {"from": "a", "to": "b", "object": wire}), NOW)
    )
    assert value["data"]["object"] == {"apiVersion": "ggnet/v1", "kind": "Machine", "metadata": {"name": "pc1", "uid": "u"}}
    assert value["data"]["cut"] is True
    assert value["data"]["to"] == "b"


def test_a_sentence_is_one_line_whatever_happened() -> None:
    event = {"object": "Machine/pc1", "reason": "Drifted", "message": "a\r\nBcc: x@example.org\0"}
    line = notices.sentence(notices.body(Notice("drift", "Machine/pc1", {}, {"event": event}), NOW))
    assert line == "2026-01-05 12:00:00 Machine/pc1: Drifted: a  Bcc: x@example.org "


def test_an_hour_has_so_many_mails_and_no_more() -> None:
    sent = [NOW + timedelta(minutes=number) for number in range(notices.MAILS_AN_HOUR)]
    now = NOW + timedelta(minutes=30)
    assert notices.mail_due(sent[:-1], now) == now
    assert notices.mail_due(sent, now) == NOW + timedelta(hours=1)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ada",
        "ada@",
        "@example.org",
        "a@b@c",
        "Ada <ada@example.org>",
        "a@example.org\nBcc: b@c.d",
        "a b@c.d",
        "ä@example.org",
        "a@exa..mple",
        "a@-x",
    ],
)
def test_what_is_no_mail_address_alone_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="an address alone"):
        mail.address(text)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "mail.example",
        "http://mail.example",
        "smtp://ada:hush@mail.example",
        "smtps://",
        "smtps://h:99999",
        "smtps://ada:hush@h/path",
        "smtps://[hush",
    ],
)
def test_a_mail_servers_url_is_refused_without_being_repeated(url: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 the settings say which variable it is
        mail.MailServer.parse(url)
    assert "hush" not in str(caught.value)


def test_a_mail_servers_url_is_read() -> None:
    found = mail.MailServer.parse("smtp+starttls://ada:a%40b@mail.example")
    assert (found.host, found.port, found.user, found.password) == ("mail.example", 587, "ada", "a@b")
