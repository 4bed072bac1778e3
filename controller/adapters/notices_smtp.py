"""By mail, through one mail server of ours. The password is in the URL of the settings and in nothing that is said."""

import smtplib
import ssl
from collections.abc import Callable
from email.message import EmailMessage
from email.policy import SMTP

import anyio

from controller.core.mail import MailServer
from controller.ports.notices import Letter, NotDelivered

_SECONDS = 15.0


class SmtpMailer:
    def __init__(self, server: MailServer, sender: str, *, tls: ssl.SSLContext | None = None) -> None:
        self._server = server
        self._sender = sender
        self._tls = tls
        self._turn = anyio.CapacityLimiter(2)

    async def send(self, letter: Letter) -> None:
        message = _message(letter, self._sender)
        try:
            with anyio.fail_after(4 * _SECONDS):
                await anyio.to_thread.run_sync(self._send, message, abandon_on_cancel=True, limiter=self._turn)
        except smtplib.SMTPResponseException as error:
            raise NotDelivered(f"the mail server answered {error.smtp_code}") from None
        except smtplib.SMTPRecipientsRefused:
            raise NotDelivered("the mail server does not take mail for this address") from None
        except (smtplib.SMTPException, ssl.SSLError) as error:
            raise NotDelivered(f"the mail server was not understood ({type(error).__name__})") from None
        except (OSError, TimeoutError) as error:
            raise NotDelivered(f"the mail server cannot be reached ({type(error).__name__})") from None

    def _send(self, message: EmailMessage) -> None:
        server = self._server
        context = self._tls or ssl.create_default_context()
        connect: Callable[[], smtplib.SMTP] = lambda: smtplib.SMTP(server.host, server.port, timeout=_SECONDS)  # noqa: E731
        if server.scheme == "smtps":
            connect = lambda: smtplib.SMTP_SSL(server.host, server.port, timeout=_SECONDS, context=context)  # noqa: E731
        with connect() as smtp:
            if server.scheme == "smtp+starttls":
                smtp.starttls(context=context)
            if server.user:
                smtp.login(server.user, server.password)
            smtp.send_message(message)


def _message(letter: Letter, sender: str) -> EmailMessage:
    message = EmailMessage(policy=SMTP)
    message["From"], message["To"], message["Subject"] = sender, letter.to, letter.subject
    message["Date"], message["Message-ID"] = letter.at, f"<{letter.message_id}@ggnet>"
    message["Auto-Submitted"] = "auto-generated"  # RFC 3834: no holiday notices in return
    message.set_content(letter.text)
    return message
