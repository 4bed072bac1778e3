"""Query parameters that many routes take."""

from typing import Annotated

from fastapi import Query

Force = Annotated[bool, Query(description="also when a git source manages the object, or its PC is running")]
DryRun = Annotated[bool, Query(alias="dryRun", description="check everything, write nothing")]
