"""The environment, read once. Every field says why its default is what it is."""

import re
from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import quote, unquote, urlsplit

from pydantic import BeforeValidator, Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from controller.core import addresses, mail
from controller.core.names import Site
from manifests.types import Name, Size

# As browsers write it: a scheme, a host in lower case, a port where it is not the scheme's own. "*" is no list.
_ORIGIN = re.compile(r"https?://(?:[a-z0-9.-]+|\[[0-9a-f:]+\])(?::[0-9]{1,5})?", re.ASCII).fullmatch


def _networks(given: object) -> object:
    """``10.0.0.1,192.0.2.0/24``. ValueError."""
    return tuple(ip_network(part.strip()) for part in given.split(",") if part.strip()) if isinstance(given, str) else given


class SettingsError(Exception):
    """A setting cannot be used; it is named, with what to do."""


class Settings(BaseSettings):
    model_config = SettingsConfigDict(env_prefix="GGNET_", frozen=True, extra="ignore")

    database_url: str | None = Field(None, description="SQLAlchemy URL; unset: SQLite in the state folder, no server needed")
    database_password_file: Path | None = Field(
        None, description="the password that GGNET_DATABASE_URL leaves out; unset: the URL is all there is"
    )
    redis_url: str | None = Field(
        None,
        description="optional: wake-ups and rate limits between processes; without it each polls and counts alone",
    )
    redis_password_file: Path | None = Field(
        None, description="the password that GGNET_REDIS_URL leaves out; unset: the URL is all there is"
    )
    manifests: str | None = Field(
        None, description="folder, or git URL as URL#REF:SUBFOLDER; unset: objects come by REST alone"
    )
    state_dir: Path = Field(Path("/var/lib/ggnet"), description="what must outlive a restart")
    pool_dir: Path | None = Field(None, description="images and overlays; unset: pool in the state folder")
    pool_driver: Literal["auto", "reflink", "snapshot", "copy"] = Field(
        "auto", description="how private disks are made: the first of reflink, snapshot, copy that works here"
    )
    import_dir: Path | None = Field(None, description="where image sources lie; unset: imports in the pool")
    import_allow: str | None = Field(
        None,
        description="networks that are not public and may be fetched from, with commas between; unset: none, because who"
        " may write an Image is not to read this network's own servers with it",
    )
    import_ca_file: Path | None = Field(
        None, description="certificates (PEM) of authorities that are trusted beside the system's; unset: the system's alone"
    )
    upload_dir: Path | None = Field(None, description="where uploads lie; unset: uploads in the pool")
    upload_hours: Annotated[float, Field(gt=0, le=8760)] = Field(
        24.0, description="how long an unfinished upload is kept after its last byte: a night's sleep"
    )
    upload_quota: Size = Field(
        Size.parse("256GiB"), description="what one user's uploads may take, and so the longest: some ten Windows images"
    )
    tftp_root: Path = Field(Path("/srv/tftp"), description="Debian's default of tftpd-hpa")
    nbp_dir: Path = Field(Path("/usr/lib/ipxe"), description="where Debian's ipxe package keeps the network boot programs")
    dhcpd_include: Path = Field(Path("/etc/dhcp/ggnet.conf"), description="the one file of dhcpd's that is ours")
    dhcpd_conf: Path = Field(
        Path("/etc/dhcp/dhcpd.conf"), description="the administrator's file, which includes ours; read only"
    )
    dhcpd_restart: str = Field(
        "isc-dhcp-server.service", description="systemd unit, or a command line (it holds a space or a slash)"
    )
    dhcpd_pidfile: Path = Field(Path("/run/dhcpd.pid"), description="Debian's default; tells which process answers")
    secrets_dir: Path = Field(
        Path("/etc/ggnet/secrets"), description="CHAP secrets, a file each: beside what else only root may change"
    )
    configfs: Path = Field(Path("/sys/kernel/config"), description="where the kernel's configfs is mounted")
    iqn_prefix: str = Field("iqn.2026-01.internal.ggnet", description="RFC 7143: a date and a domain that we hold")
    site: Name = Field(Name.parse("default"), description="tells installations on one network apart")
    server: Name = Field(Name.parse("default"), description="this boot server's name: machines may be placed on it")
    listen: str = Field("127.0.0.1:8080", description="where the API listens: this machine only")
    cors_origins: str | None = Field(
        None, description="origins of web pages that may ask, by commas; unset: none, a browser keeps them all out"
    )
    rate_limit: Annotated[int, Field(ge=0)] = Field(
        6000, description="requests a minute of one identity: a hundred a second is a script gone wild; 0: no limit"
    )
    rate_limit_address: Annotated[int, Field(ge=0)] = Field(
        600, description="the same of an address whose requests nobody signs: a room of PCs behind one; 0: no limit"
    )
    rate_limit_login: Annotated[int, Field(ge=0)] = Field(
        30, description="sign-ins a minute from one address: a class begins, a guesser does not; 0: no limit"
    )
    feeds: Annotated[int, Field(ge=0)] = Field(
        200, description="live feeds of one identity at a time, in each API process; 0: no limit"
    )
    url: str | None = Field(None, description="client: the API; unset: the local daemon")
    token: str | None = Field(None, description="client: the bearer token; unset: admin.token in the state folder")
    proxies: Annotated[Sequence[IPv4Network | IPv6Network] | None, NoDecode, BeforeValidator(_networks)] = Field(
        None, description="whose X-Forwarded-For is believed; unset: nobody's, for anyone can write one"
    )
    registration: Literal["closed", "open"] = Field("closed", description="accounts are an administrator's to give")
    access_minutes: Annotated[float, Field(gt=0, le=1440)] = Field(
        60.0, description="an access token's life: an hour's work"
    )
    refresh_days: Annotated[float, Field(gt=0, le=365)] = Field(7.0, description="a login left unused for a week is over")
    lockout_failures: Annotated[int, Field(ge=1, le=1000)] = Field(
        5, description="more than anybody's slips, too few to guess"
    )
    lockout_minutes: Annotated[float, Field(gt=0, le=1440)] = Field(15.0, description="480 guesses a day at most")
    webhook_allow: str | None = Field(
        None,
        description="networks that are not public and may get webhooks, with commas between; unset: none, because a"
        " server that sends into its own network on request is what an attacker wants",
    )
    smtp_url: SecretStr | None = Field(None, description="optional: the server for mail to subscribers; unset: no mail")
    mail_from: str | None = Field(None, description="the sender of mails; unset: ggnet at this machine's name")
    sweep_seconds: Annotated[float, Field(gt=0)] = Field(60.0, description="full look at everything; events come faster")
    audit_days: Annotated[int, Field(ge=1, le=36500)] | None = Field(
        None, description="how long the audit log is kept; unset: for ever, because what is gone convinces nobody"
    )
    restore_days: Annotated[int, Field(ge=0, le=3650)] = Field(
        30, description="how long what was deleted can be restored: a month's holiday; 0: not at all"
    )
    source_seconds: Annotated[float, Field(gt=0)] = Field(5.0, description="how often a remote git source is asked")

    log: Literal["json", "console"] | None = Field(
        None, description="form of the log; unset: JSON, but on a terminal lines for people"
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="what is logged at least: one line a request and a pass"
    )
    otlp_endpoint: str | None = Field(
        None, description="where traces go (OTLP over HTTP, like http://127.0.0.1:4318); unset: none are made"
    )
    sentry_dsn: str | None = Field(None, description="where failures are reported; unset: to the log alone")
    context: str | None = Field(None, description="client: which login is used; unset: the one chosen by `context use`")
    config_home: Path | None = Field(
        None, validation_alias="XDG_CONFIG_HOME", description="client: where logins are kept; unset: ~/.config"
    )
    credentials_directory: Path | None = Field(
        None, validation_alias="CREDENTIALS_DIRECTORY", description="systemd sets it for LoadCredential="
    )
    notify_socket: str | None = Field(None, validation_alias="NOTIFY_SOCKET", description="systemd sets it for Type=notify")

    @field_validator("webhook_allow", "import_allow")
    @classmethod
    def _named_networks(cls, text: str | None) -> str | None:
        addresses.networks(text or "")
        return text

    @field_validator("smtp_url")
    @classmethod
    def _mail_server(cls, url: SecretStr | None) -> SecretStr | None:
        if url is not None:
            mail.MailServer.parse(url.get_secret_value())
        return url

    @field_validator("mail_from")
    @classmethod
    def _sender(cls, text: str | None) -> str | None:
        return None if text is None else mail.address(text)

    @property
    def webhook_networks(self) -> tuple[addresses.Network, ...]:
        return addresses.networks(self.webhook_allow or "")

    @property
    def import_networks(self) -> tuple[addresses.Network, ...]:
        return addresses.networks(self.import_allow or "")

    @property
    def pool(self) -> Path:
        return self.pool_dir or self.state_dir / "pool"

    @property
    def imports(self) -> Path:
        return self.import_dir or self.pool / "imports"

    @property
    def uploads(self) -> Path:
        return self.upload_dir or self.pool / "uploads"

    @property
    def database(self) -> str:
        """SettingsError."""
        url = self.database_url or f"sqlite+aiosqlite:///{self.state_dir / 'ggnet.db'}"
        return _with_password(url, self.database_password_file, "DATABASE")

    @property
    def redis(self) -> str | None:
        """SettingsError."""
        return None if self.redis_url is None else _with_password(self.redis_url, self.redis_password_file, "REDIS")

    @property
    def origins(self) -> tuple[str, ...]:
        return tuple(one.strip() for one in (self.cors_origins or "").split(",") if one.strip())

    @field_validator("cors_origins")
    @classmethod
    def _spelt(cls, text: str | None) -> str | None:
        for one in (text or "").split(","):
            if one.strip() and not _ORIGIN(one.strip()):
                raise ValueError(
                    f"{one.strip()!a} is not an origin: write it like https://panel.example:8443, without a path"
                )
        return text

    @property
    def secrets(self) -> tuple[str, ...]:
        """What this environment holds that must not be read in a log. SettingsError."""
        smtp = self.smtp_url.get_secret_value() if self.smtp_url else None
        urls = (self.database, self.redis, self.manifests, self.sentry_dsn, smtp)
        parts = [urlsplit(url) for url in urls if url and "://" in url]
        found = [text for one in parts for text in (one.password, one.username if not one.password else None) if text]
        return tuple({*found, *map(unquote, found), self.token or ""} - {""})

    @property
    def names(self) -> Site:
        return Site(self.iqn_prefix, self.site, self.server)


def _with_password(url: str, file: Path | None, name: str) -> str:
    """The URL with the file's only line as its password; nothing of either is repeated in a SettingsError."""
    if file is None:
        return url
    variable = f"GGNET_{name}_PASSWORD_FILE"
    try:
        password = file.read_text("utf-8").removesuffix("\n")
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        raise SettingsError(f"{variable}: {file} cannot be read: {reason}; see that its user may read it") from None
    if not password or not password.isprintable():
        raise SettingsError(f"{variable}: {file} does not hold one line with a password")
    scheme, found, rest = url.partition("://")
    place, slash, path = rest.partition("/")
    user, _, host = place.rpartition("@")
    if not found or not place or ":" in user:
        raise SettingsError(f"{variable} is for a GGNET_{name}_URL like SCHEME://USER@HOST/NAME, without a password in it")
    return f"{scheme}://{user}:{quote(password, safe='')}@{host}{slash}{path}"
