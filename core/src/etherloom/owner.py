"""Owner marks: who made what on the host, so that it can be removed when its maker is gone.

A process is named by its id and its start time, since ids are used again. What can carry a name carries the mark
itself (an interface's alias); for the rest there is a record in the run directory. `etherloom clean` removes what bears
the mark of a dead process, and nothing else.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import attrs

__all__ = ["Mark", "Record", "run_directory"]

PREFIX = "etherloom"


@attrs.frozen
class Mark:
    """One process: its id, and its start in clock ticks since boot (proc(5), field 22 of /proc/PID/stat)."""

    pid: int
    start: int

    @classmethod
    def mine(cls) -> Mark:
        """The mark of this process."""
        return cls(os.getpid(), _start(os.getpid()))

    @classmethod
    def parse(cls, text: str) -> Mark | None:
        """A mark from its text; None for any text that is not a mark."""
        words = text.split()
        if len(words) != 3 or words[0] != PREFIX:
            return None
        fields = dict(word.partition("=")[::2] for word in words[1:])
        try:
            return cls(int(fields["pid"]), int(fields["start"]))
        except (KeyError, ValueError):
            return None

    @property
    def dead(self) -> bool:
        """The process is gone, or its id belongs to another one now."""
        return _start(self.pid) != self.start

    def __str__(self) -> str:
        return f"{PREFIX} pid={self.pid} start={self.start}"


class Record:
    """A file in the run directory that says what this process made: for things that cannot carry a mark.

    Args:
        what: The sort of thing, by which its owner's `clean` hook knows it: `netns`.
        name: The thing's name.
        mark: Its owner.
    """

    def __init__(self, what: str, name: str, mark: Mark) -> None:
        self.what, self.name, self.mark = what, name, mark

    @property
    def path(self) -> Path:
        """Where the record is kept."""
        return run_directory() / f"{self.what}.{self.name}.json"

    def write(self) -> None:
        """Put the record on disk; do so before the thing is made."""
        path = self.path
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.write_text(json.dumps({"what": self.what, "name": self.name, "mark": str(self.mark)}))

    def remove(self) -> None:
        """Take the record away; do so after the thing is gone."""
        self.path.unlink(missing_ok=True)

    @classmethod
    def all(cls, what: str) -> Iterator[Record]:
        """Every readable record of one sort, of whatever process."""
        for path in sorted(run_directory().glob(f"{what}.*.json")):
            try:
                fields = json.loads(path.read_text())
                mark = Mark.parse(fields["mark"])
            except (OSError, ValueError, KeyError, TypeError):
                continue
            if mark is not None:
                yield cls(fields["what"], fields["name"], mark)


def run_directory() -> Path:
    """`$XDG_RUNTIME_DIR/etherloom`, for root `/run/etherloom`, else the user's own one among the temporary files."""
    if runtime := os.environ.get("XDG_RUNTIME_DIR"):
        return Path(runtime, PREFIX)
    if os.geteuid() == 0:
        return Path("/run", PREFIX)
    return Path(tempfile.gettempdir(), f"{PREFIX}-{os.geteuid()}")


def _start(pid: int) -> int:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return 0
    return int(stat.rpartition(")")[2].split()[19])
