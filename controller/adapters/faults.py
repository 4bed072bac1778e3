"""Failures that nobody foresaw, reported to Sentry as well as to the log.

Every one of them is logged with its exception, so this is a place that the log's events pass on their way. What goes out
has no variables, no headers and no body, and is masked as the log is. The library's own integrations, which gather all
that, stay off.
"""

from collections.abc import MutableMapping
from typing import Any

from controller.adapters.extras import Misspelt, NotInstalled
from controller.core.secrets import Mask

_FLUSH_SECONDS = 2.0


class Sentry:
    """A processor of the log's. NotInstalled, Misspelt."""

    def __init__(self, dsn: str, mask: Mask, *, release: str, server: str) -> None:
        try:
            import sentry_sdk
        except ImportError as error:
            raise NotInstalled("GGNET_SENTRY_DSN", "sentry") from error
        try:
            sentry_sdk.init(
                dsn=dsn,
                release=release,
                server_name=server,
                default_integrations=False,
                auto_enabling_integrations=False,
                include_local_variables=False,
                max_breadcrumbs=0,
                before_send=lambda event, _: mask.value(event),
            )
        except sentry_sdk.utils.BadDsn as error:
            raise Misspelt("GGNET_SENTRY_DSN is no DSN: copy it from the project's settings in Sentry") from error
        self._sdk = sentry_sdk

    def __call__(self, _: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        error = event.get("exc_info")
        if isinstance(error, BaseException) and event.get("level") in ("error", "critical"):
            with self._sdk.new_scope() as scope:
                for name in ("event", "part", "request_id", "route"):
                    if name in event:
                        scope.set_tag(name, str(event[name]))
                scope.capture_exception(error)
        return event

    def close(self) -> None:
        """What waits to be sent has a moment."""
        self._sdk.flush(_FLUSH_SECONDS)
        self._sdk.get_client().close(_FLUSH_SECONDS)
