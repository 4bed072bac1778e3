"""Points in time as people write them: a date, a time, or how long ago."""

from datetime import UTC, datetime, timedelta

from manifests.types import Duration, shown

_EARLIEST = datetime(1970, 1, 2, tzinfo=UTC)


def parse(text: str, now: datetime) -> datetime:
    """``2026-01-05``, ``2026-01-05T12:00:00+01:00`` (without a zone: UTC), or ``2h`` for that long ago. ValueError."""
    try:
        return max(_EARLIEST, now - timedelta(seconds=int(Duration.parse(text))))
    except ValueError:
        pass
    try:
        found = datetime.fromisoformat(text)
        found = found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError(f"{shown(text)} is no time: write it like 2026-01-05, 2026-01-05T12:00:00Z or 2h") from None
    return max(_EARLIEST, found)
