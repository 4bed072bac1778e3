"""A refusal in the command's own words: the door speaks of requests, who reads it here types verbs."""

import re

_LISTS = {
    "machines": "ggnet get machines",
    "revisions": "ggnet history",
    "tokens": "ggnet token list",
    "bindings": "ggnet binding list",
    "uploads": "ggnet image uploads",
    "deleted": "ggnet deleted",
}
_KINDS = {
    "Network": "ggnet get networks",
    "Machine": "ggnet get machines",
    "Image": "ggnet get images",
    "Session": "ggnet get sessions",
    "user": "ggnet user list",
    "token": "ggnet token list",
    "webhook": "ggnet webhook list",
}


def spoken(text: str) -> str:
    """With what to type in the place of what to send."""
    typed = re.sub("GET /api/v1/([a-z]+)", lambda found: _LISTS.get(found[1], found[0]), text)
    return typed.replace("send partial=true", "add --partial")


def where_to_look(text: str) -> str:
    """What shows all there is, for ``There is no Machine/pc99.``; empty if the text says it itself."""
    found = re.match("There is no ([A-Za-z]+)[/ ]", text)
    return f"see {_KINDS[found[1]]}" if found and found[1] in _KINDS and "see ggnet" not in text else ""
