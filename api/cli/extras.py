"""For editors and shells: ``schema export``, ``completion``."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from api.cli import output
from api.cli.failure import Failure

schema = typer.Typer(no_args_is_help=True, help="The manifests' JSON Schema, for editors.")


class Shell(StrEnum):
    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


@schema.command()
def export(
    to: Annotated[Path | None, typer.Option("--to", metavar="FILE", help="Write it there; default: print it.")] = None,
) -> None:
    """Print the JSON Schema of the manifests, or write it to a file.

    Examples:

      ggnet schema export --to ggnet.schema.json

      # then, on top of a manifest: # yaml-language-server: $schema=ggnet.schema.json
    """
    import json

    from manifests import schema as language

    text = json.dumps(language.union(), indent=2) + "\n"
    if to is None:
        typer.echo(text, nl=False)
        return
    try:
        to.write_text(text)
    except OSError as error:
        raise Failure(f"{to} cannot be written: {error.strerror}") from None
    output.line(f"{to} written")


def completion(shell: Annotated[Shell, typer.Argument(help="The shell to make it for.")]) -> None:
    """Print the completion script of a shell.

    Examples:

      ggnet completion bash > /etc/bash_completion.d/ggnet

      ggnet completion fish | source
    """
    from typer._completion_shared import get_completion_script

    typer.echo(get_completion_script(prog_name="ggnet", complete_var="_GGNET_COMPLETE", shell=shell.value))
