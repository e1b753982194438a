"""`etherloom plugins`: what is installed, what it needs, and what is wrong with it.

`--json` prints one object, whose keys stay while `schema` stays::

    schema      1
    etherloom   core's version
    generation  of the contract that core speaks
    plugins     a list, sorted by table and kind, of objects with
        kind, table, distribution, version, generation, privilege, summary    strings, empty where unknown
        status      ok, blocked, conflict, failed, other-generation
        problem     what is wrong and what would be right; empty if status is ok
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from importlib.metadata import version

import attrs
import click

from etherloom.kinds import GENERATION
from etherloom.plugins.registry import KindInfo, Registry, Status

__all__ = ["plugins"]

SCHEMA = 1

COLUMNS = ("kind", "table", "distribution", "version", "generation", "privilege", "what it is")


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def plugins(as_json: bool) -> None:
    """List the installed kinds, and what is wrong with any."""
    kinds = Registry.discover().describe()
    if as_json:
        click.echo(json.dumps(_document(kinds), indent=2))
    elif not kinds:
        click.echo("no plugins are installed; pip install etherloom-tap etherloom-hub is a start")
    else:
        if sys.stdout.isatty():
            _print_table(kinds)
        else:
            click.echo(_aligned(kinds))
        for info in kinds:  # under the list: a problem is longer than a column is wide
            if info.problem:
                click.echo(info.problem)


def _document(kinds: Sequence[KindInfo]) -> dict[str, object]:
    return {
        "schema": SCHEMA,
        "etherloom": version("etherloom"),
        "generation": GENERATION,
        "plugins": [attrs.asdict(info) for info in kinds],
    }


def _cells(info: KindInfo) -> tuple[str, ...]:
    if info.status is Status.OK:
        privilege, what = info.privilege or "none", info.summary
    else:
        privilege, what = "-", info.status.upper()
    return info.kind, info.table, info.distribution or "-", info.version or "-", info.generation or "-", privilege, what


def _aligned(kinds: Sequence[KindInfo]) -> str:
    """Columns for pipes and files."""
    rows = [COLUMNS, *(_cells(info) for info in kinds)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def _print_table(kinds: Sequence[KindInfo]) -> None:
    from rich.console import Console  # only on a terminal: 20 ms
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in COLUMNS:
        table.add_column(column, no_wrap=column in ("kind", "table", "distribution", "version"))
    for info in kinds:
        style = "" if info.status is Status.OK else "dim" if info.status is Status.BLOCKED else "red"
        table.add_row(*map(Text, _cells(info)), style=style)
    Console().print(table)
