"""What the kernel asks of an initiator that logs in: set, read, and told as a keyed digest, never as itself.

While a secret is set it is asked for, and only then is it read: a portal group whose ``authentication`` is 0 holds none of
ours. So it is switched on before the secret is set, and off after the secret is gone.
"""

from collections.abc import Callable, Mapping, Sequence

from controller.adapters.chap import Secrets, Unusable
from controller.adapters.configfs import ConfigFs, ReadableFs
from controller.core.desired import Target
from controller.ports.host import EffectFailed, EffectRefused

FIELDS = ("userid", "password", "userid_mutual", "password_mutual")
_INHERITED = "-1"
Digest = Callable[[Sequence[str]], str]


def facts(fs: ReadableFs, tpg: str, initiator: str, digest: Digest) -> Mapping[str, str]:
    """Of one initiator, where its portal group asks."""
    values, own = _held(fs, f"{tpg}/acls/{initiator}"), _own(fs, f"{tpg}/acls/{initiator}")
    told = {f"acl/{initiator}/auth": digest(values)} if any(values) else {}
    return told if own == _INHERITED else told | {f"acl/{initiator}/attrib/authentication": own}


def asked(fs: ReadableFs, tpg: str, initiator: str) -> tuple[str, ...] | None:
    """What it has to know now, as ``FIELDS``; None where it may log in without. OSError where there is nothing."""
    own = _own(fs, f"{tpg}/acls/{initiator}")
    asks = fs.read(f"{tpg}/attrib/authentication") if own == _INHERITED else own
    return _held(fs, f"{tpg}/acls/{initiator}") if asks != "0" else None


def wanted(secrets: Secrets, target: Target, found: Mapping[str, str]) -> tuple[str, ...]:
    """What must be set for its initiator; nothing where what is set is right. EffectRefused, EffectFailed.

    It is read now, and taken only if it is still what the plan was made for.
    """
    digest = target.chap.digest if target.chap else None
    if found.get(f"acl/{target.initiator}/auth") == digest:
        return ()
    if target.chap is None:
        return ("",) * len(FIELDS)
    name = target.chap.credential
    try:
        values = secrets.read(name).values
    except Unusable as problem:
        raise EffectRefused("ChapSecretUnusable", f"the credential {name}: {problem}") from None
    if secrets.digest(values) != digest:
        raise EffectFailed("ChapSecretChanged", f"the credential {name} has changed since it was looked at")
    return values


def write(fs: ConfigFs, acl: str, values: Sequence[str]) -> None:
    for name, held, value in zip(FIELDS, _held(fs, acl), values, strict=True):
        if held != value:
            fs.write(f"{acl}/auth/{name}", value or "NULL")


def inherit(fs: ConfigFs, acl: str) -> None:
    """It is asked if its portal group asks."""
    if _own(fs, acl) != _INHERITED:
        fs.write(f"{acl}/attrib/authentication", _INHERITED)


def _held(fs: ReadableFs, acl: str) -> tuple[str, ...]:
    """Empty where nothing is set, which the kernel may call NULL."""
    values = (fs.read(f"{acl}/auth/{name}") for name in FIELDS)
    return tuple("" if value.startswith("NULL") else value for value in values)


def _own(fs: ReadableFs, acl: str) -> str:
    """Whether this initiator is asked, where the kernel (since 6.0) lets that differ from its portal group's."""
    try:
        return fs.read(f"{acl}/attrib/authentication")
    except FileNotFoundError:
        return _INHERITED
