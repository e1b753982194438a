"""docs/write-a-nic-model.md shows the code of examples/ringnic, and what it tells a reader to do works."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.test_docs import CHECKOUT, blocks, commands, expect_as_shown

PAGE = (CHECKOUT / "docs" / "write-a-nic-model.md").read_text()
EXAMPLE = CHECKOUT / "examples" / "ringnic"
SOURCES = [path for path in sorted(EXAMPLE.rglob("*")) if path.suffix in (".py", ".toml")]
MODEL_LINES_MAX = 200


def code_of(path: Path) -> str:
    """A file without empty lines at its ends."""
    return path.read_text().strip("\n")


def test_each_block_of_the_page_stands_in_a_file_of_the_example() -> None:
    shown = [block.strip("\n") for language in ("python", "toml") for block in blocks(PAGE, language)]
    assert [] == [block for block in shown if not any(f"\n{block}\n" in f"\n{code_of(path)}\n" for path in SOURCES)]


@pytest.mark.parametrize("name", ["model.py", "__init__.py"])
def test_the_page_shows_all_of_a_file_in_order(name: str) -> None:
    code = code_of(EXAMPLE / "src" / "etherloom_ringnic" / name)
    shown = [block.strip("\n") for block in blocks(PAGE, "python") if block.strip("\n") in code]
    assert code.split() == "\n".join(shown).split()


def test_the_example_is_as_short_as_it_says() -> None:
    lines = (EXAMPLE / "src" / "etherloom_ringnic" / "model.py").read_text().splitlines()
    assert len(lines) < MODEL_LINES_MAX
    assert f"It is {round(len(lines), -1)} lines" in PAGE


@pytest.mark.parametrize("model", ["ringnic", "rtl8139"])
def test_one_word_of_a_file_swaps_the_nic_that_answers(model: str, tmp_path: Path) -> None:
    lab = (EXAMPLE / "lab.toml").read_text()
    assert 1 == lab.count("ringnic")
    config = tmp_path / "lab.toml"
    config.write_text(lab.replace("ringnic", model))
    ping = [sys.executable, str(EXAMPLE / "ping.py"), str(config)]
    done = subprocess.run(ping, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ("", 0) == (done.stderr, done.returncode)
    assert f"{model} at 52:54:00:00:02:0f: 10 pings, 10 answers" == done.stdout.splitlines()[0]


@pytest.mark.package
def test_the_example_is_built_and_swapped_by_the_commands_of_its_page(tmp_path: Path) -> None:
    expect_as_shown(commands("".join(blocks(PAGE, "console"))), tmp_path)


def test_links_of_the_page_lead_somewhere() -> None:
    targets = re.findall(r"\]\(([^)#:]+)", PAGE)
    assert [] == [target for target in targets if not (CHECKOUT / "docs" / target).exists()]
