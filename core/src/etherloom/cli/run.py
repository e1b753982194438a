"""`etherloom run`: a network from QEMU's arguments or from a file, until it is told to stop."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import click

from etherloom.cli.source import load
from etherloom.errors import ConfigError

__all__ = ["run"]


@click.command(context_settings={"ignore_unknown_options": True, "help_option_names": ["--help"]})
@click.option("--for", "seconds", type=click.FloatRange(min=0), metavar="SECONDS", help="Stop after that long.")
@click.option("--table/--no-table", default=None, help="A live table instead of lines; the default on a terminal.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line: events, and at the end the counters.")
@click.option(
    "--loop",
    type=click.Choice(["auto", "direct", "asyncio", "uvloop"]),
    default="auto",
    help="Event loop; auto is direct where there is epoll, else asyncio.",
)
@click.option(
    "--report",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="At the end write the counters there as JSON, and what drivers did to each NIC's registers and memory.",
)
@click.option(
    "--trace",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write every register access, DMA and interrupt of every NIC there, one JSON object a line.",
)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED, metavar="FILE.toml | QEMU-ARGUMENTS...")
def run(
    seconds: float | None,
    table: bool | None,
    as_json: bool,
    loop: str,
    report: Path | None,
    trace: Path | None,
    arguments: Sequence[str],
) -> None:
    """Run a network until SIGINT or SIGTERM.

    A TOML file describes it, or the arguments that QEMU would take:

    \b
      # two taps on a hub, as qemu-system-x86_64 -machine none would run them
      etherloom run -netdev tap,id=a,ifname=tap0,script=no,downscript=no \\
                    -netdev tap,id=b,ifname=tap1,script=no,downscript=no \\
                    -netdev hubport,id=pa,hubid=0,netdev=a \\
                    -netdev hubport,id=pb,hubid=0,netdev=b
    \b
      # a file's, for ten seconds, for a program to read
      etherloom run --for 10 --json lab.toml
    \b
      # which kinds there are, and what one of them takes
      etherloom run -netdev help
      etherloom run -netdev tap,help

    A file is read again at SIGHUP: what differs is changed, and everything else runs on. When its terminal hangs up
    the network is torn down, except under nohup.

    \b
    Exit codes:
      0  it ran until it was stopped
      1  the host refused: no permission, no such bridge; nothing is left of the network
      2  the arguments, the file or a plugin is wrong, and nothing was made

    `etherloom check` takes the same arguments and shows the network without making it.
    """
    if as_json and table:
        raise ConfigError("both --json and --table", allowed="one of them")
    from etherloom.plugins.registry import Registry

    registry = Registry.discover()
    config = load(arguments, registry)

    from etherloom.cli.session import Session  # after the mistakes: it takes asyncio to start

    show_table = sys.stdout.isatty() and not as_json if table is None else table
    session = Session(
        registry, arguments, show_table=show_table, as_json=as_json, loop=loop, report=report, trace=trace
    )
    session.run(config, seconds)
