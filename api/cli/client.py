"""The command's way to the daemon: where it is, with which token, and what each of its refusals means as an exit code."""

import atexit
import contextlib
from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

from api.cli.failure import CONFLICT, ERROR, GUARDED, INVALID, NOT_FOUND, UNAUTHORISED, Failure
from api.cli.output import clean

if TYPE_CHECKING:
    import httpx

    from controller.settings import Settings

_EXIT = {
    "not_found": NOT_FOUND,
    "invalid": INVALID,
    "malformed": INVALID,
    "too_large": INVALID,
    "unauthorised": UNAUTHORISED,
    "conflict": CONFLICT,
    "exists": CONFLICT,
    "managed": CONFLICT,
    "guarded": GUARDED,
}
_REMEDY = {
    "unauthorised": "set GGNET_TOKEN, or run where the daemon's admin.token can be read",
    "conflict": "read it again (ggnet get), then decide anew",
    "managed": "commit the change to its source, or add --force",
    "guarded": "shut the PC down first, or add --force",
    "unavailable": "see ggnet doctor, and the daemon's log",
}
_LOCAL = ("127.0.0.1", "localhost", "::1")
PREFIX = "/api/v1"


class Refusal(Failure):
    """The daemon's own refusal; ``errors`` as it sent them."""

    def __init__(self, message: str, code: int, remedy: str, errors: list[dict[str, Any]]) -> None:
        lines = tuple(problem_line(error) for error in errors) if len(errors) > 1 else ()
        super().__init__(message, code, remedy=remedy, lines=lines)
        self.errors = errors


class Client:
    """``now`` is the server's clock as of its last answer: ages are right even where the two clocks differ."""

    def __init__(self, http: "httpx.Client") -> None:
        self.http = http
        self.now = datetime.min.replace(tzinfo=UTC)

    def get(self, path: str, **params: Any) -> Any:
        return self.call("GET", path, params=params)

    def post(self, path: str, **kwargs: Any) -> Any:
        return self.call("POST", path, **kwargs)

    def call(self, method: str, path: str, **kwargs: Any) -> Any:
        """What the daemon answered. Failure."""
        import httpx

        kwargs["params"] = {key: value for key, value in (kwargs.get("params") or {}).items() if value is not None}
        try:
            response = self.http.request(method, PREFIX + path, **kwargs)
        except httpx.HTTPError as error:
            raise _unreachable(self.http, error) from error
        if "date" in response.headers:
            self.now = parsedate_to_datetime(response.headers["date"])
        if response.is_success:
            return response.json()
        raise failure(response)

    @contextlib.contextmanager
    def events(self, path: str, **params: Any) -> Iterator[Iterator[str]]:
        """The lines of a stream of server-sent events. Failure."""
        import httpx

        try:
            with self.http.stream("GET", PREFIX + path, params=params, timeout=60) as response:
                if not response.is_success:
                    response.read()
                    raise failure(response)
                yield response.iter_lines()
        except httpx.HTTPError as error:
            raise _unreachable(self.http, error) from error


def connect() -> Client:
    """Failure when the environment makes no sense, or the token may not be read."""
    import httpx

    from controller.settings import Settings

    settings = load(Settings)
    url = (settings.url or _local_url(settings.listen)).rstrip("/")
    try:
        host = httpx.URL(url).host
    except httpx.InvalidURL as error:
        raise Failure(f"GGNET_URL {ascii(url)[:100]} is not a URL: {error}") from None
    if httpx.URL(url).scheme not in ("http", "https") or not host:
        raise Failure(f"GGNET_URL {ascii(url)[:100]} is not a URL", remedy="write it like http://127.0.0.1:8080")
    token = settings.token or _local_token(settings, host)
    if not token.isascii() or not token.isprintable() or " " in token:
        raise Failure("GGNET_TOKEN holds characters that no token has", UNAUTHORISED, remedy=_REMEDY["unauthorised"])
    headers = {"Authorization": f"Bearer {token}", "Accept": "application/json"}
    https = url.startswith("https:")  # to read the trusted certificates takes longer than most requests
    http = httpx.Client(base_url=url, headers=headers, timeout=30, trust_env=host not in _LOCAL, verify=https)
    atexit.register(http.close)
    return Client(http)


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
    message = clean(detail)
    if response.status_code >= 500:
        message += f" (request {clean(str(problem.get('request_id')))})"
    return Refusal(message, number, _REMEDY.get(code, ""), list(errors))


def problem_line(error: dict[str, Any]) -> str:
    subject = " ".join(str(error[part]) for part in ("object", "field") if error.get(part))
    return clean(": ".join(part for part in (subject, str(error.get("message"))) if part))


def _local_url(listen: str) -> str:
    host, _, port = listen.rpartition(":")
    return f"http://{'127.0.0.1' if host in ('', '0.0.0.0', '[::]') else host}:{port}"  # noqa: S104 compared, not bound


def _local_token(settings: "Settings", host: str) -> str:
    """This machine's administrator token, which is for this machine's daemon alone."""
    from api.token import TokenError, read

    if host not in _LOCAL and settings.url is not None:
        raise Failure(
            "GGNET_URL is another machine, and there is no GGNET_TOKEN for it", UNAUTHORISED, remedy="set GGNET_TOKEN"
        )
    try:
        return read(settings.state_dir)
    except TokenError as error:
        raise Failure(str(error), UNAUTHORISED) from None


def _unreachable(http: "httpx.Client", error: Exception) -> Failure:
    reason = clean(str(error)) or type(error).__name__
    return Failure(f"no answer from {http.base_url}: {reason}", remedy="start the daemon (ggnet up), or set GGNET_URL")
