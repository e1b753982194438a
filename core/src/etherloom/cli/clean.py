"""`etherloom clean`: take from the host what a killed process left there."""

from __future__ import annotations

import click

from etherloom.errors import EtherloomError

__all__ = ["clean"]


@click.command()
def clean() -> None:
    """Remove what processes that are gone have left on the host.

    After kill -9 there may be bridges and other interfaces left. Each bears, as its alias, the mark of the process that
    made it; what bears the mark of a dead one is removed, and nothing else. The marks of another PID namespace are left
    alone: run it where the process ran.

    Exit code 1 says that something may be left: a plugin was refused, or could not be asked. A plugin that is blocked
    by ETHERLOOM_BLOCK or ETHERLOOM_PLUGINS is named, and no failure.
    """
    from etherloom.plugins.registry import Registry, Status

    registry = Registry.discover()
    removed: list[str] = []
    failed = False
    for info in registry.describe():  # imports every plugin, so that each is asked
        if info.status is not Status.OK:
            click.echo(f"etherloom: not asked: {_one_line(info.problem)}", err=True)
            failed |= info.status is not Status.BLOCKED
    for label, answer in registry.hooks.answers("clean_host"):
        if isinstance(answer, Exception):
            what = str(answer) if isinstance(answer, EtherloomError) else f"{type(answer).__name__}: {answer}"
            click.echo(f"etherloom: {label}: {_one_line(what)}", err=True)
            failed = True
        else:
            removed += [line for lines in answer for line in lines]
    if removed or not failed:
        click.echo("\n".join(removed) or "nothing to remove")
    if failed:
        raise click.exceptions.Exit(1)


def _one_line(text: str) -> str:
    return " ".join(text.split())
