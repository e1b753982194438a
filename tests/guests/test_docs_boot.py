"""docs/boot-linux.md: what it tells a reader to do works, with the output that it shows.

A page's session goes to and fro between the host's shell and a guest's, as between two terminals: a command that a
guest's prompt follows has started that guest, which then stays, until a command of its own ends it.
"""

from __future__ import annotations

import hashlib
import os
import pty
import re
from contextlib import ExitStack
from pathlib import Path

import pytest

from etherloom.guest.qemu import Kernel
from etherloom_tap.lab import Lab
from tests.test_docs import BOUNDARY, CHECKOUT, blocks, commands, expect_output, reader_environment

from .terminal import PROMPT, Console, on_pipe

PAGE = (CHECKOUT / "docs" / "boot-linux.md").read_text()
EXAMPLE = CHECKOUT / "examples" / "guest"


class Session:
    """A reader with a shell, and a second terminal for a guest.

    Args:
        cwd: Where the shell starts.
    """

    def __init__(self, cwd: Path) -> None:
        self._opened = ExitStack()
        self._shell = self._opened.enter_context(on_pipe(["bash"], cwd, reader_environment()))
        self._guest: Console | None = None

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        self._opened.close()

    def follow(self, page: str) -> None:
        """Type what stands at the prompts, and compare."""
        shown = commands(page.replace(f"\n{PROMPT}", f"\n$ {PROMPT}"))
        for (command, expected), (following, _) in zip(shown, [*shown[1:], ("", "")], strict=True):
            if command.startswith(PROMPT):
                actual = self._in_guest(command.removeprefix(PROMPT))
            elif following.startswith(PROMPT) and self._guest is None:
                actual = self._boot(command)
            else:
                actual = self._in_shell(command)
            expect_output(command, expected, actual)

    def _in_shell(self, command: str) -> str:
        self._shell.type(f'{{ {command}\n}} </dev/null; echo "$? {BOUNDARY}"')
        *output, status = self._shell.read_until(BOUNDARY).split(BOUNDARY)[0].splitlines(keepends=True)
        assert "0" == status.strip(), f"$ {command}\n{''.join(output)}"
        return "".join(output)

    def _boot(self, command: str) -> str:
        ours, theirs = pty.openpty()
        self._opened.callback(os.close, ours)
        terminal = os.ttyname(theirs)
        self._in_shell(f"{{ {command}\n}} <{terminal} >{terminal} 2>&1 & guest=$!")
        self._guest = Console(self._shell.process, ours)
        shown = self._guest.read_until(PROMPT)
        os.close(theirs)  # not before the shell's child has opened it
        return plain(shown)

    def _in_guest(self, command: str) -> str:
        assert self._guest is not None
        self._guest.type(command)
        if command == "exit":
            output = self._guest.read_to_the_end()
            self._guest = None
            self._in_shell("wait $guest")
        else:
            output = self._guest.read_until(f"\n{PROMPT}")
        return plain(output.split("\n", 1)[1])  # after the echo of the command


def plain(shown: str) -> str:
    """Without what is for a terminal only, and without the prompt at the end."""
    return re.sub(rf"\x1b\[[0-9;?]*[a-zA-Z]|\r|{PROMPT}[^\n]*\Z", "", shown)


@pytest.mark.qemu
def test_the_page_s_guests_do_what_it_shows(guests: None, tmp_path: Path) -> None:
    with Session(tmp_path) as session:
        session.follow("".join(blocks(PAGE, "console")))
    image = Kernel.cached("trixie").kernel.with_name("disk.qcow2").read_bytes()
    assert hashlib.sha256(image).digest() == hashlib.sha256((tmp_path / "guest/disk.qcow2").read_bytes()).digest()


@pytest.mark.qemu
@pytest.mark.root
def test_the_page_s_guest_on_a_tap_does_what_it_shows(guests: None, tmp_path: Path) -> None:
    with Lab() as lab, lab.namespace("lan").entered(), Session(tmp_path) as session:
        session.follow("".join(blocks(PAGE, "console root")))


def test_each_block_of_the_page_stands_in_a_file_of_the_example() -> None:
    shown = [block for language in ("toml", "sh") for block in blocks(PAGE, language)]
    files = [path.read_text() for path in EXAMPLE.iterdir()]
    assert [] == [block for block in shown if not any(block in f"{file}\n" for file in files)]


def test_the_page_s_error_messages_are_in_the_code() -> None:
    """Those that are ours, which nobody is named for; numbers and what stands in brackets vary."""
    sources = "".join(path.read_text() for path in CHECKOUT.glob("*/**/src/**/*.py"))
    ours = re.findall(r"^\| `(?:cannot )?([^`]+)` \|", PAGE, flags=re.MULTILINE)
    assert 7 == len(ours)
    parts = [part.strip() for message in ours for part in re.split(r"[\d.,]{4,}|\(.*", message)]
    assert [] == [part for part in parts if part not in sources]


def test_links_of_the_page_lead_somewhere() -> None:
    targets = re.findall(r"\]\(([^)#:]+)", PAGE)
    assert [] == [target for target in targets if not (CHECKOUT / "docs" / target).exists()]
