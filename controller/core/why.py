"""The first thing in an object's way, as one sentence."""

from collections.abc import Iterator, Mapping

from manifests.image import Image
from manifests.kinds import Object
from manifests.machine import Machine
from manifests.network import Network
from manifests.session import Session


def why(key: str, objects: Mapping[str, Object]) -> str:
    """From what is stored alone: what the object rests on is asked first, then the object itself.

    ``objects`` by key: the one that is asked for, and those that it names, as far as they exist.
    """
    one = objects.get(key)
    if one is None:
        return f"There is no {key}."
    return next(_obstacles(one, objects), f"Nothing is in the way of {key}: {_said(one) or 'it is Ready'}.")


def _obstacles(one: Object, objects: Mapping[str, Object]) -> Iterator[str]:
    ready = one.status.condition("Ready") if one.status else None
    if ready and ready.status == "True" and _current(one) and one.metadata.deleted_at is None:
        return
    if one.metadata.paused:
        yield f"{one.key} is suspended: ggnet resume {one.key}."
    match one:
        case Session():
            yield from _below(one, objects)
        case Machine():
            sessions = (s for s in objects.values() if isinstance(s, Session) and s.spec.machine == one.name)
            yield from (text for s in sessions if s.spec.state == "running" for text in _image(s, objects))
        case Image() | Network():
            pass
    yield from _itself(one)


def _below(one: Session, objects: Mapping[str, Object]) -> Iterator[str]:
    key = f"Machine/{one.spec.machine}"
    machine = objects.get(key)
    if machine is None:
        yield f"{one.key} names {key}, which does not exist: create it, or change spec.machine."
    if isinstance(machine, Machine) and one.spec.state == "running":
        if not machine.spec.enabled:
            yield f"{key} is switched off: set its spec.enabled to true."
        if machine.metadata.paused:
            yield f"{key} is suspended: ggnet resume {key}."
    if one.spec.state == "running":
        yield from _image(one, objects)


def _image(one: Session, objects: Mapping[str, Object]) -> Iterator[str]:
    """An image that is not Ready is in the way only of a session that has no version of it yet."""
    status = one.status
    disks = status.disks if status and status.disks else ()
    frozen = [disk.version for disk in disks] if disks else [status.image_version] if status else []
    for at, (field, ref) in enumerate(one.spec.images):
        key = f"Image/{ref.image}"
        image = objects.get(key)
        if at < len(frozen) and frozen[at]:
            continue
        if image is None:
            yield f"{one.key} names {key}, which does not exist: create it, or change spec.{field}."
        elif not (image.status and (ready := image.status.condition("Ready")) and ready.status == "True"):
            yield from _itself(image)


def _itself(one: Object) -> Iterator[str]:
    if one.status is None or not _current(one):
        yield f"The controller has not looked at generation {one.metadata.generation} of {one.key} yet: ggnet doctor."
        return
    what = "is being deleted" if one.metadata.deleted_at else f"is {one.status.phase}"
    yield f"{one.key} {what}: {_said(one) or 'no reason was told'}."


def _current(one: Object) -> bool:
    return one.status is not None and one.status.observed_generation >= (one.metadata.generation or 0)


def _said(one: Object) -> str:
    ready = one.status.condition("Ready") if one.status else None
    return ready.message.rstrip(".") if ready else ""
