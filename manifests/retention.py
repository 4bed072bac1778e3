"""How long the versions of an image stay that nothing stands on."""

from typing import Annotated, Any, Self

from pydantic import Field, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from manifests.meta import Strict
from manifests.types import Duration, shown
from manifests.versions import Version

_MOST = 1000
_DAY = 86400


class Count(int):
    """A number of things, 0 to 1000; the loader gives it as text, as it gives all numbers."""

    __slots__ = ()
    pattern = "^(0|[1-9][0-9]{0,2}|1000)$"

    @classmethod
    def parse(cls, value: object) -> Self:
        text = str(value) if isinstance(value, int | str) and not isinstance(value, bool) else ""
        if not (text.isascii() and text.isdecimal()) or len(text) > 4 or text != str(int(text)) or int(text) > _MOST:
            raise ValueError(f"{shown(value)} is not a count: a whole number from 0 to {_MOST}, like 3")
        return int.__new__(cls, int(text))

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(
            cls.parse, serialization=core_schema.plain_serializer_function_ser_schema(int)
        )

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        number = {"type": "integer", "minimum": 0, "maximum": _MOST}
        return {"anyOf": [number, {"type": "string", "pattern": cls.pattern}], "examples": [3]}


class Retention(Strict):
    """Which versions stay though nothing stands on them; all others are collected."""

    keep: Count = Field(Count(3), description="So many of the newest stay.")
    unused: Duration = Field(Duration(14 * _DAY), description="One that was used stays for so long, in whole days.")
    protect: Annotated[tuple[Version, ...], Field(max_length=_MOST)] = Field((), description="These stay for ever.")
    collect: Annotated[bool, Field(strict=True)] = Field(True, description="false: nothing is collected.")

    @property
    def days(self) -> int:
        """``unused`` in whole days, a day that has begun counted in."""
        return -(-int(self.unused) // _DAY)
