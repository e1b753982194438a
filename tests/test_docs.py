"""What README.md and docs/write-a-backend.md tell a reader to do works, with the output that they show."""

from __future__ import annotations

import doctest
import os
import re
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from etherloom import Context, NetClient
from etherloom.config import toml
from etherloom.plugins.registry import Registry
from etherloom.testing import check_net_client

CHECKOUT = Path(__file__).parents[1]
README = (CHECKOUT / "README.md").read_text()
BACKEND = (CHECKOUT / "docs" / "write-a-backend.md").read_text()

BOUNDARY = "=-= next command =-="


def blocks(page: str, language: str) -> list[str]:
    """A page's fenced blocks of one language, in order."""
    return re.findall(rf"^```{language}\n(.*?)^```$", page, flags=re.MULTILINE | re.DOTALL)


def commands(console: str) -> list[tuple[str, str]]:
    """Each command, without its prompts, and what is shown as its output."""
    found: list[tuple[str, str]] = []
    for line in console.splitlines():
        if line.startswith("$ "):
            found.append((line[2:], ""))
            continue
        command, output = found.pop()
        if line.startswith(">") and not output:
            found.append((f"{command}\n{line[2:]}", ""))
        else:
            found.append((command, f"{output}{line}\n"))
    return found


def reader_environment() -> dict[str, str]:
    """The environment in which a page's reader types."""
    return {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "ETHERLOOM": str(CHECKOUT),
        "PIP_QUIET": "1",  # with the page's --quiet, what pip thinks of this machine's settings is not shown
    }


def expect_as_shown(shown: list[tuple[str, str]], cwd: Path) -> None:
    """Run the commands in one shell, in `cwd`, and compare what they print; `...` stands for anything."""
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", "".join(f"{command}\necho '{BOUNDARY}'\n" for command, _ in shown)],
        cwd=cwd,
        env=reader_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    outputs = done.stdout.split(f"{BOUNDARY}\n")[:-1]
    for (command, expected), actual in zip(shown, outputs, strict=True):
        expect_output(command, expected, actual)


def expect_output(command: str, expected: str, actual: str) -> None:
    """Compare what a command printed with what a page shows; `...` stands for anything."""
    same = doctest.OutputChecker().check_output(expected, actual, doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    assert same, f"$ {command}\n--- the page shows\n{expected}--- it printed\n{actual}"


def test_the_readme_shows_what_check_prints(tmp_path: Path) -> None:
    config, _ = blocks(README, "toml")
    (tmp_path / "lab.toml").write_text(config)
    _, *checks = blocks(README, "console")
    expect_as_shown(commands("".join(checks)), tmp_path)


def test_the_readmes_nic_fits_its_network() -> None:
    config, nic = blocks(README, "toml")
    registry = Registry.discover()
    clients = toml.parse(config + nic, registry, file="README.md").clients
    assert [("p2", "hubport"), ("n0", "rtl8139")] == [(client.name, client.kind) for client in clients[-2:]]


def test_the_readme_begins_with_scripts_that_are_there() -> None:
    scripts = [command.split()[0] for command, _ in commands(blocks(README, "console")[0])]
    assert ["script/demo", "script/demo", "script/test"] == scripts
    assert all(os.access(CHECKOUT / script, os.X_OK) for script in scripts)


@pytest.mark.parametrize("page", ["README.md", "docs/write-a-backend.md", "core/README.md"])
def test_links_between_pages_lead_somewhere(page: str) -> None:
    here = CHECKOUT / page
    targets = re.findall(r"\]\(([^)#:]+)\)", here.read_text())
    assert [] == [target for target in targets if not (here.parent / target).exists()]


@pytest.mark.package
def test_a_backend_is_made_by_the_commands_of_its_page(tmp_path: Path) -> None:
    expect_as_shown(commands("".join(blocks(BACKEND, "console"))), tmp_path)


def test_the_client_that_the_page_shows_keeps_the_contract() -> None:
    shown: dict[str, Any] = {}
    exec("".join(blocks(BACKEND, "python")), shown)
    outside: dict[NetClient, socket.socket] = {}

    def datagrams(context: Context, name: str) -> NetClient:
        near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        near.setblocking(False)
        far.setblocking(False)
        client: NetClient = shown["Datagrams"](name, context, near)
        outside[client] = far
        return client

    report = check_net_client(datagrams, lambda client: shown["FarSocket"](outside[client]))
    assert () == report.inapplicable
