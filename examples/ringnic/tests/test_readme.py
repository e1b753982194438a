"""The README's tables are the code's."""

from __future__ import annotations

from pathlib import Path

from etherloom.config.options import describe
from etherloom.device.tables import register_table
from etherloom_ringnic import KIND, RingNic

README = Path(__file__).parents[1].joinpath("README.md").read_text()


def test_the_readme_lists_the_options() -> None:
    rows = [f"| `{row.name}` | {row.type} | {row.default} | {row.help} |" for row in describe(KIND)]
    assert "\n".join(["| option | type | default | what |", "|---|---|---|---|", *rows]) in README


def test_the_readme_lists_the_registers() -> None:
    assert register_table(RingNic) in README
