"""The parts of identity, put together for one API process."""

from dataclasses import dataclass, field
from datetime import timedelta

import structlog

from api.auth.access import AccessTokens
from api.auth.credentials import Credentials
from api.auth.hashes import ROUNDS, Hashes
from api.auth.keys import Keyring
from api.auth.known import Known
from controller.ports.clock import Clock
from controller.ports.logins import IdentityStore, Revocations
from controller.ports.store import StoreError
from controller.settings import Settings

_USE_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Identity:
    store: IdentityStore
    revocations: Revocations
    hashes: Hashes
    access: AccessTokens
    known: Known
    credentials: Credentials
    clock: Clock
    uses: dict[str, float] = field(default_factory=dict)
    """API key -> when its last use was written, on the monotonic clock."""

    async def used(self, key: str) -> None:
        """Once a minute at most; a store that does not answer loses no more than that."""
        if self.noted(key):
            return
        self.uses[key] = self.clock.monotonic()
        try:
            await self.store.key_used(key, self.clock.now(), _USE_SECONDS)
        except StoreError as error:
            structlog.get_logger("api.auth").error("use of a token not written", token=key, error=str(error))

    def noted(self, key: str) -> bool:
        """Whether its last use was written lately."""
        return self.clock.monotonic() < self.uses.get(key, float("-inf")) + _USE_SECONDS


def identity(
    store: IdentityStore, revocations: Revocations, clock: Clock, settings: Settings, rounds: int = ROUNDS
) -> Identity:
    """With a signing key, made now if there is none. TokenError."""
    life = timedelta(minutes=settings.access_minutes)
    keys = keyring(settings)
    keys.ensure(clock.now())
    access = AccessTokens(keys, f"ggnet:{settings.site}", life)
    known = Known(store, revocations, keys, clock)
    return Identity(store, revocations, Hashes(rounds), access, known, Credentials(access, known, clock.now), clock)


def keyring(settings: Settings) -> Keyring:
    return Keyring(settings.state_dir, timedelta(minutes=settings.access_minutes, seconds=60))
