"""Start and stop for many machines in one request, and what became of each."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from api.cli import options, output, wording
from api.cli.client import Client
from api.cli.failure import CONFLICT, Failure
from api.cli.kinds import Ref


@dataclass(frozen=True, slots=True)
class Asked:
    """``names`` of machines, or None and a selector."""

    names: Sequence[str] | None
    selector: str | None
    force: bool
    partial: bool
    dry_run: bool

    @property
    def params(self) -> Mapping[str, str]:
        given = {"force": self.force, "partial": self.partial, "dryRun": self.dry_run}
        return {name: "true" for name, wanted in given.items() if wanted}


def do(connection: Client, verb: str, asked: Asked, wanted: Mapping[str, object]) -> Sequence[Ref]:
    """The sessions that are on their way. Failure, when some were refused."""
    which = {"labelSelector": asked.selector} if asked.names is None else {"machines": list(asked.names)}
    answer = connection.post(f"/bulk/{verb}", json={**which, **wanted}, params=asked.params)
    if not answer["items"]:
        output.note("no machine has these labels")
    going, refused = [], 0
    for one in answer["items"]:
        about = one.get("session", f"Machine/{one['machine']}")
        if one["outcome"] == "refused":
            refused += 1
            output.line(f"{about} refused: {wording.spoken(one['message'])}")
            continue
        output.line(f"{about} {one['outcome']}{options.dry(asked.dry_run)}")
        if one["outcome"] != "unchanged":
            going.append(Ref("sessions", about.partition("/")[2]))
    if refused:
        raise Failure(f"{refused} of {len(answer['items'])} refused", CONFLICT, remedy="the rest was done")
    return going
