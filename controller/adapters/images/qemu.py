"""``qemu-img``, in a confined child: the second witness of what an image is, and what turns it into a raw disk.

Its format is always given, never guessed, and its file is a descriptor that is open already.
"""

import errno
import json
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from controller.adapters import confine
from controller.adapters.command import CommandMissing, Result
from controller.adapters.confine import Limits, OverTime, Unconfined
from controller.adapters.images.problem import SourceProblem
from controller.adapters.images.sniff import Format, shown

PROGRAM = "qemu-img"
_DRIVERS: Mapping[Format, str] = {
    "qcow2": "qcow2",
    "vhd": "vpc,force_size_calc=current_size",  # else it believes the geometry, which cannot tell every size
    "vhdx": "vhdx",
    "vmdk": "vmdk",
}
_LEAKS, _UNCHECKED = 3, 63  # qemu-img check: space is lost, nothing else; not known for this format
_KILLED = range(129, 192)
_FULL = {"No space left on device": errno.ENOSPC, "Disk quota exceeded": errno.EDQUOT}
_NAMES = re.compile(r"qemu-img: |Could not open |'driver=[^']*':? ?|'?/dev/fd/\d+'?:? ?|'?json:\{[^}]*\}*'?:? ?")
_PROGRESS = re.compile(rb"\(\s*(\d+(?:\.\d+)?)/100%\)")


@dataclass(frozen=True, slots=True)
class Told:
    """What ``qemu-img info`` says; ``layers`` of the confinement that it said it under."""

    facts: Mapping[str, Any]
    layers: tuple[str, ...]


def info(fd: int, form: Format, check: Callable[[str], None]) -> Told:
    """SourceProblem where it cannot open the image."""
    ran = _run(["info", "--output=json", "--image-opts", _source(fd, form)], {fd: False}, Limits(), check)
    if ran.result.code:
        raise SourceProblem("SourceCorrupt", f"it is a damaged {shown(form)} image: {_words(ran.result)}")
    try:
        facts = json.loads(ran.result.out)
    except ValueError as error:
        raise SourceProblem("SourceCorrupt", "qemu-img tells of it what nobody can read") from error
    return Told(facts, ran.layers)


def check_tables(fd: int, form: Format, check: Callable[[str], None]) -> None:
    """SourceProblem if what its tables tell cannot be, where the format lets that be seen."""
    ran = _run(
        ["check", "--output=json", "--image-opts", _source(fd, form)], {fd: False}, Limits(seconds=600, cpu=300), check
    )
    if ran.result.code not in (0, _LEAKS, _UNCHECKED):
        raise SourceProblem(
            "SourceCorrupt",
            f"it is a damaged {shown(form)} image: qemu-img check finds {_words(ran.result)}: copy or download it again",
        )


def convert(
    fd: int, form: Format, made: int, size: int, *, progress: Callable[[float], None], check: Callable[[str], None]
) -> None:
    """SourceProblem; OSError where it is ``made`` that cannot be written. Zeros are left as the holes that they are."""

    def hear(said: bytes) -> None:
        if found := _PROGRESS.findall(said):
            progress(min(1.0, float(found[-1]) / 100))

    target = f"driver=raw,file.driver=file,file.locking=off,file.filename=/dev/fd/{made}"
    options = ["-p", "-n", "-W", "--target-is-zero", "--image-opts", "--target-image-opts"]
    # Slower than a slow disk is a hang: so it is ended in the end, whatever it does.
    limits = Limits(seconds=600 + size / (4 << 20), cpu=600 + size // (16 << 20), largest=size)
    files = {fd: False, made: True}
    ran = _run(["convert", *options, _source(fd, form), target], files, limits, check, hear)
    if not ran.result.code:
        return
    for words, code in _FULL.items():
        if words in ran.result.tail:
            raise OSError(code, os.strerror(code))
    raise SourceProblem("ConversionFailed", f"it cannot be converted: {_words(ran.result)}")


def _run(
    words: list[str],
    files: Mapping[int, bool],
    limits: Limits,
    check: Callable[[str], None],
    hear: Callable[[bytes], None] | None = None,
) -> confine.Ran:
    try:
        ran = confine.run([PROGRAM, *words], files, limits=limits, check=check, hear=hear)
    except CommandMissing as error:
        raise SourceProblem("ConverterMissing", "qemu-img is not there: apt install qemu-utils") from error
    except Unconfined as error:
        raise SourceProblem("ConverterUnconfined", f"{error}: ggnet doctor tells what is missing") from error
    except OverTime as error:
        raise SourceProblem("ConversionFailed", f"qemu-img {words[0]} took longer than any sound image needs") from error
    if ran.result.code in _KILLED:
        raise SourceProblem(
            "ConversionFailed", f"qemu-img {words[0]} needed more processor or memory than any sound image does"
        )
    return ran


def _source(fd: int, form: Format) -> str:
    return f"driver={_DRIVERS[form]},file.driver=file,file.locking=off,file.filename=/dev/fd/{fd}"


def _words(result: Result) -> str:
    """What it said at last, without the names that we gave."""
    return _NAMES.sub("", result.tail.rpartition("| ")[2]).strip(" :.") or f"code {result.code}"
