"""What a start or a stop makes of a session; a machine's session bears its name."""

from typing import Any, Literal

from pydantic import ConfigDict, Field, ValidationError

from api.foreseen import annotated
from api.foreseen import wanted as wanted_again
from api.problems import place, words
from manifests.disks import MOST
from manifests.load import Invalid, Problem
from manifests.meta import DISRUPTION, Metadata, Strict
from manifests.session import Session, SessionDiskSpec, SessionSpec
from manifests.types import Duration, Name, Size
from manifests.versions import ImageRef


class Start(Strict):
    """What to start; what is left out stays as the session has it."""

    model_config = ConfigDict(json_schema_extra={"example": {"image": "win11"}})

    image: ImageRef | None = Field(None, description="an Image, or one version of it; the first start needs it, or disks")
    disks: tuple[SessionDiskSpec, ...] | None = Field(
        None, min_length=1, max_length=MOST, description="in the place of image: all its disks, the first of which boots"
    )
    machine: Name | None = Field(None, description="default: the session's name")
    persistence: Literal["ephemeral", "keep", "readonly"] | None = None
    overlay_limit: Size | None = None
    ttl: Duration | None = None


def body(model: type[Start]) -> dict[str, Any]:
    """Its JSON Schema; what the manifests say is among the document's components."""
    schema = model.model_json_schema(by_alias=True, mode="validation", ref_template="#/components/schemas/{model}")
    schema.pop("$defs", None)
    return schema


def started(name: str, before: Session | None, wanted: Start) -> Session:
    """The session as it is to run, without the leave to cut a running PC, which was given for once. Invalid."""
    given = wanted.model_dump(exclude_none=True)
    kept: dict[str, object] = before.spec.model_dump() if before else {"machine": name}
    if wanted.disks is not None and wanted.image is None:
        kept["image"] = None
    if wanted.image is not None and before is not None and before.spec.disks and wanted.disks is None:
        raise Invalid(
            [Problem("", 0, f"Session/{name}", "spec.image", "it has several disks: say what each starts, in disks")]
        )
    if before is None and wanted.image is None and wanted.disks is None:
        raise Invalid([Problem("", 0, f"Session/{name}", "image", "is missing: say which image, or which disks")])
    try:
        spec = SessionSpec.model_validate({**kept, **given, "state": "running"})
    except ValidationError as error:
        raise invalid(error, f"Session/{name}") from None
    return Session(metadata=wanted_again(before).metadata if before else Metadata(name=Name.parse(name)), spec=spec)


def stopped(before: Session, *, force: bool) -> Session:
    """With ``force`` its PC may be cut, this once."""
    item = annotated(wanted_again(before), {DISRUPTION: "allowed" if force else None})
    return Session(metadata=item.metadata, spec=before.spec.model_copy(update={"state": "stopped"}))


def invalid(error: ValidationError, key: str) -> Invalid:
    """What a body's model found, as problems of the object that it is about."""
    return Invalid(Problem("", 0, key, place(one["loc"]), words(one["msg"])) for one in error.errors())
