"""A commit of a kept disk that was asked for and is not done: it lies on its Session, as an annotation of the server's."""

import json
import re
from dataclasses import asdict, dataclass
from typing import Self

from manifests.disks import DiskName
from manifests.types import shown

COMMIT = "ggnet/commit"
_ID = re.compile("[0-9a-f]{32}", re.ASCII).fullmatch


@dataclass(frozen=True, slots=True)
class CommitRequest:
    """``id`` tells it from any other; ``base`` is the version of ``image`` that the disk stands on, ``by`` who asked."""

    id: str
    disk: str
    image: str
    base: int
    by: str
    comment: str | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        try:
            found = cls(**json.loads(text))
            DiskName.parse(found.disk)
            right = (
                _ID(found.id) and isinstance(found.base, int) and isinstance(found.image, str) and isinstance(found.by, str)
            )
        except (ValueError, TypeError):
            right = None
        if not right:
            raise ValueError(f"{shown(text)} is no commit: ask for one with `ggnet session commit`")
        return found

    def __str__(self) -> str:
        told = {name: value for name, value in asdict(self).items() if value is not None}
        return json.dumps(told, ensure_ascii=False, separators=(",", ":"))
