"""Where `run` and `check` get their network from: one TOML file, or QEMU's own arguments."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from etherloom.errors import ConfigError

if TYPE_CHECKING:
    from etherloom.config.model import NetworkConfig
    from etherloom.plugins.registry import Registry

__all__ = ["load", "names_file"]


def names_file(arguments: Sequence[str]) -> bool:
    """Whether they are a file's path, and so can be read again."""
    return bool(arguments) and not arguments[0].startswith("-")


def load(arguments: Sequence[str], registry: Registry) -> NetworkConfig:
    """Parse what the command line names.

    Args:
        arguments: One path, or QEMU's arguments as typed.
        registry: Imports the kinds that are named, and no others.

    Raises:
        ConfigError, PluginError: The first mistake in it.
        Exit: It asked for help (`-netdev tap,help`), which was printed.
    """
    if not arguments:
        raise ConfigError(
            "nothing to build a network from", allowed="a TOML file, or QEMU's arguments: -netdev tap,id=a"
        )
    first, *others = arguments
    if not names_file(arguments):
        from etherloom.config import qemu
        from etherloom.config.help import HelpRequested

        try:
            return qemu.parse(arguments, registry)
        except HelpRequested as requested:
            click.echo(str(requested))
            raise click.exceptions.Exit(0) from None
    if others:
        raise ConfigError(f"{others[0]!r} beside the file {first}", allowed="one file, or arguments, not both")
    from etherloom.config import toml

    return toml.load(Path(first), registry)
