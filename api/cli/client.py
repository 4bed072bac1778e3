"""The command's way to the daemon: where it is, with which token, and what each of its refusals means as an exit code."""

import atexit
import contextlib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

from api.cli import logins, wording
from api.cli.failure import CONFLICT, ERROR, GUARDED, INVALID, NOT_FOUND, UNAUTHORISED, USAGE, Failure
from api.cli.output import clean

if TYPE_CHECKING:
    from pathlib import Path

    import httpx

    from controller.settings import Settings

_EXIT = {
    "not_found": NOT_FOUND,
    "invalid": INVALID,
    "malformed": INVALID,
    "too_large": INVALID,
    "too_long": INVALID,
    "unauthorised": UNAUTHORISED,
    "forbidden": UNAUTHORISED,
    "conflict": CONFLICT,
    "full": CONFLICT,
    "exists": CONFLICT,
    "too_many": CONFLICT,
    "managed": CONFLICT,
    "refused": CONFLICT,
    "in_progress": CONFLICT,
    "too_many_uploads": CONFLICT,
    "too_many_feeds": CONFLICT,
    "wrong_offset": CONFLICT,
    "locked": CONFLICT,
    "over_quota": CONFLICT,
    "no_room": CONFLICT,
    "idempotency_mismatch": INVALID,
    "guarded": GUARDED,
}
_REMEDY = {
    "unauthorised": "log in (ggnet login), set GGNET_TOKEN, or run where the daemon's admin.token can be read",
    "forbidden": "ask an administrator: ggnet binding, or another role",
    "conflict": "read it again (ggnet get), then decide anew",
    "managed": "commit the change to its source, or add --force",
    "guarded": "--force does it all the same",
    "unavailable": "see ggnet doctor, and the daemon's log",
}
Body = Callable[[], Iterator[bytes]]
LOOPBACK = ("127.0.0.1", "localhost", "::1")
PREFIX = "/api/v1"


class Refusal(Failure):
    """The daemon's own refusal; ``errors`` as it sent them."""

    def __init__(self, message: str, code: int, remedy: str, errors: list[dict[str, Any]]) -> None:
        lines = tuple(problem_line(error) for error in errors) if len(errors) > 1 else ()
        super().__init__(message, code, remedy=remedy, lines=lines)
        self.errors = errors


class Unreachable(Failure):
    """Nobody answered, or the line broke."""


class Client:
    """``now`` is the server's clock as of its last answer: ages are right even where the two clocks differ."""

    def __init__(self, http: "httpx.Client") -> None:
        self.http = http
        self.renewal: Callable[[], bool] | None = None
        self.now = datetime.min.replace(tzinfo=UTC)

    def get(self, path: str, **params: Any) -> Any:
        return self.call("GET", path, params=params)

    def post(self, path: str, **kwargs: Any) -> Any:
        return self.call("POST", path, **kwargs)

    def call(self, method: str, path: str, **kwargs: Any) -> Any:
        """What the daemon answered. Failure."""
        kwargs["params"] = {key: value for key, value in (kwargs.get("params") or {}).items() if value is not None}
        response = self.exchange(method, path, **kwargs)
        if response.is_success:
            return response.json() if response.content else None
        raise failure(response)

    def exchange(self, method: str, path: str, body: "Body | None" = None, **kwargs: Any) -> "httpx.Response":
        """Whatever was answered; ``body`` makes what is sent, anew each time. Unreachable."""
        import httpx

        def ask() -> httpx.Response:
            sent: dict[str, Any] = kwargs if body is None else {**kwargs, "content": body()}
            return self.http.request(method, PREFIX + path, **sent)

        try:
            response = ask()
            if response.status_code == 401 and self.renewal is not None and self.renewal():
                response = ask()
        except httpx.HTTPError as error:
            raise _unreachable(self.http, error) from error
        if "date" in response.headers:
            self.now = parsedate_to_datetime(response.headers["date"])
        return response

    @contextlib.contextmanager
    def events(self, path: str, **params: Any) -> Iterator[Iterator[str]]:
        """The lines of a stream of server-sent events. Failure."""
        import httpx

        if self.renewal is not None:
            self.get("/auth/me")  # renews what has expired, before the stream begins
        try:
            with self.http.stream("GET", PREFIX + path, params=params, timeout=60) as response:
                if not response.is_success:
                    response.read()
                    raise failure(response)
                yield response.iter_lines()
        except httpx.HTTPError as error:
            raise _unreachable(self.http, error) from error


def connect() -> Client:
    """To the server in use: see docs/identity.md for which one that is. Failure."""
    ours = settings()
    place = logins.folder(ours)
    if ours.token is not None:
        return open_door(checked(ours.url or local_url(ours.listen)), ours.token)
    return to(ours, place, _context(ours, place))


def to(ours: "Settings", place: "Path | None", context: str) -> Client:
    """The server of a context, with its login. Failure."""
    if context == logins.LOCAL:
        url = checked(ours.url or local_url(ours.listen))
        return open_door(url, _local_token(ours, host(url)))
    login = logins.read(place).named(context)
    if not login.access:
        remedy = f"ggnet login --context {context}, or ggnet context use local for the daemon on this machine"
        raise Failure(f"nobody is logged in to {login.server}", UNAUTHORISED, remedy=remedy)
    found = open_door(checked(login.server), login.access)
    found.renewal = lambda: _renewed(place, context, found)
    return found


def settings() -> "Settings":
    """Failure when the environment makes no sense."""
    from controller.settings import Settings

    return load(Settings)


def open_door(url: str, token: str = "") -> Client:
    """Failure."""
    import httpx

    if not token.isascii() or not token.isprintable() or " " in token:
        raise Failure("GGNET_TOKEN holds characters that no token has", UNAUTHORISED, remedy=_REMEDY["unauthorised"])
    headers = {"Accept": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
    https = url.startswith("https:")  # to read the trusted certificates takes longer than most requests
    http = httpx.Client(base_url=url, headers=headers, timeout=30, trust_env=host(url) not in LOOPBACK, verify=https)
    atexit.register(http.close)
    return Client(http)


def checked(url: str) -> str:
    """The URL of a server, without a slash at its end. Failure."""
    import httpx

    shown = ascii(url.rpartition("@")[2])[1:-1][:100]  # what stands before an @ is a password
    try:
        parsed = httpx.URL(url.rstrip("/"))
    except httpx.InvalidURL as error:
        raise Failure(f"{shown} is not a URL: {error}", remedy="correct GGNET_URL, or --server") from None
    if parsed.scheme not in ("http", "https") or not parsed.host or parsed.userinfo or parsed.query:
        raise Failure(f"{shown} is not a server's URL", remedy="write GGNET_URL, or --server, like http://127.0.0.1:8080")
    return str(parsed).rstrip("/")


def host(url: str) -> str:
    import httpx

    return httpx.URL(url).host


def _context(ours: "Settings", place: "Path | None") -> str:
    """Which login is meant. Failure."""
    known = logins.read(place)
    if ours.context is not None:
        if ours.context != logins.LOCAL and ours.url and known.named(ours.context).server != checked(ours.url):
            raise Failure(
                f"GGNET_CONTEXT {ours.context} and GGNET_URL are two servers", USAGE, remedy="unset one of the two"
            )
        return ours.context
    if ours.url is not None:
        found = known.at(checked(ours.url))
        return found if found is not None and known.contexts[found].access else logins.LOCAL
    return known.current


def _renewed(place: "Path | None", context: str, client: Client) -> bool:
    """Another access token for the one that was refused; False when the login is over. Failure."""
    with logins.changing(place) as known:
        login = known.named(context)
        if client.http.headers["Authorization"] == f"Bearer {login.access}":
            if not login.refresh:
                return False
            try:
                answer = open_door(login.server).post("/auth/refresh", json={"refresh_token": login.refresh})
            except Refusal as refusal:
                if refusal.code != UNAUTHORISED:
                    raise
                login.access = login.refresh = ""
                return False
            login.access, login.refresh = answer["access_token"], answer["refresh_token"]
        client.http.headers["Authorization"] = f"Bearer {login.access}"
        return bool(login.access)


def load(kind: "type[Settings]") -> "Settings":
    """The environment; what is wrong in it is said by variable. Failure."""
    from pydantic import ValidationError

    try:
        return kind()
    except ValidationError as error:
        first = error.errors()[0]
        variable = "GGNET_" + "_".join(str(part) for part in first["loc"]).upper().removeprefix("GGNET_")
        raise Failure(f"{variable}: {first['msg'].removeprefix('Value error, ')}", remedy="correct or unset it") from None


def failure(response: "httpx.Response") -> Failure:
    """A problem document (RFC 9457) as this command's end."""
    try:
        problem = response.json()
        code, detail, errors = problem["error_code"], problem["detail"], problem["errors"]
    except (ValueError, KeyError, TypeError):
        message = f"{response.request.url} answered {response.status_code}, and not like GGnet does"
        return Failure(message, remedy="is GGNET_URL right?")
    number = _EXIT.get(code, NOT_FOUND if response.status_code == 404 else ERROR)
    message = wording.spoken(clean(detail))
    if response.status_code >= 500:
        message += f" (request {clean(str(problem.get('request_id')))})"
    return Refusal(message, number, _REMEDY.get(code) or wording.where_to_look(message), list(errors))


def problem_line(error: dict[str, Any]) -> str:
    subject = " ".join(str(error[part]) for part in ("object", "field") if error.get(part))
    return clean(": ".join(part for part in (subject, wording.spoken(str(error.get("message")))) if part))


def local_url(listen: str) -> str:
    host, _, port = listen.rpartition(":")
    return f"http://{'127.0.0.1' if host in ('', '0.0.0.0', '[::]') else host}:{port}"  # noqa: S104 compared, not bound


def _local_token(settings: "Settings", host: str) -> str:
    """This machine's administrator token, which is for this machine's daemon alone."""
    from api.token import TokenError, read

    if host not in LOOPBACK and settings.url is not None:
        remedy = "log in (ggnet login), or set GGNET_TOKEN"
        raise Failure(
            "GGNET_URL is another machine, and there is no login nor GGNET_TOKEN for it", UNAUTHORISED, remedy=remedy
        )
    try:
        return read(settings.state_dir)
    except TokenError as error:
        raise Failure(str(error), UNAUTHORISED, remedy="or log in: ggnet login") from None


def _unreachable(http: "httpx.Client", error: Exception) -> Unreachable:
    reason = clean(str(error)) or type(error).__name__
    return Unreachable(f"no answer from {http.base_url}: {reason}", remedy="start the daemon (ggnet up), or set GGNET_URL")
