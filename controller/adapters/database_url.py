"""Where the database is, as ``GGNET_DATABASE_URL`` says it."""

from sqlalchemy import exc
from sqlalchemy.engine import URL, make_url

from controller.ports.store import StoreError
from manifests.types import shown

_DRIVERS = {
    "sqlite": "sqlite+aiosqlite",
    "sqlite+aiosqlite": "sqlite+aiosqlite",
    "postgres": "postgresql+asyncpg",
    "postgresql": "postgresql+asyncpg",
    "postgresql+asyncpg": "postgresql+asyncpg",
}
# What a PostgreSQL URL may say after "?": no secret among them, so the URL can be shown.
_PARAMETERS = frozenset({"sslmode", "host", "port"})


def parse(url: str) -> URL:
    """StoreError without echoing what cannot be parsed: it may hold a password."""
    try:
        parsed = make_url(url)
        driver = _DRIVERS[parsed.drivername]
    except (exc.ArgumentError, KeyError, ValueError):
        raise StoreError(
            "the database URL is neither sqlite:///ABSOLUTE/PATH nor postgresql://USER:PASSWORD@HOST:PORT/DATABASE; "
            "correct GGNET_DATABASE_URL"
        ) from None
    if driver.startswith("sqlite") and parsed.database in (None, "", ":memory:"):
        raise StoreError("the database URL names no file: write sqlite:////var/lib/ggnet/ggnet.db in GGNET_DATABASE_URL")
    unknown = sorted(parsed.query.keys() - (set() if driver.startswith("sqlite") else _PARAMETERS))
    if unknown:
        raise StoreError(f"the database URL has the unknown parameter {shown(unknown[0])}; correct GGNET_DATABASE_URL")
    return parsed.set(drivername=driver)
