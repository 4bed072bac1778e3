"""Webhooks through the door: who may, what is refused with which field, and that no secret is said twice."""

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import update

from api.deps import Role
from controller.adapters import migrate
from controller.adapters.notices import MOST, SqlNotices
from controller.adapters.store import SqlStore
from controller.adapters.tables import deliveries
from controller.core.notices import PING, Notice
from tests.api.served import Served, asking, serving
from tests.api.test_doors_are_closed import addresses, application
from tests.api.test_problems import check
from tests.api.warm import Warm
from tests.contracts.stores import TOLD

HOOKS = "/api/v1/webhooks"
OURS = "whsec_" + "Q" * 32


@pytest.fixture
def open_door(tmp_path: Path, warm: Warm) -> Iterator[Served]:
    """A door that may send to loopback, and has a mail server."""
    configured: dict[str, Any] = {"webhook_allow": "127.0.0.0/8", "smtp_url": "smtp://ada:hush@127.0.0.1:1025"}
    with serving(tmp_path, warm, **configured) as served:
        yield served


def create(http: httpx.Client, **fields: Any) -> Any:
    made = http.post(HOOKS, json={"url": "http://127.0.0.1:8080/hook", **fields})
    assert made.status_code == 201, made.text
    return made.json()


def test_a_webhook_is_created_read_changed_and_deleted(open_door: Served) -> None:
    with open_door.http as http:
        made = create(http, events=["drift", "drift", "warning"], kinds=["Session"], labelSelector="room=main")
        path = f"{HOOKS}/{made['id']}"
        read = http.get(path).json()
        assert read == {name: value for name, value in made.items() if name != "secret"}
        assert (read["events"], read["kinds"], read["createdBy"]) == (["drift", "warning"], ["Session"], "admin")
        changed = http.patch(path, json={"enabled": False, "events": ["revision"]}).json()
        assert changed == {**read, "enabled": False, "events": ["revision"]}
        assert http.get(HOOKS).json() == {"items": [changed]}
        gone = http.delete(path)
        assert (gone.status_code, gone.content) == (204, b"")
        check(http.get(path), 404)
        check(http.delete(path), 404)


def test_the_secret_is_answered_once_and_is_nowhere_else(open_door: Served) -> None:
    with open_door.http as http:
        made = create(http)
        given = create(http, secret=OURS)
        rotated = http.post(f"{HOOKS}/{given['id']}/rotate-secret", json={"overlapHours": 2}).json()
        assert re.fullmatch(r"whsec_[A-Za-z0-9+/]{43}=", made["secret"])
        assert given["secret"] == OURS
        assert rotated["secret"] not in (OURS, made["secret"])
        assert rotated["previousSecretUntil"] > made["createdAt"]
        for identifier in (made["id"], given["id"]):
            http.post(f"{HOOKS}/{identifier}/test")
        told = "".join(
            http.get(path).text
            for path in (
                HOOKS,
                *(f"{HOOKS}/{one['id']}{rest}" for one in (made, given) for rest in ("", "/deliveries")),
                "/api/v1/events",
                "/metrics",
            )
        )
        told += http.patch(f"{HOOKS}/{made['id']}", json={"enabled": True}).text
        for secret in (made["secret"], OURS, rotated["secret"], "whsec_"):
            assert secret not in told


def test_a_secret_without_overlap_is_replaced_at_once(open_door: Served) -> None:
    with open_door.http as http:
        made = create(http)
        after = http.post(f"{HOOKS}/{made['id']}/rotate-secret", json={"overlapHours": 0, "secret": OURS}).json()
        assert after["secret"] == OURS
        assert "previousSecretUntil" not in after


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"url": "https://10.0.0.1/"}, "url"),
    ({"url": "https://169.254.169.254/latest/meta-data/"}, "url"),
    ({"url": "https://[::1]/"}, "url"),
    ({"url": "https://[::ffff:10.0.0.1]/"}, "url"),
    ({"url": "https://localhost.:8443/"}, "url"),
    ({"url": "https://2130706433/"}, "url"),
    ({"url": "https://127.1/"}, "url"),
    ({"url": "https://user:hush@example.org/"}, "url"),
    ({"url": "https://nowhere.invalid/"}, "url"),
    ({"url": "http://93.184.216.34/"}, "url"),
    ({"url": "https://127.0.0.1:22/"}, "url"),
    ({"url": "ftp://127.0.0.1/"}, "url"),
    ({"url": "x" * 3000}, "url"),
    ({"url": None, "mail": "ada"}, "mail"),
    ({"url": None, "mail": "ada@example.org\nBcc: x@example.org"}, "mail"),
    ({"mail": "ada@example.org"}, "body"),
    ({"url": None}, "body"),
    ({"events": []}, "events"),
    ({"kinds": ["Printer"]}, "kinds.0"),
    ({"labelSelector": "a\u0000b"}, "labelSelector"),
    ({"secret": "whsec_hush"}, "secret"),
    ({"secret": "hush" * 100}, "secret"),
    ({"disabledReason": "none"}, "disabledReason"),
    ({"id": "mine"}, "id"),
    ({"failingSince": None}, "failingSince"),
]


@pytest.mark.parametrize(("fields", "field"), REFUSED, ids=lambda value: ascii(value)[:50])
def test_a_refusal_names_the_field_and_repeats_no_secret(open_door: Served, fields: dict[str, Any], field: str) -> None:
    with open_door.http as http:
        answer = http.post(HOOKS, json={"url": "http://127.0.0.1:8080/hook", **fields})
        check(answer, 422)
        assert [error["field"] for error in answer.json()["errors"]] == [field]
        assert "hush" not in answer.text
        assert http.get(HOOKS).json()["items"] == []


def test_a_change_is_checked_like_a_new_one(open_door: Served) -> None:
    with open_door.http as http:
        path = f"{HOOKS}/{create(http)['id']}"
        for change, status in (
            ({"url": "https://10.0.0.1/"}, 422),
            ({"mail": "ada@example.org"}, 422),
            ({"secret": OURS}, 422),
            ({"labelSelector": "a b c"}, 400),
        ):
            check(http.patch(path, json=change), status)
        check(http.patch(path, content="{", headers={"content-type": "application/json"}), 422)
        mailed = create(http, url=None, mail="ada@example.org")
        check(http.patch(f"{HOOKS}/{mailed['id']}", json={"url": "http://127.0.0.1:8080/"}), 422)


def test_without_allowed_networks_and_mail_server_neither_is_taken(door: Served) -> None:
    with door.http as http:
        private = http.post(HOOKS, json={"url": "http://127.0.0.1:8080/"})
        check(private, 422)
        assert "GGNET_WEBHOOK_ALLOW" in private.json()["detail"]
        mail = http.post(HOOKS, json={"mail": "ada@example.org"})
        check(mail, 422)
        assert "GGNET_SMTP_URL" in mail.json()["detail"]


@pytest.mark.parametrize("identifier", ["x", "%00", "..%2f", "'%20OR%20'1", "a" * 300, "%F0%9F%92%A9"])
def test_an_id_that_is_none_is_not_found(open_door: Served, identifier: str) -> None:
    with open_door.http as http:
        for method, rest in (("GET", ""), ("PATCH", ""), ("DELETE", ""), ("POST", "/test"), ("GET", "/deliveries")):
            check(http.request(method, f"{HOOKS}/{identifier}{rest}", json={}), 404)
        made = create(http)
        check(http.post(f"{HOOKS}/{made['id']}/deliveries/{identifier}/retry"), 404)


def test_deliveries_are_listed_in_pages_by_state_and_dead_ones_are_tried_again(open_door: Served) -> None:
    with open_door.http as http:
        made = create(http, enabled=False)
        sent = [http.post(f"{HOOKS}/{made['id']}/test").json()["id"] for _ in range(5)]
        path = f"{HOOKS}/{made['id']}/deliveries"
        first = http.get(path, params={"limit": 3}).json()
        rest = http.get(path, params={"limit": 3, "continue": first["metadata"]["continue"]}).json()
        assert [one["id"] for one in (*first["items"], *rest["items"])] == sent[::-1]
        assert rest["metadata"] == {}
        bury(open_door, sent[0])
        dead = http.get(path, params={"state": "dead"}).json()["items"]
        assert [(one["id"], one["error"], "nextTryAt" in one) for one in dead] == [(sent[0], "answered 500", False)]
        again = http.post(f"{path}/{sent[0]}/retry")
        assert (again.status_code, again.json()["state"], again.json()["attempts"]) == (202, "pending", 0)
        assert http.get(path, params={"state": "dead"}).json()["items"] == []
        check(http.get(path, params={"state": "lost"}), 422)
        other = create(http)
        check(http.post(f"{HOOKS}/{other['id']}/deliveries/{sent[0]}/retry"), 404)


def bury(served: Served, identifier: str) -> None:
    async def act(store: SqlStore) -> None:
        async with store.database.write() as conn:
            dead = {"state": "dead", "attempts": 8, "error": "answered 500"}
            await conn.execute(update(deliveries).where(deliveries.c.id == identifier).values(dead))

    served._on_store(act)


def test_there_is_an_end_to_how_many(open_door: Served) -> None:
    async def fill(store: SqlStore) -> None:
        notices = SqlNotices(store.database, store.trail)
        (webhook,) = await notices.webhooks()
        for number in range(1, MOST):
            await notices.add(replace(webhook, id=str(number)), TOLD)

    with open_door.http as http:
        create(http, enabled=False)
        open_door._on_store(fill)
        full = http.post(HOOKS, json={"url": "http://127.0.0.1:8080/hook"})
        check(full, 409)
        assert full.json()["error_code"] == "full"


@pytest.mark.parametrize("role", [Role.VIEWER, Role.OPERATOR])
def test_every_address_is_for_administrators_alone(tmp_path: Path, role: Role) -> None:
    anyio.run(migrate.upgrade, f"sqlite+aiosqlite:///{tmp_path / 'none.db'}")
    app = application(tmp_path)
    app.state.identify = asking("eve", role)
    found = [(method, path) for method, path in addresses(app) if path.startswith(HOOKS)]
    assert len(found) == 10

    async def ask() -> list[tuple[int, str]]:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as http:
            answers = [await http.request(method, re.sub(r"\{.*?\}", "x", path), json={}) for method, path in found]
            await app.state.door.store.close()
            return [(answer.status_code, answer.json()["error_code"]) for answer in answers]

    assert anyio.run(ask) == [(403, "forbidden")] * 10


def test_the_document_describes_every_answer_and_has_examples(tmp_path: Path) -> None:
    app: FastAPI = application(tmp_path)
    document = app.openapi()
    for path, item in document["paths"].items():
        if path.startswith(HOOKS):
            for method, operation in item.items():
                assert operation["tags"] == ["webhooks"]
                assert operation["summary"]
                assert {"401", "403", "404", "422", "503"} <= operation["responses"].keys(), (method, path)
    schemas = document["components"]["schemas"]
    for name in ("NewWebhook", "WebhookChange", "Rotation", "WebhookView", "WebhookSecret", "WebhookList", "DeliveryList"):
        assert schemas[name]["examples"], name
    assert "secret" not in schemas["WebhookView"]["properties"]


def test_a_statement_that_fails_shows_no_secret(open_door: Served) -> None:
    async def act(store: SqlStore) -> None:
        notices = SqlNotices(store.database, store.trail)
        (webhook,) = await notices.webhooks()
        with pytest.raises(Exception, match=r"UNIQUE") as caught:
            await notices.add(webhook, TOLD)
        assert webhook.secret not in str(caught.value)
        await notices.enqueue(webhook.id, Notice(PING, "ping/1", {}, {}), webhook.created_at, TOLD)

    with open_door.http as http:
        create(http)
    open_door._on_store(act)


def test_the_command_does_it_all(open_door: Served) -> None:
    url = "http://127.0.0.1:8080/hook"
    made = open_door.ggnet("webhook", "create", url, "--event", "drift", "--kind", "pc", "-l", "room=main", "-o", "json")
    assert made.returncode == 0, made.stderr
    webhook = json.loads(made.stdout)
    identifier = webhook["id"]
    assert (webhook["kinds"], webhook["events"], webhook["labelSelector"]) == (["Machine"], ["drift"], "room=main")
    listed = open_door.ggnet("webhook", "list").stdout.splitlines()
    assert listed[1].split() == [identifier, "enabled", "drift", "room=main", url]
    assert open_door.ggnet("webhook", "disable", identifier).returncode == 0
    assert "enabled: false" in open_door.ggnet("webhook", "show", identifier).stdout
    assert open_door.ggnet("webhook", "enable", identifier).returncode == 0
    rotated = open_door.ggnet("webhook", "rotate-secret", identifier, "--secret-file", "-", stdin=OURS + "\n")
    assert (rotated.returncode, f"secret: {OURS}" in rotated.stdout) == (0, True)
    with open_door.http as http:
        sent = http.post(f"{HOOKS}/{identifier}/test").json()["id"]
    bury(open_door, sent)
    assert sent in open_door.ggnet("webhook", "deliveries", identifier, "--state", "dead").stdout
    assert "is due" in open_door.ggnet("webhook", "retry", identifier, sent).stdout
    assert open_door.ggnet("webhook", "delete", identifier).returncode == 0
    assert "no webhooks" in open_door.ggnet("webhook", "list").stderr
    assert open_door.ggnet("webhook", "show", identifier).returncode == 4
    assert open_door.ggnet("webhook", "show", "a/../b").returncode == 2
    refused = open_door.ggnet("webhook", "create", "https://10.0.0.1/")
    assert (refused.returncode, "GGNET_WEBHOOK_ALLOW" in refused.stderr) == (5, True)


def test_the_command_shows_the_secret_to_people_once(open_door: Served) -> None:
    made = open_door.ggnet("webhook", "create", "--mail", "ada@example.org")
    assert re.search(r"^secret: whsec_", made.stdout, re.MULTILINE)
    assert "not shown again" in made.stderr
    assert "whsec_" not in open_door.ggnet("webhook", "list", "-o", "json").stdout
