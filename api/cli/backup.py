"""``backup``: what must outlive this machine into one file, and back. Like ``migrate`` it works beside the daemon."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from api.cli import client, output
from api.cli.failure import USAGE, Failure

if TYPE_CHECKING:
    from controller.ports.backup import Contents

T = TypeVar("T")
backup = typer.Typer(no_args_is_help=True, help="The database and the keys into one file, and back.")

To = Annotated[
    Path, typer.Argument(metavar="FILE|FOLDER|-", help="A new file; a folder to put one in; - for standard output.")
]
From = Annotated[Path, typer.Argument(metavar="FILE|-", help="A backup; - for standard input.")]
WithoutKeys = Annotated[bool, typer.Option("--without-keys", help="The database alone, no admin.token and no keys.")]


@backup.command()
def create(
    to: To,
    without_keys: WithoutKeys = False,
    keep: Annotated[
        int | None, typer.Option("--keep", min=1, max=9999, help="Of the backups in the folder only the newest N stay.")
    ] = None,
) -> None:
    """Back up while everything goes on running: the state of one moment, readable by you alone (0600).

    It holds password hashes and keys: keep it as you keep those.

    Examples:

      ggnet backup create /var/backups/ggnet --keep 14

      ggnet backup create - | ssh elsewhere 'umask 077; cat > ggnet.tar.gz'
    """
    from api.version import version
    from controller.bootstrap import archives
    from controller.settings import Settings

    if keep is not None and not to.is_dir():
        raise Failure("--keep needs a folder", USAGE, remedy="name the folder that the backups lie in")
    if str(to) == "-" and typer.get_binary_stream("stdout").isatty():
        raise Failure("a backup is nothing for a terminal", USAGE, remedy="redirect it into a file")
    settings, target = client.load(Settings), None if str(to) == "-" else to
    contents, place = _telling(lambda: archives.create(settings, target, version(), keys=not without_keys, keep=keep))
    output.note(f"{place}: {_summary(contents)}")


@backup.command()
def check(source: From) -> None:
    """Read a backup to its end, each part against its digest, and say what it holds.

    Example:

      ggnet backup check ggnet-20260105T031500Z.tar.gz
    """
    from controller.bootstrap import archives

    contents = _telling(lambda: archives.check(_source(source)))
    output.line(f"made {contents.made_at:%Y-%m-%dT%H:%M:%SZ} by ggnet {contents.version}, schema {contents.revision}")
    for name, rows in sorted(contents.tables.items()):
        output.line(f"  {name}: {rows}")
    for name in contents.files:
        output.line(f"  {name}")
    output.line("it is whole")


@backup.command()
def restore(
    source: From,
    yes: Annotated[bool, typer.Option("--yes", help="Do it: without this it is only checked.")] = False,
    replace: Annotated[bool, typer.Option("--replace", help="Give up what the database and the keys hold now.")] = False,
    without_keys: WithoutKeys = False,
) -> None:
    """Restore into the configured database and state folder, as one transaction; all daemons must be stopped.

    A backup of an older version is brought up to this one's schema; SQLite and PostgreSQL restore into each other.

    Example:

      ggnet backup restore ggnet-20260105T031500Z.tar.gz --yes
    """
    from controller.bootstrap import archives
    from controller.settings import Settings

    settings, place = client.load(Settings), _source(source)
    if not yes:
        contents = _telling(lambda: archives.check(place))
        raise Failure(
            f"nothing was restored: {_summary(contents)}", USAGE, remedy="add --yes to put it into the configured database"
        )
    contents = _telling(lambda: archives.restore(settings, place, keys=not without_keys, replace=replace))
    output.line(f"restored: {_summary(contents)}")


def _source(source: Path) -> Path | None:
    return None if str(source) == "-" else source


def _summary(contents: "Contents") -> str:
    rows, files = sum(contents.tables.values()), len(contents.files)
    made = f"{contents.made_at:%Y-%m-%dT%H:%M:%SZ}"
    return f"{rows} rows of {len(contents.tables)} tables, {files} files, made {made}, schema {contents.revision}"


def _telling(work: Callable[[], T]) -> T:
    """Failure."""
    from controller.ports.backup import BackupError
    from controller.ports.store import Fenced, StoreError
    from controller.settings import SettingsError

    try:
        return work()
    except (BackupError, StoreError, Fenced, SettingsError) as error:
        raise Failure(str(error)) from None
