"""How often one may ask: by identity, by address, and for a sign-in."""

import time
from pathlib import Path

import anyio
import httpx
import pytest

from api.edge.meter import Meter
from api.errors import TooMany
from controller.adapters.clock import SystemClock
from controller.adapters.rates import Counted, Memory
from controller.ports.rates import Granted, Quota
from controller.settings import Settings
from tests.api.people import api_key, login, user
from tests.api.served import SITE, Served, serving
from tests.api.test_problems import check
from tests.api.warm import Warm


def counted() -> Counted:
    return Counted(Memory(SystemClock()))


def ask(door: Served, path: str, count: int, token: str = "", method: str = "GET") -> list[httpx.Response]:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    with httpx.Client(base_url=door.url, headers=headers, trust_env=False, timeout=60) as http:
        return [http.request(method, path) for _ in range(count)]


def statuses(answers: list[httpx.Response]) -> list[int]:
    return [answer.status_code for answer in answers]


def test_an_address_that_nobody_signs_for_is_refused_when_its_quota_is_used_up(tmp_path: Path, warm: Warm) -> None:
    with serving(tmp_path, warm, rates=counted, rate_limit_address=5) as door:
        answers = ask(door, "/api/v1/machines", 7)
        assert statuses(answers) == [401] * 5 + [429] * 2
        assert [one.headers["ratelimit-remaining"] for one in answers] == ["4", "3", "2", "1", "0", "0", "0"]
        assert {one.headers["ratelimit-limit"] for one in answers} == {"5"}
        assert all(0 < int(one.headers["ratelimit-reset"]) <= 60 for one in answers)
        check(answers[-1], 429)
        assert answers[-1].json()["error_code"] == "too_many_requests"
        assert answers[-1].headers["retry-after"] == answers[-1].headers["ratelimit-reset"]
        assert statuses(ask(door, "/nowhere", 1) + ask(door, "/docs", 1)) == [429, 429], "all of it is one quota"
        assert statuses(ask(door, "/healthz", 20) + ask(door, "/readyz", 5)) == [200] * 20 + [503] * 5
        administrator = ask(door, "/api/v1/machines", 50, door.token)
        assert statuses(administrator) == [200] * 50, "the local administrator always gets in"
        assert "ratelimit-limit" not in administrator[0].headers


def test_invented_credentials_count_to_the_address(tmp_path: Path, warm: Warm) -> None:
    with serving(tmp_path, warm, rates=counted, rate_limit_address=5) as door:
        answers = [ask(door, "/api/v1/machines", 1, f"invented{number}")[0] for number in range(8)]
        assert statuses(answers) == [401] * 5 + [429] * 3


def test_sign_ins_have_a_stricter_quota(tmp_path: Path, warm: Warm) -> None:
    with serving(tmp_path, warm, rates=counted, rate_limit_login=3) as door:
        answers = statuses(ask(door, "/api/v1/auth/login", 5, method="POST"))
        assert answers[3:] == [429, 429]
        assert 429 not in answers[:3]
        assert statuses(ask(door, "/api/v1/machines", 3)) == [401] * 3


def test_an_identity_has_a_quota_of_its_own(tmp_path: Path, warm: Warm) -> None:
    """The administrator by another spelling of the scheme: an identity like any other."""
    with serving(tmp_path, warm, rates=counted, rate_limit=4, rate_limit_address=3) as door:
        door.apply(SITE)
        with httpx.Client(
            base_url=door.url, headers={"Authorization": f"bearer {door.token}"}, trust_env=False, timeout=60
        ) as http:
            answers = [http.get("/api/v1/machines") for _ in range(6)]
        assert statuses(answers) == [200] * 4 + [429] * 2
        assert answers[-1].headers["ratelimit-limit"] == "4"
        assert statuses(ask(door, "/api/v1/machines", 4)) == [401] * 3 + [429]


def test_a_credential_counts_to_its_identity_from_its_first_request_on(tmp_path: Path, warm: Warm) -> None:
    with serving(tmp_path, warm, rates=counted, rate_limit=5, rate_limit_address=3) as door:
        user(door)
        person = login(door)
        key = api_key(person, "read")
        assert [one.status() for one in (person, key) for _ in range(2)] == [200] * 4
        assert person.status() == 429, "one quota, whatever it comes with"
        assert statuses(ask(door, "/api/v1/machines", 3)) == [401, 401, 429], "the login was the address's"
        altered = person.access[:-4] + ("AAAA" if person.access[-4:] != "AAAA" else "BBBB")
        assert ask(door, "/api/v1/machines", 1, altered)[0].status_code == 429, "and so is what only looks like one"


def test_no_limit_is_no_limit(tmp_path: Path, warm: Warm) -> None:
    with serving(tmp_path, warm, rates=counted, rate_limit_address=0) as door:
        answers = ask(door, "/api/v1/machines", 30)
        assert statuses(answers) == [401] * 30
        assert "ratelimit-limit" not in answers[0].headers


class Asked(Counted):
    """Notes how often it was asked."""

    times = 0

    async def take(self, quota: Quota, who: str, amount: int) -> Granted:
        Asked.times += 1
        return await super().take(quota, who, amount)


def test_the_common_count_is_asked_for_one_request_in_a_hundred(tmp_path: Path, warm: Warm) -> None:
    with serving(tmp_path, warm, rates=lambda: Asked(Memory(SystemClock())), rate_limit_address=5000) as door:
        began = time.monotonic()
        answers = ask(door, "/api/v1/machines", 120)
        assert Asked.times == 3 + (time.monotonic() - began > 59)
        left = [int(one.headers["ratelimit-remaining"]) for one in answers]
        assert left == list(range(4999, 4879, -1))


class Far(Asked):
    """Answers after a while, as a server does."""

    async def take(self, quota: Quota, who: str, amount: int) -> Granted:
        await anyio.sleep(0.005)
        return await super().take(quota, who, amount)


@pytest.mark.anyio
@pytest.mark.parametrize(("limit", "times"), [(5000, 10), (400, 100), (30, 30)])
async def test_requests_that_come_at_once_have_the_whole_limit_between_them_and_no_more(limit: int, times: int) -> None:
    clock = SystemClock()
    rates, granted, refused = Far(Memory(clock)), list[int](), list[int]()
    meter = Meter(rates, Settings(rate_limit=limit), clock, "token", lambda credential: "ada")
    Asked.times = 0

    async def charge() -> None:
        scope = {"path": "/api/v1/machines", "method": "GET", "address": "192.0.2.1"}
        try:
            standing = await meter.charge(scope, {b"authorization": b"Bearer hers"})
        except TooMany:
            refused.append(1)
        else:
            assert standing is not None
            granted.append(standing.left)

    async with anyio.create_task_group() as tasks:
        for _ in range(500):
            tasks.start_soon(charge)
    assert sorted(granted, reverse=True) == list(range(limit - 1, max(0, limit - 500) - 1, -1))
    assert len(refused) == max(0, 500 - limit)
    assert Asked.times == times


def test_behind_a_configured_proxy_each_client_is_an_address(tmp_path: Path, warm: Warm) -> None:
    def ask_for(door: Served, client: str, count: int) -> list[int]:
        with httpx.Client(base_url=door.url, headers={"X-Forwarded-For": client}, trust_env=False, timeout=60) as http:
            return [http.get("/api/v1/machines").status_code for _ in range(count)]

    with serving(tmp_path / "with", warm, rates=counted, rate_limit_address=3, proxies="127.0.0.1") as door:
        assert ask_for(door, "192.0.2.1", 4) == [401, 401, 401, 429]
        assert ask_for(door, "192.0.2.2", 1) == [401]
        assert ask_for(door, "2001:db8:1:2::1", 3) == [401] * 3
        assert ask_for(door, "2001:db8:1:2::2", 1) == [429], "one customer of IPv6 is one address"
        assert "strict-transport-security" not in httpx.get(f"{door.url}/healthz", trust_env=False, timeout=60).headers
        over_tls = httpx.get(f"{door.url}/healthz", headers={"X-Forwarded-Proto": "https"}, trust_env=False, timeout=60)
        assert over_tls.headers["strict-transport-security"] == "max-age=31536000"
    with serving(tmp_path / "without", warm, rates=counted, rate_limit_address=3) as door:
        assert [ask_for(door, f"192.0.2.{number}", 1)[0] for number in range(4)] == [401, 401, 401, 429]
        invented = httpx.get(f"{door.url}/healthz", headers={"X-Forwarded-Proto": "https"}, trust_env=False, timeout=60)
        assert "strict-transport-security" not in invented.headers
