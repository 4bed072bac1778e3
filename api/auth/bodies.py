"""What the routes of identity take and give. A field that is not named here is refused: nobody gives himself a role."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr
from pydantic.alias_generators import to_camel
from pydantic.config import JsonDict

from api.auth import names, policy
from api.bodies import refused
from api.roles import Role, Scope
from controller.ports.accounts import User

Username = Annotated[str, Field(pattern=names.PATTERN, max_length=63, examples=["ada"])]
Secret = Annotated[SecretStr, Field(max_length=1024, examples=["a sentence of my own"])]
NewSecret = Annotated[Secret, Field(json_schema_extra={"minLength": policy.SHORTEST, "maxLength": policy.LONGEST})]


ADA: JsonDict = {
    "username": "ada",
    "role": "OPERATOR",
    "disabled": False,
    "lockedUntil": None,
    "createdAt": "2026-01-05T12:00:00Z",
    "lastLoginAt": "2026-01-05T13:00:00Z",
}


def example(**values: Any) -> ConfigDict:
    return ConfigDict(extra="forbid", json_schema_extra={"example": values})


class Tokens(BaseModel):
    """``expires_in``: seconds that the access token is good for. Both are shown here and never again."""

    model_config = example(access_token="eyJhbGciOi...", refresh_token="ggr_...", token_type="bearer", expires_in=3600)  # noqa: S106

    access_token: str
    refresh_token: str
    token_type: str = "bearer"  # noqa: S105 the kind of it
    expires_in: int


class RefreshBody(BaseModel):
    model_config = example(refresh_token="ggr_...")  # noqa: S106

    refresh_token: Annotated[str, Field(min_length=1, max_length=256)]


class PasswordBody(BaseModel):
    model_config = example(old_password="what it was until now", new_password="a sentence of my own")  # noqa: S106

    old_password: Secret
    new_password: NewSecret


class RegisterBody(BaseModel):
    model_config = example(username="ada", password="a sentence of my own")  # noqa: S106

    username: Username
    password: NewSecret


class NewUser(RegisterBody):
    model_config = example(username="ada", password="a sentence of my own", role="OPERATOR")  # noqa: S106

    role: Role = Role.VIEWER


class UserChange(BaseModel):
    """What is left out stays. A new password, or ``disabled``, ends the user's logins."""

    model_config = example(role="OPERATOR", disabled=False)

    role: Role = Field(default_factory=lambda: Role.VIEWER, description="what they may be from now on")
    disabled: bool = Field(default_factory=bool, description="true shuts them out, with their API keys")
    password: NewSecret = Field(default_factory=lambda: SecretStr(""), description="a new one, without the old one")
    locked: Literal[False] = Field(False, description="opens an account that failed logins have closed")


class UserAnswer(BaseModel):
    model_config = ConfigDict(
        alias_generator=to_camel,
        populate_by_name=True,
        json_schema_extra={"example": ADA},
    )

    username: str
    role: Role
    disabled: bool = False
    locked_until: datetime | None = None
    created_at: datetime | None = None
    last_login_at: datetime | None = None

    @classmethod
    def of(cls, user: User, locked_until: datetime | None = None) -> "UserAnswer":
        return cls(
            username=user.name,
            role=Role(user.role),
            disabled=user.disabled,
            locked_until=locked_until,
            created_at=user.created_at,
            last_login_at=user.last_login,
        )


class Me(BaseModel):
    """Who asks. ``via``: how they came in; ``scopes`` narrow an API key."""

    model_config = ConfigDict(
        json_schema_extra={"example": {"username": "ada", "role": "OPERATOR", "via": "login", "scopes": ["read", "write"]}}
    )

    username: str
    role: Role
    via: str
    scopes: list[Scope]


class ListMetadata(BaseModel):
    """``continue`` is null on the last page."""

    continue_: Annotated[str | None, Field(alias="continue")] = None


def accepted(password: SecretStr, username: str, field: str = "password") -> str:
    """Invalid, with what to do."""
    plain = password.get_secret_value()
    if (reason := policy.refusal(plain, username)) is not None:
        raise refused("", field, reason)
    return plain
