"""The command line. Each command is a module of its own, imported when it is called: `run` must start fast.

Exit codes: 0 done, or stopped by SIGINT or SIGTERM, as of QEMU; 2 the configuration or a plugin is wrong, and nothing
was touched; 1 the host refused. Every mistake is one message on stderr.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

import click

from etherloom.errors import EtherloomError, HostError

__all__ = ["EtherloomGroup", "main"]

COMMANDS = ("run", "boot", "check", "plugins", "clean")


class Failure(click.ClickException):
    """An error of ours as click ends with it."""

    exit_code = 2

    def __init__(self, error: EtherloomError) -> None:
        notes = "".join(f" ({note})" for note in getattr(error, "__notes__", ()) if note)
        super().__init__(f"{error}{notes}")

    def show(self, file: Any = None) -> None:
        click.echo(f"etherloom: {self.message}", err=True)


class Refusal(Failure):
    """The host's fault."""

    exit_code = 1


class EtherloomGroup(click.Group):
    """Finds the command `run` as `run` in the module `etherloom.cli.run`, and so on."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = getattr(import_module(f"etherloom.cli.{cmd_name}"), cmd_name)
        return command

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except EtherloomError as error:
            raise (Refusal if isinstance(error, HostError) else Failure)(error) from error


@click.group(cls=EtherloomGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="etherloom")
def main() -> None:
    """QEMU's network subsystem as a Python framework: virtual networks of plugins, picked by name.

    \b
    etherloom run -netdev tap,id=a,ifname=tap0 -netdev tap,id=b,ifname=tap1 \\
                  -netdev hubport,id=pa,hubid=0,netdev=a -netdev hubport,id=pb,hubid=0,netdev=b
    etherloom check lab.toml
    etherloom run lab.toml
    """
