"""Bindings: few rows, read whole."""

from collections.abc import Sequence

from sqlalchemy import Row, delete, func, insert, select

from controller.adapters.database import Database
from controller.adapters.store_trail import Trail
from controller.adapters.tables_bindings import bindings
from controller.adapters.tables_identity import users
from controller.ports.audit import Entry, Told
from controller.ports.permission import Binding, TooMany, Widens
from controller.ports.store import NotFound

MOST = 100  # a user: they are all asked for every object of a list


class BindingRows:
    """Answers ``Bindings``. The rows of a user are locked in one order, so that of two that remove the last two
    narrowing bindings at once the second finds out."""

    _db: Database
    _trail: Trail

    async def bindings(self) -> Sequence[Binding]:
        query = select(bindings).order_by(bindings.c.user_name, bindings.c.created_at, bindings.c.id)
        async with self._db.read() as conn:
            return [_binding(row) for row in await conn.execute(query)]

    async def bind(self, binding: Binding, told: Entry) -> None:
        user = select(users.c.uid).where(users.c.name == binding.user).with_for_update()
        theirs = select(func.count()).where(bindings.c.user_name == binding.user)
        async with self._db.write() as conn:
            if (await conn.execute(user)).one_or_none() is None:
                raise NotFound(f"There is no user {binding.user}: make the account first (ggnet user create).")
            if (await conn.execute(theirs)).scalar_one() >= MOST:
                raise TooMany(f"{binding.user} has {MOST} bindings: select more with fewer.")
            values = {
                "id": binding.id,
                "user_name": binding.user,
                "verbs": list(binding.verbs),
                "selector": binding.selector,
                "narrows": binding.narrows,
                "created_at": binding.created_at,
                "created_by": binding.created_by,
            }
            await conn.execute(insert(bindings).values(values))
            await self._trail.note(conn, [told])

    async def unbind(self, binding_id: str, told: Told[Binding], *, widen: bool = False) -> Binding:
        async with self._db.write() as conn:
            user = select(bindings.c.user_name).where(bindings.c.id == binding_id).scalar_subquery()
            query = select(bindings).where(bindings.c.user_name == user).order_by(bindings.c.id).with_for_update()
            theirs = {row.id: _binding(row) for row in await conn.execute(query)}
            found = theirs.get(binding_id)
            if found is None:
                raise NotFound("There is no binding of this id: see GET /api/v1/bindings.")
            if found.narrows and not widen and not any(one.narrows for one in theirs.values() if one.id != binding_id):
                raise Widens(f"Without this binding nothing narrows what {found.user} may see and do.")
            await conn.execute(delete(bindings).where(bindings.c.id == binding_id))
            await self._trail.note(conn, [told(found)])
        return found


def _binding(row: Row[tuple[object, ...]]) -> Binding:
    return Binding(row.id, row.user_name, tuple(row.verbs), row.selector, row.narrows, row.created_at, row.created_by)
