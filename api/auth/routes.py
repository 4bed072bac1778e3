"""``/auth``: in, on, out, who am I, another password."""

from typing import Annotated

from fastapi import APIRouter, Depends
from fastapi.security import OAuth2PasswordRequestForm

from api.answers import refusals
from api.auth import accounts, log, login
from api.auth.bodies import Me, PasswordBody, RefreshBody, RegisterBody, Tokens, UserAnswer, accepted
from api.bodies import refused
from api.deps import Asking, DoorOf
from api.errors import Forbidden, Unauthorised
from api.roles import Role, Scope

router = APIRouter(prefix="/auth", tags=["auth"])
_ADA = {"username": "ada", "password": "a sentence of my own"}
_FORM = {"requestBody": {"content": {"application/x-www-form-urlencoded": {"example": _ADA}}}}


@router.post("/login", summary="Log in with user name and password", responses=refusals(400), openapi_extra=_FORM)
async def log_in(door: DoorOf, who: Asking, form: Annotated[OAuth2PasswordRequestForm, Depends()]) -> Tokens:
    """The OAuth2 password form (RFC 6749, 4.3). After some failures the account, or the address, waits some minutes."""
    return _tokens(await login.login(door, form.username, form.password, who))


@router.post("/refresh", summary="Another pair of tokens", responses=refusals())
async def refresh(door: DoorOf, who: Asking, body: RefreshBody) -> Tokens:
    """A refresh token works once. If it comes again somebody has copied it: the whole login is revoked."""
    return _tokens(await login.refresh(door, body.refresh_token, who))


@router.post("/logout", summary="End this login", status_code=204, responses=refusals(403))
async def log_out(door: DoorOf, who: Asking) -> None:
    """Access token and refresh tokens of it open nothing any more, here at once, on other replicas within a second."""
    await login.logout(door, who)


@router.get("/me", summary="Who is asking", responses=refusals())
async def me(who: Asking) -> Me:
    via = "token" if who.key else "login" if who.family else "local"
    return Me(username=who.name, role=who.role, via=via, scopes=[one for one in Scope if one in who.scopes])


@router.post("/password", summary="Change one's own password", status_code=204, responses=refusals(403, 412))
async def change_password(door: DoorOf, who: Asking, body: PasswordBody) -> None:
    """All other logins of the user end."""
    if not who.family:
        raise Forbidden("Only who is logged in with a password can change it: log in first.")
    new = accepted(body.new_password, who.name, "new_password")
    old = body.old_password.get_secret_value()
    if new == old:
        raise refused("", "new_password", "is the one that it has been: take another")
    try:
        user = await login.verified(door, "password", who.name, old, who)
    except Unauthorised:
        raise refused("", "old_password", "is not the password, or there were too many failures: try again later") from None
    hashed, told = await door.identity.hashes.make(new), log.entry(door, who, "password")
    _, ended = await door.identity.store.change_user(
        who.name,
        password=hashed,
        if_password=user.password,
        ends=login.ending(door, keep=who.family),
        told=lambda _: told,
    )
    log.say(told)
    await login.revoke(door, *ended)


@router.post(
    "/register",
    summary="Make oneself an account (where GGNET_REGISTRATION is open)",
    status_code=201,
    responses=refusals(403, 409),
)
async def register(door: DoorOf, who: Asking, body: RegisterBody) -> UserAnswer:
    """A VIEWER, whatever else is said."""
    if door.settings.registration != "open":
        await log.failed(door, "register", body.username, who, "refused")
        raise Forbidden("Registration is closed: ask an administrator for an account.")
    told = log.entry(door, who, "register", name=body.username)
    return UserAnswer.of(
        await accounts.create(door, body.username, accepted(body.password, body.username), Role.VIEWER, told)
    )


def _tokens(pair: login.Pair) -> Tokens:
    return Tokens(access_token=pair.access, refresh_token=pair.refresh, expires_in=pair.expires_in)
