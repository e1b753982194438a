"""`etherloom check`: what `run` would make of the same arguments, without making it."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import click

from etherloom.cli.source import load

__all__ = ["check"]


@click.command(context_settings={"ignore_unknown_options": True, "help_option_names": ["--help"]})
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED, metavar="FILE.toml | QEMU-ARGUMENTS...")
def check(arguments: Sequence[str]) -> None:
    """Validate a network and draw it, without touching the host.

    \b
      etherloom check lab.toml
      etherloom check -netdev tap,id=a -netdev hubport,id=p,hubid=0,netdev=a

    A drawing on stdout and exit code 0 mean that nothing is wrong with the network itself; whether the host has what it
    needs is known when it runs. What is legal and probably a mistake is said on stderr.
    """
    from etherloom.cli.draw import draw, plain
    from etherloom.plugins.registry import Registry

    config = load(arguments, Registry.discover())
    drawing = draw(config)
    for warning in config.warnings:
        click.echo(f"etherloom: warning: {warning}", err=True)
    click.echo(plain(drawing, sys.stdout.encoding) if drawing else "an empty network")
