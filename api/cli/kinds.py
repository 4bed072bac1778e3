"""KIND/NAME as people type it: singular, plural or short, in any case, as one word or as two."""

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote

from api.cli.failure import USAGE, Failure

_ALIASES = {
    "networks": ("network", "net", "nets"),
    "machines": ("machine", "pc", "pcs", "m"),
    "images": ("image", "img", "imgs"),
    "sessions": ("session", "sess", "s"),
}
KINDS = {"networks": "Network", "machines": "Machine", "images": "Image", "sessions": "Session"}
_PLURAL_OF = {alias: plural for plural, aliases in _ALIASES.items() for alias in (plural, *aliases)}


@dataclass(frozen=True, slots=True)
class Ref:
    """``name`` None means all of the kind."""

    plural: str
    name: str | None = None

    @property
    def kind(self) -> str:
        return KINDS[self.plural]

    @property
    def key(self) -> str:
        return f"{self.kind}/{self.name}"

    @property
    def path(self) -> str:
        """Below ``/api/v1``; the name can bring no path of its own."""
        return f"/{self.plural}/{quote(self.name, safe='')}" if self.name is not None else f"/{self.plural}"


def known(kind: str) -> bool:
    return kind.lower() in _PLURAL_OF


def parse(text: str) -> Ref:
    """Failure, wrong usage."""
    kind, slash, name = text.partition("/")
    plural = _PLURAL_OF.get(kind.lower())
    if plural is None:
        raise Failure(f"{ascii(kind)[:60]} is not a kind", USAGE, remedy=f"use one of {', '.join(_ALIASES)}")
    if slash and not _could_be_name(name):
        raise Failure(f"{ascii(name)[:60]} is not a name", USAGE, remedy="a name has a-z, 0-9 and '-', at most 63 of them")
    return Ref(plural, name if slash else None)


def parse_one(text: str) -> Ref:
    """One object, by name. Failure, wrong usage."""
    if "/" not in text and not known(text) and _could_be_name(text):
        raise Failure(f"{text} has no kind", USAGE, remedy=f"write machine/{text}, session/{text} or image/{text}")
    ref = parse(text)
    if ref.name is None:
        raise Failure(f"{ascii(text)[:60]} names no object", USAGE, remedy=f"write {ref.kind.lower()}/NAME")
    return ref


def one_of(plurals: Sequence[str], text: str) -> Ref:
    """Of the first kind if the name stands alone: ``pc07``, ``session/pc07``. Failure, wrong usage: of none of these."""
    ref = parse_one(text if "/" in text else f"{plurals[0]}/{text}")
    if ref.plural not in plurals:
        kind = KINDS[plurals[0]].lower()
        raise Failure(f"{ref.key} is no {kind}", USAGE, remedy=f"write a {kind}'s name")
    return ref


def joined(words: Sequence[str]) -> str:
    """``machine pc07``, which is two words of a command line, as ``machine/pc07``. Failure, wrong usage."""
    match words:
        case [one]:
            return one
        case [kind, name] if "/" not in kind + name:
            return f"{kind}/{name}"
    raise Failure("this is more than one object", USAGE, remedy="name one, like machine/pc07")


def complete(incomplete: str) -> list[str]:
    """For the shell."""
    return [f"{alias}" for alias in _PLURAL_OF if alias.startswith(incomplete.lower()) and len(alias) > 2]


def _could_be_name(name: str) -> bool:
    return 0 < len(name) <= 63 and name.isascii() and all(c.isalnum() or c == "-" for c in name) and name == name.lower()
