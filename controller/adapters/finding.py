"""What the doctor found."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Finding:
    """``error`` stops boots, ``warning`` may, ``ok`` is fine. ``remedy`` says what to do."""

    subject: str
    level: Literal["ok", "warning", "error"]
    message: str
    remedy: str = ""
