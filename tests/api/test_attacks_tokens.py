"""Attacks on who may come in, each with its refusal."""

import base64
import hmac
import json
import re
import statistics
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest

from tests import logs
from tests.api.people import PASSWORD, Person, api_key, ask, login, renew, try_login, user
from tests.api.served import Served, serving
from tests.api.warm import Warm

PROXY: dict[str, Any] = {"proxies": "127.0.0.1"}


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, warm: Warm) -> Iterator[Served]:
    """Behind a proxy on this machine, so that each test comes from an address of its own."""
    with serving(tmp_path_factory.mktemp("attacks"), warm, **PROXY) as served:
        user(served, "ada", "OPERATOR")
        yield served


@pytest.fixture
def ada(shared: Served) -> Person:
    return login(shared)


def part(value: Any) -> str:
    text = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(text).rstrip(b"=").decode()


def opened(token: str) -> tuple[dict[str, Any], dict[str, Any]]:
    return jwt.get_unverified_header(token), jwt.decode(token, options={"verify_signature": False})


def key_of(door: Served) -> bytes:
    (path,) = (door.folder / "keys").glob("*.key")
    return base64.urlsafe_b64decode(path.read_text())


def forged(door: Served, token: str, header: dict[str, Any] | None = None, **claims: Any) -> str:
    """Signed by the server's own key: only what was changed can be the reason for the refusal. None takes a claim out."""
    head, body = opened(token)
    body = {name: value for name, value in {**body, **claims}.items() if value is not None}
    signed = f"{part({**head, **(header or {})})}.{part(body)}"
    return f"{signed}.{part(hmac.digest(key_of(door), signed.encode(), 'sha256'))}"


def refused(door: Served, token: str) -> bool:
    answer = ask(door, "GET", "/auth/me", token)
    assert "eyJ" not in answer.text
    return answer.status_code == 401 and answer.json()["error_code"] == "unauthorised"


def test_the_forgers_tool_makes_good_tokens(shared: Served, ada: Person) -> None:
    assert not refused(shared, forged(shared, ada.access, jti="another"))


def test_no_algorithm_is_refused(shared: Served, ada: Person) -> None:
    head, body = opened(ada.access)
    for name in ("none", "None", "NONE", "nOnE", ""):
        unsigned = f"{part({**head, 'alg': name})}.{part(body)}."
        assert refused(shared, unsigned)
        assert refused(shared, unsigned + ada.access.rpartition(".")[2])
        assert refused(shared, forged(shared, ada.access, {"alg": name}))


def test_another_algorithm_is_refused_even_with_the_right_key(shared: Served, ada: Person) -> None:
    for name in ("RS256", "ES256", "PS256", "EdDSA", "hs256"):
        assert refused(shared, forged(shared, ada.access, {"alg": name}))
    head, body = opened(ada.access)
    for name in ("HS384", "HS512"):
        longer = jwt.encode(body, key_of(shared).ljust(64, b"\0"), name, headers={"kid": head["kid"], "typ": head["typ"]})
        assert refused(shared, longer)


def test_a_public_text_is_no_key(shared: Served, ada: Person) -> None:
    head, body = opened(ada.access)
    for public in (
        b"",
        b"ggnet",
        head["kid"].encode(),
        httpx.get(f"{shared.url}/openapi.json", trust_env=False, timeout=60).content,
    ):
        signed = f"{part(head)}.{part(body)}"
        assert refused(shared, f"{signed}.{part(hmac.digest(public, signed.encode(), 'sha256'))}")


def test_an_altered_token_is_refused(shared: Served, ada: Person) -> None:
    head, body, signature = ada.access.split(".")
    claims = opened(ada.access)[1]
    for altered in (
        f"{head}.{part({**claims, 'sub': 'admin'})}.{signature}",
        f"{head}.{part({**claims, 'exp': claims['exp'] + 86400})}.{signature}",
        f"{part({'alg': 'HS256', 'typ': 'at+jwt'})}.{body}.{signature}",
        f"{head}.{body}.{signature[:-2]}{'AA' if signature[-2:] != 'AA' else 'BA'}",
        f"{head}.{body}.{signature}A",
        f"{head}.{body}.",
        f"{head}.{body}",
        f"{ada.access}.{signature}",
        f"{part(b'[' * 1400)}.{body}.{signature}",
        f"{part(b'[]')}.{body}.{signature}",
        f"{part(b'7')}.{body}.{signature}",
        f"{head}.{'A' * 9000}.{signature}",
    ):
        assert refused(shared, altered), altered


def test_an_expired_or_early_token_is_refused(shared: Served, ada: Person) -> None:
    now = int(datetime.now(UTC).timestamp())
    assert refused(shared, forged(shared, ada.access, iat=now - 7200, nbf=now - 7200, exp=now - 60))
    assert refused(shared, forged(shared, ada.access, nbf=now + 60))
    assert refused(shared, forged(shared, ada.access, iat=now + 60))
    for wrong in ("soon", None, -1, {"a": 1}, 10**400):
        assert refused(shared, forged(shared, ada.access, exp=wrong)), wrong


def test_a_token_that_was_good_is_refused_once_it_has_expired(shared: Served, ada: Person) -> None:
    now = int(datetime.now(UTC).timestamp())
    brief = forged(shared, ada.access, exp=now - 3)  # within what two clocks may differ
    assert not refused(shared, brief)
    time.sleep(max(0.0, now + 3 - datetime.now(UTC).timestamp()))
    assert refused(shared, brief)


def test_a_token_for_another_audience_or_from_another_issuer_is_refused(shared: Served, ada: Person) -> None:
    for audience in ("other-api", ["other-api"], [], "", None, 7):
        assert refused(shared, forged(shared, ada.access, aud=audience)), audience
    for issuer in ("ggnet:other", "ggnet", "https://accounts.example.org", "", None, ["ggnet:default"]):
        assert refused(shared, forged(shared, ada.access, iss=issuer)), issuer


def test_a_token_without_one_of_its_claims_is_refused(shared: Served, ada: Person) -> None:
    for claim in ("iss", "aud", "exp", "nbf", "iat", "jti", "sub", "uid", "fam"):
        assert refused(shared, forged(shared, ada.access, **{claim: None})), claim


def test_a_token_of_another_site_is_refused(tmp_path: Path, warm: Warm, shared: Served) -> None:
    with serving(tmp_path, warm, site="other") as other:
        user(other)
        assert refused(shared, login(other).access)


def test_a_key_that_is_not_ours_is_refused(shared: Served, ada: Person) -> None:
    strange = (
        "20260101T000000000000-00000000",
        "../../admin.token",
        "/dev/null",
        "",
        "x" * 1000,
        "\u0000",
        "' OR 1=1 --",
        7,
    )
    for kid in strange:
        assert refused(shared, forged(shared, ada.access, {"kid": kid})), kid


def test_a_header_that_brings_its_own_key_is_refused(shared: Served, ada: Person) -> None:
    own = part(key_of(shared))
    for extra in (
        {"jwk": {"kty": "oct", "k": own}},
        {"jku": "http://127.0.0.1:1/keys"},
        {"x5u": "http://127.0.0.1:1/"},
        {"x5c": [own]},
        {"crit": ["exp"]},
        {"b64": False, "crit": ["b64"]},
        {"zip": "DEF"},
        {"typ": "JWT"},
    ):
        assert refused(shared, forged(shared, ada.access, extra)), extra


def test_a_token_for_nobody_or_for_another_is_refused(shared: Served, ada: Person) -> None:
    for uid in ("", "00000000-0000-4000-8000-000000000000", "ada", 7, ["x"], {"x": 1}):
        assert refused(shared, forged(shared, ada.access, uid=uid)), uid
    renamed = ask(shared, "GET", "/auth/me", forged(shared, ada.access, sub="root", role="ADMIN", scopes=["admin"])).json()
    assert (renamed["username"], renamed["role"]) == ("ada", "OPERATOR")  # what a token says of itself is not believed


def test_a_revoked_token_is_refused_however_often_it_is_replayed(shared: Served, ada: Person) -> None:
    twin = forged(shared, ada.access, jti="of the same login")
    assert not refused(shared, twin)
    assert ada.ask("POST", "/auth/logout").status_code == 204
    assert all(refused(shared, token) for token in (ada.access, twin, ada.access, twin))


def test_a_refresh_token_that_comes_twice_ends_the_login_and_no_other(shared: Served, ada: Person) -> None:
    bystander = login(shared)
    stolen = renew(shared, ada.refresh).json()
    assert renew(shared, ada.refresh).status_code == 401
    assert renew(shared, stolen["refresh_token"]).status_code == 401
    assert refused(shared, stolen["access_token"])
    assert refused(shared, ada.access)
    assert bystander.status() == renew(shared, bystander.refresh).status_code == 200


def test_a_refresh_token_used_by_many_at_once_gives_at_most_one_pair(shared: Served, ada: Person) -> None:
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: renew(shared, ada.refresh), range(8)))
    given = [answer.json() for answer in answers if answer.status_code == 200]
    assert len(given) == 1
    assert {answer.status_code for answer in answers} == {200, 401}
    assert refused(shared, given[0]["access_token"])
    assert renew(shared, given[0]["refresh_token"]).status_code == 401


def test_one_kind_of_token_is_not_taken_for_another(shared: Served, ada: Person) -> None:
    assert refused(shared, ada.refresh)
    for wrong in (shared.token, api_key(ada, "read").access, "ggr_", "x" * 256):
        assert renew(shared, wrong).status_code == 401
    for wrong in (ada.access, "x" * 257):
        assert renew(shared, wrong).status_code == 422


def test_a_guessed_api_key_is_refused(shared: Served, ada: Person) -> None:
    key = api_key(ada, "read")
    prefix, _, secret = key.access.rpartition("_")
    stored = sha256(secret.encode()).hexdigest()
    for guess in (
        f"{prefix}_",
        prefix,
        f"{prefix}_{'A' * 43}",
        f"{prefix}_{stored}",
        f"ggk_000000000000_{secret}",
        "ggk_",
        "ggk__",
    ):
        assert refused(shared, guess), guess
    assert not refused(shared, key.access)


def test_a_token_in_the_url_is_none(shared: Served, ada: Person) -> None:
    for name in ("access_token", "token", "authorization", "api_key", "bearer"):
        assert ask(shared, "GET", "/auth/me", params={name: ada.access}).status_code == 401
        assert ask(shared, "GET", "/auth/me", params={name: f"Bearer {shared.token}"}).status_code == 401
    cookie = {"Cookie": f"access_token={ada.access}; Authorization=Bearer {ada.access}"}
    assert ask(shared, "GET", "/auth/me", headers=cookie).status_code == 401
    form = {"access_token": ada.access, "refresh_token": ada.refresh}
    assert ask(shared, "POST", "/auth/logout", data=form).status_code == 401


def test_nobody_gives_himself_a_role(tmp_path: Path, warm: Warm) -> None:
    with serving(tmp_path, warm, registration="open") as door:
        wish: dict[str, Any] = {"username": "eve", "password": PASSWORD}
        for extra in ({"role": "ADMIN"}, {"disabled": False}, {"uid": "x"}, {"scopes": ["admin"]}, {"created_at": 0}):
            answer = ask(door, "POST", "/auth/register", json={**wish, **extra})
            assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, next(iter(extra)))
        assert ask(door, "POST", "/auth/register", json=wish, params={"role": "ADMIN"}).json()["role"] == "VIEWER"
        eve = login(door, "eve")
        change = {"old_password": PASSWORD, "new_password": "a second sentence"}
        assert eve.ask("POST", "/auth/password", json={**change, "role": "ADMIN"}).status_code == 422
        logged_in = ask(
            door, "POST", "/auth/login", data={"username": "eve", "password": PASSWORD, "scope": "admin", "role": "ADMIN"}
        )
        assert ask(door, "GET", "/auth/me", logged_in.json()["access_token"]).json()["role"] == "VIEWER"


def test_nobody_but_an_administrator_handles_accounts(shared: Served, ada: Person) -> None:
    for who in (ada, api_key(ada, "read"), api_key(Person(shared, shared.token), "read", "write")):
        for method, path, body in (
            ("GET", "/users", None),
            ("POST", "/users", {"username": "eve", "password": PASSWORD, "role": "ADMIN"}),
            ("GET", "/users/ada", None),
            ("PATCH", "/users/ada", {"role": "ADMIN"}),
            ("DELETE", "/users/ada", None),
        ):
            answer = who.ask(method, path, json=body)
            assert (answer.status_code, answer.json()["error_code"]) == (403, "forbidden"), (method, path)
    assert ada.ask("GET", "/auth/me").json()["role"] == "OPERATOR"


def test_a_key_never_makes_more_of_itself(shared: Served, ada: Person) -> None:
    key, other = api_key(ada, "write"), api_key(ada, "read")
    wish = {"name": "x", "scopes": ["read"]}
    assert ada.ask("POST", "/tokens", json={"name": "x", "scopes": ["admin"]}).status_code == 403
    assert ada.ask("POST", "/tokens", json={**wish, "user": "admin"}).status_code == 403
    assert key.ask("POST", "/tokens", json=wish).status_code == 403
    assert key.ask("POST", f"/tokens/{other.refresh}/rotate").status_code == 403
    assert key.ask("DELETE", f"/tokens/{other.refresh}").status_code == 403
    for scopes in ([], ["root"], "read"):
        assert ada.ask("POST", "/tokens", json={"name": "x", "scopes": scopes}).status_code == 422


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_guessing_closes_the_account_and_the_address(
    tmp_path: Path, warm: Warm, database: str, request: pytest.FixtureRequest
) -> None:
    url = request.getfixturevalue("postgres_url") if database == "postgresql" else None
    with serving(tmp_path, warm, database_url=url, **PROXY) as door:
        user(door)
        user(door, "bob")
        open_before = login(door)
        elsewhere = [{"X-Forwarded-For": f"192.0.2.{number}"} for number in range(1, 20)]
        wrong = [try_login(door, password=f"guess number {n:06}", headers=elsewhere[n]) for n in range(5)]
        right = try_login(door, headers=elsewhere[6])
        assert [answer.status_code for answer in (*wrong, right)] == [401] * 6
        assert right.json()["detail"] == wrong[0].json()["detail"] == try_login(door, "nobody").json()["detail"]
        assert "retry-after" not in right.headers
        assert open_before.status() == 200
        listed = ask(door, "GET", "/users/ada", door.token).json()
        until = datetime.fromisoformat(listed["lockedUntil"]) - datetime.now(UTC)
        assert timedelta(minutes=14) < until <= timedelta(minutes=15)
        assert ask(door, "PATCH", "/users/ada", door.token, json={"locked": False}).json()["lockedUntil"] is None
        assert try_login(door, headers=elsewhere[6]).status_code == 200

        attacker = {"X-Forwarded-For": "198.51.100.7"}
        for number in range(5):
            assert try_login(door, f"name{number}", headers=attacker).status_code == 401
        locked = try_login(door, "bob", headers=attacker)
        assert locked.status_code == 401
        assert 800 < int(locked.headers["retry-after"]) <= 900
        assert try_login(door, "bob", headers=elsewhere[7]).status_code == 200
        assert ask(door, "GET", "/users", door.token, headers=attacker).status_code == 200  # who is in stays in


def test_guesses_all_at_once_are_not_all_tried(tmp_path: Path, warm: Warm) -> None:
    with serving(tmp_path, warm) as door:
        user(door)
        with ThreadPoolExecutor(30) as pool:
            answers = list(pool.map(lambda n: try_login(door, password=f"guess number {n:06}"), range(30)))
        tried = [answer for answer in answers if "retry-after" not in answer.headers]
        assert {answer.status_code for answer in answers} == {401}
        assert len(tried) < 30 - 8


def test_an_address_that_the_client_writes_itself_is_not_believed(tmp_path: Path, warm: Warm) -> None:
    with serving(tmp_path, warm) as door:
        user(door)
        for number in range(5):
            try_login(door, f"name{number}", headers={"X-Forwarded-For": f"192.0.2.{number}", "Forwarded": "for=192.0.2.9"})
        assert "retry-after" in try_login(door, headers={"X-Forwarded-For": "192.0.2.77"}).headers


def test_time_tells_nobody_which_users_there_are(tmp_path: Path, warm: Warm) -> None:
    """Unknown, wrong and locked, turn by turn, each from a new address. A busy machine makes all of them slower: compared
    is what a login takes of a processor, of the quick quarter, of more and more; and that none of them waits besides."""
    names = [f"user{number}" for number in range(8)]
    with (
        serving(tmp_path, warm, rounds=10, **PROXY) as door,
        httpx.Client(base_url=door.url, trust_env=False, timeout=60) as http,
    ):
        for name in (*names, "locked"):
            user(door, name)
        count = iter(range(10_000))

        def took(name: str) -> tuple[float, float]:
            """Seconds of a processor for this process, which is the door's as well, and seconds."""
            number = next(count)
            address = {"X-Forwarded-For": f"10.{number >> 8}.{number & 255}.1"}
            started = time.process_time(), time.perf_counter()
            answer = http.post("/api/v1/auth/login", data={"username": name, "password": PASSWORD + "!"}, headers=address)
            taken = time.process_time() - started[0], time.perf_counter() - started[1]
            assert answer.status_code == 401
            return taken

        for _ in range(6):
            took("locked")
        turns: list[tuple[tuple[float, float], ...]] = []
        for attempt in range(6):
            turns += [(took(f"nobody{attempt}{name}"), took(name), took("locked")) for name in names]
            unknown, wrong, locked = (statistics.quantiles([one for one, _ in told])[0] for told in zip(*turns, strict=True))
            quickest = [min(passed for _, passed in told) for told in zip(*turns, strict=True)]
            alike = abs(unknown - wrong) < 0.1 * wrong and abs(unknown - locked) < 0.1 * locked
            if alike and max(quickest) < 1.5 * min(quickest):
                return
            for name in names:
                ask(door, "PATCH", f"/users/{name}", door.token, json={"locked": False})
        pytest.fail(f"unknown {unknown:.4f} s, wrong {wrong:.4f} s, locked {locked:.4f} s")


def test_a_password_beyond_72_bytes_is_refused_not_cut(shared: Served, ada: Person) -> None:
    longest = "long password, " * 4 + "123456789012"
    assert len(longest) == 72
    user(shared, "long", password=longest)
    assert try_login(shared, "long", longest + "x").status_code == 401
    assert try_login(shared, "long", longest[:71]).status_code == 401
    assert try_login(shared, "long", longest).status_code == 200
    change = ada.ask("POST", "/auth/password", json={"old_password": PASSWORD, "new_password": longest + "x"})
    assert (change.status_code, change.json()["errors"][0]["field"]) == (422, "new_password")
    assert "72 bytes" in change.json()["detail"]
    assert try_login(shared, "long", "x" * 1_000_000).status_code in (401, 413, 422)


def test_a_stolen_token_does_not_guess_the_password(tmp_path: Path, warm: Warm) -> None:
    with serving(tmp_path, warm, **PROXY) as door:
        user(door)
        thief = login(door)
        for number in range(6):
            wish = {"old_password": f"guess number {number:06}", "new_password": "a sentence of the thief"}
            tried = thief.ask("POST", "/auth/password", json=wish, headers={"X-Forwarded-For": f"192.0.2.{number + 1}"})
            assert (tried.status_code, tried.json()["errors"][0]["field"]) == (422, "old_password")
        right = thief.ask(
            "POST", "/auth/password", json={"old_password": PASSWORD, "new_password": "a sentence of the thief"}
        )
        assert right.status_code == 422


def test_no_secret_is_in_a_log_or_an_answer(tmp_path: Path, warm: Warm, capfd: pytest.CaptureFixture[str]) -> None:
    secrets = [PASSWORD, "a typo of that sentence", "quite another sentence", "typed-where-the-name-goes!"]
    with serving(tmp_path, warm, registration="open") as door:
        user(door)
        answers = [try_login(door, password=secrets[1]), try_login(door, secrets[3]), try_login(door, f"x\n{secrets[3]}")]
        ada = login(door)
        key = api_key(ada, "read")
        renewed = renew(door, ada.refresh).json()
        answers += [
            renew(door, ada.refresh),
            ask(door, "POST", "/auth/register", json={"username": "Bad Name", "password": secrets[2]}),
            ask(door, "POST", "/auth/register", json={"username": "bad", "password": [secrets[2]]}),
            ask(door, "POST", "/auth/register", content=f'{{"password": "{secrets[2]}"'),
            ask(door, "PATCH", "/users/ada", door.token, json={"password": secrets[2]}),
            ask(door, "GET", "/users", door.token),
            ask(door, "GET", "/tokens", door.token),
            ask(door, "GET", "/auth/me", key.access + "x"),
        ]
        secrets += [
            ada.access,
            ada.refresh,
            key.access.rpartition("_")[2],
            *(renewed[n] for n in ("access_token", "refresh_token")),
        ]
        digests = re.compile(r"\$2[aby]\$|[0-9a-f]{64}")
        told = [answer.text for answer in answers] + ["".join(capfd.readouterr()) + logs.told()]
    assert "authentication" in told[-1]
    for text in told:
        assert [secret for secret in secrets if secret in text] == []
        assert not digests.search(text)


def test_a_name_brings_nothing_into_the_log(shared: Served) -> None:
    for name in ("x\nauthentication outcome=allowed", "\x1b[2J", "a" * 10_000):
        answer = try_login(shared, name, headers={"X-Forwarded-For": "203.0.113.9"})
        assert answer.status_code in (401, 422)
    told = logs.told()
    assert "outcome=allowed" not in told
    assert "aaaaaaaa" not in told
    assert "(no name)" in told
