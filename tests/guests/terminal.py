"""Programs on a terminal, or on a pipe, with whom a test talks."""

from __future__ import annotations

import os
import pty
import select
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import attrs
import pytest

__all__ = ["PROMPT", "Console", "on_pipe", "on_terminal"]

PROMPT = "guest:/# "  # of script/get-guest's shell
DEADLINE_S = 90.0  # for what a program is to say; a guest boots in 5 s on an idle machine


@attrs.frozen
class Console:
    """A program, and our end of what it reads and writes."""

    process: subprocess.Popen[bytes]
    fd: int

    def read_until(self, text: str) -> str:
        """What it shows, with `text` at the end or shortly before it; fails if it ends or falls silent before that."""
        shown = ""
        while text not in shown:
            if not (data := self._read(shown)):
                pytest.fail(f"it ended without saying {text!r}: {shown}")
            shown += data
        return shown

    def read_to_the_end(self) -> str:
        """What it shows until it ends."""
        shown = ""
        while data := self._read(shown):
            shown += data
        return shown

    def type(self, line: str) -> None:
        """As from a keyboard."""
        os.write(self.fd, line.encode() + (b"\r" if os.isatty(self.fd) else b"\n"))

    @property
    def qemu(self) -> int:
        """The process id of the QEMU that it has started."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return next(int(child) for child in children if "qemu" in Path(f"/proc/{child}/cmdline").read_text())

    def _read(self, shown: str) -> str:
        begin = time.monotonic()
        ready, _, _ = select.select([self.fd], [], [], DEADLINE_S)
        if not ready:
            pytest.fail(f"nothing for {time.monotonic() - begin:.0f} s after {shown}")
        try:
            return os.read(self.fd, 65536).decode(errors="replace")
        except OSError:  # EIO: nobody has the terminal open any more
            return ""


@contextmanager
def on_terminal(command: Sequence[str], cwd: Path, env: Mapping[str, str] | None = None) -> Iterator[Console]:
    """A program whose terminal is ours; killed at the end, with what it has started."""
    ours, theirs = pty.openpty()
    with _running(command, cwd, env, ours, theirs) as console:
        yield console


@contextmanager
def on_pipe(command: Sequence[str], cwd: Path, env: Mapping[str, str] | None = None) -> Iterator[Console]:
    """A program that has no terminal; killed at the end, with what it has started."""
    ours, theirs = socket.socketpair()
    with _running(command, cwd, env, ours.detach(), theirs.detach()) as console:
        yield console


@contextmanager
def _running(
    command: Sequence[str], cwd: Path, env: Mapping[str, str] | None, ours: int, theirs: int
) -> Iterator[Console]:
    try:
        process = subprocess.Popen(
            command, cwd=cwd, env=env, stdin=theirs, stdout=theirs, stderr=theirs, process_group=0
        )
        os.close(theirs)
        with process:
            try:
                yield Console(process, ours)
            finally:
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGKILL)
    finally:
        os.close(ours)
