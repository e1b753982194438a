"""`etherloom clean`: take from the host what a killed process left there."""

from __future__ import annotations

import click

__all__ = ["clean"]


@click.command()
def clean() -> None:
    """Remove what processes that are gone have left on the host.

    After kill -9 there may be interfaces, bridges or namespaces left. Each bears the mark of the process that made it;
    what bears the mark of a dead one is removed, and nothing else.
    """
    from etherloom.plugins.registry import Registry

    registry = Registry.discover()
    registry.describe()  # imports every plugin, so that each is asked
    removed = [line for lines in registry.hooks.clean_host() for line in lines]
    click.echo("\n".join(removed) if removed else "nothing to remove")
