"""What the API has beside the store: webhooks, mail and uploads. The controller alone does without these imports."""

import os
import secrets
import socket
from collections.abc import Callable
from datetime import timedelta

from controller.adapters.notices import SqlNotices
from controller.adapters.notices_http import HttpCourier
from controller.adapters.notices_smtp import SmtpMailer
from controller.adapters.resolver import SystemResolver
from controller.adapters.uploads import FolderUploads
from controller.bootstrap.here import clock
from controller.bootstrap.stores import Persistence
from controller.core.mail import MailServer
from controller.core.notices import Matches
from controller.ports.database import Database
from controller.ports.hints import Hints
from controller.ports.notices import Outbox
from controller.ports.uploads import Uploads
from controller.settings import Settings
from controller.shell.deliver import Deliverer


def outbox(settings: Settings, store: Persistence) -> Outbox:
    """What webhooks and mail need."""

    courier = HttpCourier(SystemResolver(), settings.webhook_networks)
    mailer = None
    if settings.smtp_url is not None:
        sender = settings.mail_from or f"ggnet@{socket.gethostname()}"
        mailer = SmtpMailer(MailServer.parse(settings.smtp_url.get_secret_value()), sender)
    return Outbox(SqlNotices(store.database, store.trail), courier, mailer)


def uploads(settings: Settings, store: Persistence) -> Uploads:
    """The folder that uploads come into."""
    life, quota = timedelta(hours=settings.upload_hours), int(settings.upload_quota)
    return FolderUploads(settings.uploads, store, clock(), life=life, quota=quota)


async def deliver(
    settings: Settings, store: Database, outbox: Outbox, hints: Hints, parse: Callable[[str], Matches]
) -> None:
    """Webhooks are sent, by one process at a time, until cancelled. ``parse`` reads label selectors."""
    holder = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"
    deliverer = Deliverer(store, outbox, clock(), holder, parse, settings.site, hints.poll_seconds)
    hints.heard(deliverer.wake)
    await deliverer.run()
