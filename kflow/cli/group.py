"""The group of all commands, and how their failures end.

The exit status is 0 for success; 1 for a failure, which is told in one line ``Error: ...``; 2 for a
malformed command line; 130 if Ctrl-C aborted the command.
"""

from __future__ import annotations

from typing import Any

import click

from kflow import __version__
from kflow.cli.demo import demo
from kflow.cli.failures import FAILURES, one_line
from kflow.cli.fit import fit
from kflow.cli.info import info
from kflow.cli.options import current_name
from kflow.cli.predict import predict

__all__ = ["main"]


class CommandGroup(click.Group):
    """Commands whose failures are told in one line."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            click.echo("Aborted", err=True)
            raise click.exceptions.Exit(130) from None
        except BrokenPipeError:  # such as `kflow predict ... | head`, which click knows how to end
            raise
        except FAILURES as error:
            raise click.ClickException(one_line(error)) from None


@click.group(
    cls=CommandGroup,
    context_settings={
        "help_option_names": ["-h", "--help"],
        "token_normalize_func": current_name,
    },
)
@click.version_option(__version__, prog_name="kflow")
def main() -> None:
    """Kernel Flows: learn a kernel from data, layer by layer."""


for _command in (demo, fit, info, predict):
    main.add_command(_command)
