"""What must still stand for a write to happen (RFC 9110, 13.1): ``If-Match`` and ``If-None-Match``.

A tag is a resourceVersion, so a proxy that packs answers and calls the tag weak has not made it mean anything else: weak
and strong tags compare alike here. A tag that never was one of ours matches nothing, which is no error.
"""

import re
from typing import Annotated

from fastapi import Header

from api.errors import Malformed
from controller.ports.store import Conflict
from manifests.kinds import Object

IfMatch = Annotated[
    str | None,
    Header(max_length=4096, description='the ETag that was read, or several: if none stands any more, 412; "*": any'),
]
IfNoneMatch = Annotated[
    str | None, Header(max_length=4096, description='"*": only if there is no such object yet, else 412')
]
UNSEEN = "-unknown"
"""Marks the ETag of an object that is shown while no controller looks at it."""
_TAG = re.compile(r'[ \t]*(?:(?:W/)?"([\x21\x23-\x7e\x80-\xff]*)"|([0-9]{1,18}))?[ \t]*(?:,|$)')
_VERSION = re.compile(r"[0-9]{1,18}", re.ASCII).fullmatch


def expected(
    key: str, item: Object | None, if_match: str | None, if_none_match: str | None = None, body: int | None = None
) -> dict[str, int]:
    """For ``expect`` of the store: what a header names, else the resourceVersion in the body. Conflict, Malformed.

    ``item`` is the object as it was read, None if there is none.
    """
    if if_none_match is not None:
        unwanted = tags("If-None-Match", if_none_match)
        if item is not None and (unwanted is None or str(item.metadata.resource_version) in unwanted):
            raise Conflict(f"{key} exists already, at the version that If-None-Match rules out: read it, and send If-Match.")
        if unwanted is None:
            return {key: 0}
    if if_match is None:
        return {key: body} if body else {}
    wanted = tags("If-Match", if_match)
    if item is None:
        raise Conflict(f"There is no {key}: it cannot be at a version that If-Match names.")
    return {} if wanted is None else {key: _version(key, item, wanted)}


def tags(header: str, text: str) -> frozenset[str] | None:
    """The opaque parts; None for ``*``. Malformed."""
    if text.strip() == "*":
        return None
    found, position = set[str](), 0
    while position < len(text):
        match = _TAG.match(text, position)
        if match is None:
            raise Malformed(
                f'{header} takes the ETag of a GET like "42", several of them with commas between, or *.', header
            )
        if match[1] is not None or match[2] is not None:
            found.add((match[1] or match[2] or "").removesuffix(UNSEEN))
        position = match.end()
    if not found:
        raise Malformed(f'{header} is empty: it takes the ETag of a GET like "42", or *.', header)
    return frozenset(found)


def _version(key: str, item: Object, wanted: frozenset[str]) -> int:
    """The one of these versions that may still stand; the store has the last word. Conflict."""
    versions = sorted(int(tag) for tag in wanted if _VERSION(tag))
    if not versions:
        raise Conflict(f"{key} is at no version that If-Match names: read it again.")
    shown = item.metadata.resource_version or 0
    return max((version for version in versions if version <= shown), default=versions[-1])
