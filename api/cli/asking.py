"""What only a person knows: asked on the terminal, or read from a pipe."""

import sys

from api.cli.failure import USAGE, Failure
from api.cli.output import clean


def name(given: str | None) -> str:
    """Failure, wrong usage."""
    if given is not None:
        return given
    if not sys.stdin.isatty():
        raise Failure("whose login?", USAGE, remedy="give --username NAME when the password is piped in")
    print("User name: ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip()


def password(what: str, *, twice: bool = False) -> str:
    """Not echoed; the first line of what is piped in. Failure, wrong usage."""
    import getpass

    if not sys.stdin.isatty():
        line = sys.stdin.readline()
        if not line:
            raise Failure(f"no {clean(what).lower()} came", USAGE, remedy="pipe it in as one line, or run on a terminal")
        return line.rstrip("\r\n")
    first = getpass.getpass(f"{clean(what)}: ")
    if twice and getpass.getpass("Again: ") != first:
        raise Failure("the two are not the same", USAGE, remedy="run it again")
    return first
