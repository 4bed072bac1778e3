"""Whom the daemon tells how it goes: its log, and the services that collect faults and traces."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from controller.adapters import extras
from controller.adapters.faults import Sentry
from controller.adapters.logs import Logs, form
from controller.adapters.logwriter import LogWriter
from controller.adapters.traces import Otlp
from controller.core.secrets import Mask
from controller.ports.traces import Traces
from controller.settings import Settings

NotInstalled, Misspelt = extras.NotInstalled, extras.Misspelt


@contextmanager
def telling(settings: Settings, version: str, *secrets: str) -> Iterator[Traces | None]:
    """The log, and whom it and the requests are reported to, until this ends. NotInstalled, Misspelt."""
    known = (*settings.secrets, *secrets)
    named = {"server": settings.server}
    sentry = Sentry(settings.sentry_dsn, Mask(known), release=f"ggnet@{version}", **named) if settings.sentry_dsn else None
    writer = LogWriter(sys.stderr)
    Logs(known, extra=[sentry] if sentry else []).open(form(settings.log), settings.log_level, writer)
    traces = Otlp(settings.otlp_endpoint, version=version, **named) if settings.otlp_endpoint else None
    try:
        yield traces
    finally:
        for one in (sentry, traces, writer):
            if one is not None:
                one.close()
