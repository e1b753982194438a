"""The README's tables are the code's."""

from __future__ import annotations

import re
from pathlib import Path

import etherloom_rtl8139
from etherloom.config.options import describe
from etherloom.device.tables import register_table
from etherloom_rtl8139 import KIND, Rtl8139

README = Path(__file__).parents[1].joinpath("README.md").read_text()


def test_the_options_are_the_classes() -> None:
    columns = [(f"`{row.name}`", row.type.replace("|", r"\|"), row.default, row.help) for row in describe(KIND)]
    rows = [f"| {' | '.join(column)} |" for column in columns]
    assert "\n".join(["| option | type | default | what |", "|---|---|---|---|", *rows]) in README


def test_the_registers_are_the_declarations() -> None:
    assert register_table(Rtl8139) in README


def test_each_deviation_is_a_comment_and_a_row() -> None:
    sources = Path(etherloom_rtl8139.__file__).parent.glob("*.py")
    comments = re.findall(r"Differs from QEMU \(([A-Z]-\d+)\)", "".join(path.read_text() for path in sources))
    table = README.partition("## Differs from QEMU")[2].partition("##")[0]
    rows = re.findall(r"^\| ([A-Z]-\d+) \|", table, flags=re.MULTILINE)
    assert sorted(set(comments)) == rows
