"""All that is kept about one person, for the person: account, API keys, objects, and what the audit log says of them."""

from typing import Any

from pydantic import BaseModel, ConfigDict

from api.audit import row_wire
from api.auth import names
from api.auth.bodies import UserAnswer
from api.deps import Door
from controller.ports.store import NotFound


class Export(BaseModel):
    """``objects`` are those that were put by them last; ``audit`` the rows of what they did and what was done to them."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "username": "ada",
                "account": {"username": "ada", "role": "OPERATOR"},
                "tokens": [{"id": "5f2b00c1d2e3", "name": "ci", "scopes": ["read"]}],
                "objects": ["Machine/pc07"],
                "audit": [{"number": 17, "action": "login", "who": "api:ada", "address": "10.77.0.20"}],
            }
        }
    )

    username: str
    account: UserAnswer | None
    tokens: list[dict[str, Any]]
    objects: list[str]
    audit: list[dict[str, Any]]


async def export(door: Door, name: str) -> Export:
    """NotFound, StoreError."""
    user = await door.identity.store.user(name) if names.possible(name) else None
    rows = await door.store.audit_about(name) if names.possible(name) else ()
    if user is None and not rows:
        raise NotFound(f"Nothing is kept about {ascii(name)[1:-1][:63]}.")
    keys = [one for one in await door.identity.store.keys() if user is not None and one.owner == user.uid]
    objects, _ = await door.store.list()
    return Export(
        username=name,
        account=UserAnswer.of(user) if user else None,
        tokens=[
            {"id": one.id, "name": one.name, "scopes": list(one.scopes), "createdAt": one.created_at.isoformat()}
            for one in keys
        ],
        objects=[one.key for one in objects if one.metadata.managed_by == f"api:{name}"],
        audit=[row_wire(row) for row in rows],
    )
