"""``ggnet``: one command, a verb for each thing that people do. Only what a verb needs is imported, when it runs."""

import gc
import sys
from typing import Annotated

import typer
from typer._click.core import Command, Context
from typer._click.formatting import HelpFormatter
from typer.core import TyperGroup

from api.cli import (
    audit,
    backup,
    bindings,
    committing,
    daemon,
    extras,
    habits,
    images,
    login,
    objects,
    past,
    removal,
    sets,
    tokens,
    users,
    verbs,
    versions,
    webhooks,
)
from api.cli.failure import ERROR, USAGE, Failure

_YOUNG = 50_000
"""Objects, before garbage is looked for: what a verb imports is none, and to look through it is a fifth of its start."""
_ABOUT = """Diskless boot, declared: GGnet makes LIO, dhcpd, TFTP and the disk pool match your manifests.

Exit codes: 0 ok, 1 error, 2 changes present (plan --detailed-exitcode) or wrong usage, 3 conflict, 4 not found,
5 invalid, 6 unauthorised, 7 wait timed out, 9 a guard refused.

Environment: GGNET_URL and GGNET_TOKEN, or GGNET_CONTEXT, say which daemon is asked; without them it is the one that
`ggnet login` or `ggnet context use` chose last, else the one on this machine.
"""


class _Group(TyperGroup):
    """Help with the verbs in sections and their sentences whole, without the third of a second that typer's own use of
    rich costs."""

    def format_commands(self, ctx: Context, formatter: HelpFormatter) -> None:
        sections: dict[str, list[tuple[str, str]]] = {}
        for name in self.list_commands(ctx):
            command = self.commands[name]
            title = getattr(command, "rich_help_panel", None) or "Commands"
            sections.setdefault(title, []).append((name, command.get_short_help_str(120)))
        for title, rows in sections.items():
            with formatter.section(title):
                formatter.write_dl(rows)


class _Verbs(_Group):
    def resolve_command(self, ctx: Context, args: list[str]) -> tuple[str | None, Command | None, list[str]]:
        if args and args[0] not in self.commands and (instead := habits.INSTEAD.get(args[0])):
            raise Failure(f"there is no verb {args[0]}", USAGE, remedy=instead)
        return super().resolve_command(ctx, args)


app = typer.Typer(
    name="ggnet",
    cls=_Verbs,
    rich_markup_mode=None,
    help=_ABOUT,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"ggnet {version('ggnet')}")
        raise typer.Exit


@app.callback()
def _options(
    _: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Say which version this is.")
    ] = False,
) -> None: ...


_VERBS = {
    "Every day": (
        sets.apply,
        sets.plan,
        objects.get,
        objects.describe,
        verbs.start,
        verbs.stop,
        objects.wait,
        removal.delete,
        removal.deleted,
        removal.restore,
    ),
    "Look into": (past.events, past.history, past.drift, past.why, verbs.suspend, verbs.resume),
    "Manifests": (sets.validate,),
    "Who may come in": (login.login, login.logout),
    "Run": (daemon.up, daemon.api, daemon.controller, daemon.migrate, daemon.doctor),
}
for _panel, _commands in _VERBS.items():
    for _command in _commands:
        app.command(rich_help_panel=_panel)(_command)
for _verb in (versions.versions, versions.diff, versions.promote, versions.rollback):
    images.image.command()(_verb)
_GROUPS = {
    "Every day": {"image": images.image, "session": committing.session},
    "Look into": {"audit": audit.audit, "webhook": webhooks.webhook},
    "Manifests": {"schema": extras.schema},
    "Who may come in": {"context": login.context, "user": users.user, "token": tokens.token, "binding": bindings.binding},
    "Run": {"backup": backup.backup},
}
for _panel, _groups in _GROUPS.items():
    for _name, _group in _groups.items():
        app.add_typer(_group, name=_name, cls=_Group, rich_help_panel=_panel)
app.command(rich_help_panel="Run")(extras.completion)


def main() -> None:
    """Every end of the command passes here: a failure is one message, its remedy, and an exit code."""
    gc.set_threshold(_YOUNG)
    try:
        app()
    except Failure as failure:
        _tell(failure)
        sys.exit(failure.code)
    except BrokenPipeError:
        sys.stderr.close()  # the reader has gone: nobody is there to hear about it
        sys.exit(ERROR)
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:  # noqa: BLE001 the process's entry: people get a sentence, never a traceback
        _tell(Failure(f"{type(error).__name__}: {error}", remedy="this is a bug in ggnet: please report it"))
        sys.exit(ERROR)


def _tell(failure: Failure) -> None:
    from api.cli.output import clean

    for line in failure.lines:
        typer.echo(clean(line), err=True)
    typer.secho(f"error: {clean(str(failure))}", err=True, fg="red" if sys.stderr.isatty() else None)
    if failure.remedy:
        typer.echo(f"  {clean(failure.remedy)}", err=True)
